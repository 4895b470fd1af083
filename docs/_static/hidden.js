// A network with a few hidden units is trained in the page, on the lesson's four clusters.
figure("hidden", ({ box, run, words, set, make, panel, trace, slider, choice, button, hidden }) => {
  const { points, labels, centres, classes, rate, epochs } = run;
  // The two logits matter by their difference z only: the sum of u * h, plus c. A unit has
  // four numbers in a row: h is 0 or w1 * x + w2 * y + b, its weight in z is u. c is last.
  // They start as those of nn.Linear: uniform, up to 1 over the root of the inputs.
  const begin = (n, seed) => {
    let number = 1 + 7919 * (seed % 9999);
    const next = (inputs) => {
      number = (number * 48271) % 2147483647;
      return (number / 1073741823.5 - 1) / Math.sqrt(inputs);
    };
    return Float64Array.from({ length: 4 * n + 1 }, (_, i) => (i % 4 < 3 && i < 4 * n ? next(2) : next(n) - next(n)));
  };
  const forward = (net, relu, x, y, h = []) => {
    let z = net.at(-1);
    for (let j = 0; 4 * j < net.length - 1; j++) {
      h[j] = net[4 * j] * x + net[4 * j + 1] * y + net[4 * j + 2];
      if (relu) h[j] = Math.max(0, h[j]);
      z += net[4 * j + 3] * h[j];
    }
    return z;
  };
  // One step on all points; returns the loss before it. z moves by both of its logits.
  const step = (net, relu) => {
    const h = [], slope = new Float64Array(net.length);
    let loss = 0;
    points.forEach(([x, y], i) => {
      const sign = labels[i] ? 1 : -1, right = sign * forward(net, relu, x, y, h);
      loss += Math.log1p(Math.exp(-right)) / points.length;
      const d = -sign / (1 + Math.exp(right)) / points.length;
      slope[net.length - 1] += 2 * d;
      h.forEach((value, j) => {
        const back = relu && value === 0 ? 0 : d * net[4 * j + 3];
        [back * x, back * y, back, 2 * d * value].forEach((part, k) => (slope[4 * j + k] += part));
      });
    });
    slope.forEach((value, k) => (net[k] -= rate * value));
    return loss;
  };
  box.begin = begin; // the test starts PyTorch there

  const side = { ends: [-6, 6], ticks: [-4, -2, 0, 2, 4] };
  const plane = panel({ label: "x1", ...side }, { label: "x2", ...side }, 346);
  const picture = make("image", { x: 46, y: 8, width: 296, height: 296 }, plane.plot);
  const lines = Array.from({ length: 10 }, () => make("polyline", { class: "edge" }, plane.plot));
  points.forEach(([x, y], i) => {
    make("circle", { class: labels[i] ? "one" : "zero", cx: plane.x(x), cy: plane.y(y), r: 2.5 }, plane.plot);
  });
  const curve = panel(
    { label: words.epoch, ends: [0, epochs], ticks: [0, 1, 2, 3].map((i) => (i * epochs) / 4) },
    { label: words.loss, ends: [0, 1], ticks: [0, 0.25, 0.5, 0.75, 1] },
  );
  const path = make("polyline", {}, curve.plot);
  const units = slider("units", words.units, { min: 1, max: 10, step: 1, value: 2 });
  const row = choice("relu", words.activation, [words.relu, words.none]);
  const start = hidden("start", 0);
  button(words.again, () => (start.value = Number(start.value) + 1 || 0), row);
  const result = make("output", {}, box);

  // The accuracy is that of the regions under the density of the clusters: all fresh points.
  const size = 60, canvas = Object.assign(document.createElement("canvas"), { width: size, height: size });
  const context = canvas.getContext("2d"), image = context.createImageData(size, size);
  const cells = Array.from({ length: size * size }, (_, i) => {
    const x = (12 * ((i % size) + 0.5)) / size - 6, y = 6 - (12 * (Math.floor(i / size) + 0.5)) / size;
    const share = [0, 0];
    centres.forEach(([cx, cy], k) => (share[classes[k]] += Math.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 2)));
    return { x, y, share };
  });
  const everything = cells.reduce((sum, { share }) => sum + share[0] + share[1], 0);
  const show = (net, relu) => {
    let right = 0;
    cells.forEach(({ x, y, share }, i) => {
      const z = forward(net, relu, x, y), sure = Math.ceil(5 * Math.abs(Math.tanh(z / 2)));
      right += share[Number(z > 0)];
      image.data.set([...(z > 0 ? [211, 47, 47] : [0, 114, 178]), 20 + 24 * sure], 4 * i);
    });
    context.putImageData(image, 0, 0);
    set(picture, { href: canvas.toDataURL() });
    lines.forEach((line, j) => {
      const [u, v, b] = net.slice(4 * j), square = u * u + v * v;
      const ends = [-30, 30].map((k) => [plane.x((-b * u) / square - k * v), plane.y((-b * v) / square + k * u)]);
      trace(line, relu && 4 * j < net.length - 1 ? ends : []);
    });
    trace(path, box.losses.map((loss, i) => [curve.x(i), curve.y(loss)]));
    box.accuracy = right / everything;
    const texts = [`${words.accuracy} ${box.accuracy.toFixed(3)}`, `${words.best} ${run.best.toFixed(4)}`];
    texts.push(`${words.loss} ${box.losses.at(-1).toFixed(3)}`);
    result.textContent = texts.join(" · ");
  };
  let frame;
  return () => {
    cancelAnimationFrame(frame);
    units.say(units.value);
    const net = begin(Number(units.value), Number(start.value) || 0), relu = box.elements.relu.value === "0";
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    box.losses = [];
    const train = () => {
      do box.losses.push(step(net, relu));
      while (box.losses.length < epochs && still);
      show(net, relu);
      const done = box.losses.length >= epochs;
      set(result, { "aria-busy": !done }); // spoken when it is done
      if (!done) frame = requestAnimationFrame(train);
    };
    train();
  };
});
