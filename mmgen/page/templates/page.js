// One clock for all films and people of a row, such as calls of the network. Without this script the films run by CSS
// alone, and people stand still.
for (const row of document.querySelectorAll(".films")) {
  const player = row.parentElement.querySelector(".player");
  const [button, slider, output] = player.children;
  const { unit } = row.dataset;
  const [first, last, tick, rest] = ["first", "last", "tick", "rest"].map((name) => Number(row.dataset[name]));
  const films = [...row.querySelectorAll(".film")].map((film) => ({
    at: JSON.parse(film.dataset.at),
    captions: JSON.parse(film.dataset.captions),
    image: film.querySelector("img"),
    now: film.parentElement.querySelector(".now"),
  }));
  const move = peopleOf(row);
  const show = (time) => {
    slider.value = time;
    move(time - first);
    output.textContent = `${unit} ${time} of ${last}`;
    for (const { at, captions, image, now } of films) {
      const frame = at.findLastIndex((each) => each <= time);
      image.style.animation = "none";
      image.style.transform = `translateY(${(-100 * frame) / at.length}%)`;
      now.textContent = captions[frame];
    }
  };
  let timer = 0;
  const stop = () => { clearTimeout(timer); timer = 0; button.textContent = "Play"; };
  const play = () => {
    button.textContent = "Pause";
    const time = Number(slider.value);
    const next = time < last ? time + 1 : first;
    show(next);
    timer = setTimeout(play, 1000 * (next === last ? rest : tick));
  };
  button.addEventListener("click", () => (timer ? stop() : play()));
  slider.addEventListener("input", () => { const time = Number(slider.value); stop(); show(time); });
  player.hidden = false;
  show(last);
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) stop();
  else play();
}

// One sound at a time.
for (const sound of document.querySelectorAll("audio")) {
  sound.addEventListener("play", () => {
    for (const other of document.querySelectorAll("audio")) if (other !== sound) other.pause();
  });
}
