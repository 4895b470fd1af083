// Linear regression 1: one slider for the learning rate, over the lesson's loss surface.
// Start, minimum and Hessian come from the run; a step is p -= rate * H (p - minimum).
const words = document.documentElement.lang.startsWith("zh")
  ? ["权重", "偏置", "轮", "损失", "学习率", "发散"]
  : ["weight", "bias", "epoch", "loss", "learning rate", "diverges"];
for (const box of document.querySelectorAll(".bowl")) {
  const { start, minimum, hessian, rate, losses } = JSON.parse(box.dataset.run);
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

  const make = (name, attributes, parent) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const key in attributes) node.setAttribute(key, attributes[key]);
    return parent.appendChild(node);
  };
  const panel = (across, up) => {
    const svg = make("svg", { viewBox: "0 0 350 240", role: "img", "aria-label": `${up} / ${across}` }, box);
    make("text", { x: 195, y: 236, "text-anchor": "middle" }, svg).textContent = across;
    make("text", { x: 12, y: 105, "text-anchor": "middle", transform: "rotate(-90 12 105)" }, svg).textContent = up;
    return make("svg", { x: 40, width: 310, height: 210 }, svg);
  };
  const draw = (node, points) => node.setAttribute("points", points.map((p) => p.join(",")).join(" "));

  // Left: the surface as ellipses, whose axes are the steep and the flat direction.
  const half = (hessian[0][0] + hessian[1][1]) / 2;
  const root = Math.hypot((hessian[0][0] - hessian[1][1]) / 2, hessian[0][1]);
  const angle = (Math.atan2(2 * hessian[0][1], hessian[0][0] - hessian[1][1]) * 90) / Math.PI;
  const surface = panel(words[0], words[1]);
  const place = ([w, b]) => [(w + 1.5) * 44, 105 - b * 44];
  const [cx, cy] = place(minimum);
  for (const level of [0.1, 0.5, 2, 8, 32, 128]) {
    const radius = (curvature) => 44 * Math.sqrt((2 * level) / curvature);
    make("ellipse", { cx, cy, rx: radius(half + root), ry: radius(half - root), transform: `rotate(${-angle} ${cx} ${cy})` }, surface);
  }
  const path = make("polyline", {}, surface);
  const dots = descend(rate).map(() => make("circle", { r: 2 }, surface));
  make("circle", { class: "minimum", cx, cy, r: 4 }, surface);

  // Right: the loss of each epoch, on a logarithmic scale.
  const curve = panel(words[2], words[3]);
  const height = (value) => 105 - 26 * Math.log10(value);
  for (const power of [-3, -1, 1, 3]) {
    make("line", { x1: 0, x2: 310, y1: height(10 ** power), y2: height(10 ** power) }, curve);
    make("text", { x: 2, y: height(10 ** power) - 3 }, curve).textContent = `1e${power}`;
  }
  const line = make("polyline", {}, curve);

  const label = box.appendChild(document.createElement("label"));
  const slider = label.appendChild(document.createElement("input"));
  Object.assign(slider, { type: "range", min: 0.001, max: 0.066, step: 0.001, value: rate });
  const output = label.appendChild(document.createElement("output"));
  const update = () => {
    const points = descend(Number(slider.value));
    box.losses = points.map(loss);
    draw(path, points.slice(0, 15).map(place)); // beyond the limit, more would be a blot
    points.forEach((p, i) => ["cx", "cy"].forEach((key, j) => dots[i].setAttribute(key, place(p)[j])));
    draw(line, box.losses.map((value, i) => [(i * 310) / (losses.length - 1), height(value)]));
    const grows = slider.value * (half + root) > 2;
    output.textContent = `${words[4]} ${Number(slider.value).toFixed(3)}: ` +
      (grows ? words[5] : `${words[3]} ${box.losses.at(-1).toPrecision(3)}`);
    slider.setAttribute("aria-valuetext", output.textContent);
    box.classList.toggle("grows", grows);
  };
  slider.addEventListener("input", update);
  update();
}
