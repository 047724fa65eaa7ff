// One clock for all films of a row: calls of the network. Without this script the films run by CSS alone.
for (const row of document.querySelectorAll(".films")) {
  const player = row.parentElement.querySelector(".player");
  const [button, slider, output] = player.children;
  const longest = Number(row.dataset.passes);
  const films = [...row.querySelectorAll(".film")].map((film) => ({
    passes: JSON.parse(film.dataset.passes),
    image: film.querySelector("img"),
    now: film.parentElement.querySelector(".now"),
  }));
  const show = (pass) => {
    slider.value = pass;
    output.textContent = `pass ${pass} of ${longest}`;
    for (const { passes, image, now } of films) {
      const frame = passes.findLastIndex((each) => each <= pass);
      image.style.animation = "none";
      image.style.transform = `translateY(${(-100 * frame) / passes.length}%)`;
      const last = passes[passes.length - 1];
      now.textContent = pass >= last ? "finished" : `pass ${pass}`;
    }
  };
  let timer = 0;
  const stop = () => { clearTimeout(timer); timer = 0; button.textContent = "Play"; };
  const play = () => {
    button.textContent = "Pause";
    const pass = Number(slider.value);
    const next = pass < longest ? pass + 1 : 0;
    show(next);
    timer = setTimeout(play, next === longest ? 2200 : 130);
  };
  button.addEventListener("click", () => (timer ? stop() : play()));
  slider.addEventListener("input", () => { const pass = Number(slider.value); stop(); show(pass); });
  player.hidden = false;
  show(longest);
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) stop();
  else play();
}
