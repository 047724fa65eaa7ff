// People of a row: their joints, seen from the front, a little from the left and from above. Dragging one turns them all.
function peopleOf(row) {
  const [lens, filled, elevation, reach] = [4, 0.84, 0.23, 1.6]; // focal length, share of the picture, radians, metres
  const [high, low] = [Math.sin(elevation), Math.cos(elevation)];
  const view = { azimuth: 0.66, frame: 0 };
  const bones = JSON.parse(row.dataset.bones ?? "[]");
  const head = bones.pop();

  const people = [...row.querySelectorAll(".person canvas")].map((canvas) => {
    const bytes = Uint8Array.from(atob(canvas.dataset.places), (letter) => letter.charCodeAt(0));
    const places = new Int16Array(bytes.buffer); // millimetres, little-endian as every machine with a browser
    const points = Number(canvas.dataset.points);
    const frames = places.length / 3 / points;
    const made = JSON.parse(canvas.dataset.made);
    const brush = canvas.getContext("2d");
    let [turned, distance] = [NaN, 0];

    const at = (frame, point) => [0, 1, 2].map((axis) => places[3 * (frame * points + point) + axis] / 1000);
    // How far a place lies to the right of the middle, above it and before it.
    const turn = ([x, y, z], [u, v, w]) => {
      const [sin, cos] = [Math.sin(view.azimuth), Math.cos(view.azimuth)];
      const [a, b, c] = [x - u, y - v, z - w];
      return [cos * a - sin * c, low * b - high * (sin * a + cos * c), high * b + low * (sin * a + cos * c)];
    };
    // As near as it may come for the whole motion to be seen.
    const fit = (wide) => {
      distance = 0;
      for (let frame = 0; frame < frames; frame++) {
        const middle = at(frame, points - 1);
        for (let point = 0; point < points - 1; point++) {
          const [side, up, near] = turn(at(frame, point), middle);
          distance = Math.max(distance, near + (Math.max(Math.abs(side) / wide, Math.abs(up) + 0.1) * lens) / filled);
        }
      }
      turned = view.azimuth;
    };

    const draw = () => {
      const [width, height] = [canvas.clientWidth, canvas.clientHeight].map((side) => Math.round(side * devicePixelRatio));
      const { top, bottom } = canvas.getBoundingClientRect();
      if (!width || !height || bottom < 0 || top > innerHeight) return; // nobody sees it
      if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height, turned] = [width, height, NaN];
      if (turned !== view.azimuth) fit(Math.max(1, width / height));
      const frame = Math.max(0, Math.min(view.frame, frames - 1));
      const middle = at(frame, points - 1);
      const half = Math.min(width, height) / 2;
      const project = (place) => {
        const [side, up, near] = turn(place, middle);
        const scale = (lens * half) / Math.max(distance - near, 0.5);
        return [width / 2 + side * scale, height / 2 - up * scale, scale, near];
      };
      const style = getComputedStyle(canvas);
      const colour = (name) => style.getPropertyValue(`--${name}`);
      const line = (from, to, metres, name) => {
        brush.strokeStyle = colour(name);
        brush.lineWidth = Math.max(1, (metres * (from[2] + to[2])) / 2);
        brush.stroke(new Path2D(`M${from[0]} ${from[1]} L${to[0]} ${to[1]}`));
      };

      brush.clearRect(0, 0, width, height);
      brush.lineCap = "round";
      // Lines on the floor, half a metre apart, as far as they are near.
      for (let step = Math.ceil(-reach * 2); step <= reach * 2; step++) {
        for (const [along, across] of [[0, 2], [2, 0]]) {
          const fixed = Math.round(middle[across] * 2 + step) / 2;
          const rest = Math.sqrt(Math.max(0, reach ** 2 - (fixed - middle[across]) ** 2));
          const place = (way) => (along ? [fixed, 0, middle[2] + way] : [middle[0] + way, 0, fixed]);
          if (rest) line(project(place(-rest)), project(place(rest)), 0, "line");
        }
      }
      const joints = Array.from({ length: points - 1 }, (_, point) => at(frame, point));
      const dropped = joints.map(([x, , z]) => project([x, 0, z]));
      for (const [from, to] of bones) line(dropped[from], dropped[to], 0.06, "line");
      const placed = joints.map(project);
      const nearness = ([from, to]) => placed[from][3] + placed[to][3];
      for (const bone of [...bones].sort((one, other) => nearness(one) - nearness(other))) {
        const [from, to, side] = bone;
        line(placed[from], placed[to], side === "middle" ? 0.1 : 0.075, { left: "blue", right: "amber" }[side] ?? "grey");
      }
      const [neck, crown] = head.map((joint) => placed[joint]);
      brush.fillStyle = colour("grey");
      brush.beginPath();
      brush.arc(crown[0] + (crown[0] - neck[0]) * 0.3, crown[1] + (crown[1] - neck[1]) * 0.3, 0.105 * crown[2], 0, 7);
      brush.fill();
      canvas.style.opacity = frame >= made[0] && frame < made[1] ? 1 : 0.35;
    };

    canvas.parentElement.classList.add("live");
    let last = 0;
    canvas.addEventListener("pointerdown", (event) => { last = event.clientX; canvas.setPointerCapture(event.pointerId); });
    canvas.addEventListener("pointermove", (event) => {
      if (!event.buttons) return;
      view.azimuth -= (event.clientX - last) / 100;
      last = event.clientX;
      all();
    });
    return draw;
  });
  const all = () => { for (const each of people) each(); };
  if (people.length) {
    new ResizeObserver(all).observe(row);
    addEventListener("scroll", all, { passive: true });
  }

  return (frame) => {
    view.frame = frame;
    all();
  };
}
