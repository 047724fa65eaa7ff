// Runs once, when the results are first on the page: plays the first sound while it is made.
// `element` and `watch` are what gradio hands to the script of an HTML component.
const LOWEST = 8000; // Hz that browsers play; of a lower rate each sample is repeated
let context = null; // the browser lets one sound only after a click
let playing = null; // {start: when its first sample sounds, samples: how many are scheduled, nodes}

const stop = () => {
  for (const node of playing?.nodes ?? []) node.stop();
  playing = null;
};

document.addEventListener("click", (event) => {
  if (event.target.closest("#sample, #stop")) stop();
  if (event.target.closest("#sample")) {
    context ??= new AudioContext();
    context.resume();
  }
}, true);

// A WAV file of 16 bits, mono, as mmgen writes it, from a data: address.
const read = (uri) => {
  const bytes = Uint8Array.from(atob(uri.slice(uri.indexOf(",") + 1)), (letter) => letter.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  let at = 12;
  while (String.fromCharCode(...bytes.subarray(at, at + 4)) !== "data") at += 8 + view.getUint32(at + 4, true);
  return { rate: view.getUint32(24, true), samples: new Int16Array(bytes.buffer.slice(at + 8)) };
};

watch("value", () => {
  const audio = element.querySelector(".shown audio");
  if (!audio || !context || !document.querySelector("#aloud input")?.checked) return;
  const { rate, samples } = read(audio.src);
  playing ??= { start: context.currentTime + 0.15, samples: 0, nodes: [] };
  if (samples.length <= playing.samples) return;
  const times = Math.ceil(LOWEST / Math.min(rate, LOWEST));
  const fresh = samples.subarray(playing.samples);
  const part = Float32Array.from({ length: times * fresh.length }, (_, at) => fresh[Math.floor(at / times)] / 32768);
  const buffer = context.createBuffer(1, part.length, times * rate);
  buffer.copyToChannel(part, 0);
  const node = context.createBufferSource();
  node.buffer = buffer;
  node.connect(context.destination);
  let when = playing.start + playing.samples / rate;
  if (when < context.currentTime) { // it is made more slowly than it is heard: go on from here
    playing.start += context.currentTime - when;
    when = context.currentTime;
  }
  node.start(when);
  playing.nodes.push(node);
  playing.samples = samples.length;
  element.dataset.heard = (playing.samples / rate).toFixed(3);
});
