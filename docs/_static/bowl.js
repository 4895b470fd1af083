// A line's loss as a surface, over which a slider for the learning rate sends the steps.
// Start, minimum and Hessian come from the run; a step is p -= rate * H (p - minimum).
figure("bowl", ({ box, run, words, set, make, panel, trace, slider }) => {
  const { start, minimum, hessian, rate, losses } = run;
  const from = (p) => p.map((value, i) => value - minimum[i]);
  const gradient = (p) => hessian.map((row) => row[0] * from(p)[0] + row[1] * from(p)[1]);
  const loss = (p) => (gradient(p)[0] * from(p)[0] + gradient(p)[1] * from(p)[1]) / 2;
  const descend = (rate) => {
    const path = [start];
    while (path.length < losses.length) {
      const p = path.at(-1), g = gradient(p);
      path.push([p[0] - rate * g[0], p[1] - rate * g[1]]);
    }
    return path;
  };

  // Left: the surface as ellipses, whose axes are the steep and the flat direction.
  const half = (hessian[0][0] + hessian[1][1]) / 2;
  const root = Math.hypot((hessian[0][0] - hessian[1][1]) / 2, hessian[0][1]);
  const angle = (Math.atan2(2 * hessian[0][1], hessian[0][0] - hessian[1][1]) * 90) / Math.PI;
  const surface = panel(
    { label: words.weight, ends: [-1.5, 5.5], ticks: [-1, 0, 1, 2, 3, 4, 5] },
    { label: words.bias, ends: [-2.246, 2.246], ticks: [-2, -1, 0, 1, 2] },
  );
  const place = ([w, b]) => [surface.x(w), surface.y(b)];
  const [cx, cy] = place(minimum), [x, y] = place(start), unit = surface.x(1) - surface.x(0);
  for (const level of [0.1, 0.5, 2, 8, 32, 128]) {
    const radius = (curvature) => unit * Math.sqrt((2 * level) / curvature);
    const size = { rx: radius(half + root), ry: radius(half - root) };
    make("ellipse", { cx, cy, ...size, transform: `rotate(${-angle} ${cx} ${cy})` }, surface.plot);
  }
  const path = make("polyline", {}, surface.plot);
  const dots = losses.map(() => make("circle", { r: 2 }, surface.plot));
  make("circle", { class: "minimum", cx, cy, r: 4 }, surface.plot);
  make("circle", { cx: x, cy: y, r: 4 }, surface.plot);
  make("text", { x, y: y - 8, class: "middle halo" }, surface.plot, words.start);

  // Right: the loss of each epoch, on a logarithmic scale.
  const epochs = [0, 1, 2, 3, 4].map((i) => (i * losses.length) / 5);
  const powers = { ticks: [-7, -5, -3, -1, 1, 3], numbers: ["10⁻⁷", "10⁻⁵", "10⁻³", "10⁻¹", "10", "10³"] };
  const curve = panel(
    { label: words.epoch, ends: [0, losses.length - 1], ticks: epochs },
    { label: words.loss, ends: [-8, 4], ...powers },
  );
  const line = make("polyline", {}, curve.plot);

  const control = slider("rate", words.rate, { min: 0.001, max: 0.066, step: 0.001, value: rate });
  return () => {
    const points = descend(Number(control.value));
    box.losses = points.map(loss);
    trace(path, points.slice(0, 15).map(place)); // beyond the limit, more would be a blot
    points.forEach((p, i) => set(dots[i], { cx: place(p)[0], cy: place(p)[1] }));
    trace(line, box.losses.map((value, i) => [curve.x(i), curve.y(Math.log10(value))]));
    const grows = control.value * (half + root) > 2;
    const result = grows ? words.diverges : `${words.loss} ${box.losses.at(-1).toPrecision(3)}`;
    control.say(`${Number(control.value).toFixed(3)}: ${result}`);
    box.classList.toggle("grows", grows);
  };
});
