// Sliders for weight and bias of a logistic regression, over the lesson's four points.
figure("sigmoid", ({ box, run, words, set, make, panel, trace, slider }) => {
  const left = panel(
    { label: words.hours, ends: [0, 5], ticks: [0, 1, 2, 3, 4, 5] },
    { label: words.probability, ends: [-0.08, 1.08], ticks: [0, 0.5, 1] },
  );
  const curve = make("polyline", {}, left.plot);
  const edge = make("line", { class: "edge", y1: 0, y2: 240 }, left.plot);
  const right = panel(
    { label: words.loss, ends: [0, 3], ticks: [0, 1, 2, 3] },
    { label: words.hours, ends: [4, 0], ticks: [0.5, 1.5, 2.5, 3.5], numbers: run.x.map((x) => x.toFixed(1)) },
  );
  const points = run.x.map((x, i) => ({
    x,
    y: run.y[i],
    gap: make("line", { class: "gap", x1: left.x(x), x2: left.x(x), y1: left.y(run.y[i]) }, left.plot),
    dot: make("circle", { cx: left.x(x), cy: left.y(run.y[i]), r: 5 }, left.plot),
    bar: make("rect", { x: right.x(0), y: right.y(i + 0.2), height: 28 }, right.plot),
    number: make("text", { y: right.y(i + 0.6) }, right.plot),
  }));
  const weight = slider("weight", words.weight, { min: -2, max: 10, step: 0.02, value: run.weight });
  const bias = slider("bias", words.bias, { min: -20, max: 2, step: 0.02, value: run.bias });
  const result = make("output", {}, box);
  return () => {
    const w = Number(weight.value), b = Number(bias.value);
    const xs = Array.from({ length: 101 }, (_, i) => i / 20);
    const p = (x) => 1 / (1 + Math.exp(-w * x - b));
    trace(curve, xs.map((x) => [left.x(x), left.y(p(x))]));
    const boundary = left.x(w ? -b / w : 99); // at weight 0 there is none
    set(edge, { x1: boundary, x2: boundary });
    box.mistakes = 0;
    box.losses = points.map(({ x, y, gap, dot, bar, number }) => {
      const z = (w * x + b) * (y ? -1 : 1), wrong = w * x + b > 0 !== (y === 1);
      const loss = Math.max(z, 0) + Math.log1p(Math.exp(-Math.abs(z))); // no log of 0
      for (const node of [gap, dot, bar]) node.classList.toggle("wrong", wrong);
      const end = Math.min(right.x(loss), 400);
      set(gap, { y2: left.y(p(x)) });
      set(bar, { width: end - right.x(0) });
      set(number, { x: Math.min(end + 5, 300) });
      number.textContent = loss.toFixed(3);
      box.mistakes += wrong;
      return loss;
    });
    const mean = box.losses.reduce((a, b) => a + b) / points.length;
    for (const input of [weight, bias]) input.say(Number(input.value).toFixed(2));
    result.textContent = `${words.mean} ${mean.toFixed(3)} · ${words.mistakes} ${box.mistakes}`;
  };
});
