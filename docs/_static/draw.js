// A saved model in use: paint or load an image, and see what the linear model makes of it.
figure("draw", ({ box, run, words, set, make, slider, tools, choice, button, hidden }) => {
  const weight = new Int16Array(Uint8Array.from(atob(run.weight), (letter) => letter.charCodeAt(0)).buffer);
  const read = (hex) => Array.from({ length: 784 }, (_, i) => (parseInt(hex.slice(2 * i, 2 * i + 2), 16) || 0) / 255);
  const canvas = (parent, attributes) =>
    make("canvas", { width: 28, height: 28, ...attributes }, parent).getContext("2d");
  const fill = (context, colour) => {
    const image = context.createImageData(28, 28);
    for (let i = 0; i < 784; i++) image.data.set(colour(i), 4 * i);
    context.putImageData(image, 0, 0);
  };
  const grey = (value) => [255 * value, 255 * value, 255 * value, 255];

  const [left, right, bars] = ["square", "square", "bars"].map((name) => make("div", { class: name }, box));
  const painted = canvas(left, { tabindex: 0, role: "application", "aria-label": words.paint });
  const terms = canvas(right, { role: "img" }), paper = painted.canvas;
  make("span", {}, left, words.seen);
  const question = make("span", {}, right), result = make("output", {}, box);
  const sample = hidden("sample", Object.keys(run.samples).at(-1)); // "" for an image of one's own
  const image = hidden("image", ""); // two digits for each pixel, unless it is the sample itself
  const take = (name) => ([sample.value, image.value, file.value] = [name, "", ""]);
  const sources = tools(), brush = tools();
  for (const name in run.samples) {
    const picture = button("", () => take(name), sources), values = read(run.samples[name]);
    set(picture, { "aria-label": name });
    fill(canvas(picture), (i) => grey(values[i]));
  }
  const file = make("input", { type: "file", accept: "image/*", "aria-label": words.file }, sources);
  choice("tool", words.tool, [words.pencil, words.eraser], tools(brush));
  button(words.clear, () => take(""), brush);
  const width = slider("width", words.width, { min: 1, max: 7, step: 2, value: 3 }, brush);

  let last, cursor = [13, 13], mark; // the cursor of the keys, and its pixel while it is seen
  const keep = (values) => {
    image.value = values.map((value) => Math.round(255 * value).toString(16).padStart(2, "0")).join("");
    box.dispatchEvent(new Event("input"));
  };
  const stroke = (from, to) => {
    const steps = Math.max(1, Math.abs(to[0] - from[0]), Math.abs(to[1] - from[1]));
    const point = (k) => from.map((start, j) => start + ((to[j] - start) * k) / steps);
    const points = Array.from({ length: steps }, (_, k) => point(k + 1));
    const near = (i) => points.some(([x, y]) => Math.hypot((i % 28) - x, Math.floor(i / 28) - y) <= width.value / 2);
    keep(box.pixels.map((value, i) => (near(i) ? 1 - box.elements.tool.value : value)));
    last = to;
  };
  const at = (event) => [event.offsetX, event.offsetY].map((part) => Math.floor((28 * part) / paper.clientWidth));
  paper.addEventListener("pointerdown", (event) => {
    paper.setPointerCapture(event.pointerId);
    mark = undefined;
    stroke(at(event), at(event));
  });
  paper.addEventListener("pointermove", (event) => event.buttons && stroke(last, at(event)));
  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1], " ": [0, 0] };
  paper.addEventListener("keydown", (event) => {
    if (!moves[event.key]) return;
    event.preventDefault();
    cursor = cursor.map((value, j) => Math.min(27, Math.max(0, value + moves[event.key][j])));
    mark = 28 * cursor[1] + cursor[0];
    event.key === " " ? stroke(cursor, cursor) : update();
  });
  paper.addEventListener("blur", () => update((mark = undefined)));

  // Pillow's filters: `share` of a value at a distance from the middle of the new one, up to `reach`.
  const mean = [0.5, () => 1];
  const cubic = [2, (t) => (t < 1 ? (1.5 * t - 2.5) * t * t + 1 : ((2.5 - 0.5 * t) * t - 4) * t + 2)];
  const rescale = (values, [w, h], [n, m], filter) => lines(lines(values, w, n, filter), h, m, filter);
  const lines = (values, w, n, [reach, share]) => { // of length w become columns of length n
    const h = values.length / w, wide = Math.max(1, w / n);
    return new values.constructor(n * h).map((_, i) => {
      const middle = ((Math.floor(i / h) + 0.5) * w) / n - 0.5, last = Math.min(w - 1, middle + reach * wide);
      let sum = 0, total = 0;
      for (let j = Math.max(0, Math.ceil(middle - reach * wide)); j <= last; j++) {
        const part = share(Math.abs(j - middle) / wide);
        total += part;
        sum += part * values[(i % h) * w + j];
      }
      return sum / total;
    });
  };
  const fit = (sides, longest) => sides.map((side) => Math.max(1, Math.round((side * longest) / Math.max(...sides))));
  // The lesson's `prepare`: the article light on black, cut out, its longer side 28 pixels long.
  const prepare = (bitmap) => {
    const whole = [bitmap.width, bitmap.height], large = fit(whole, Math.min(2000, Math.max(...whole)));
    const [w, h] = fit(large, Math.min(400, Math.max(...large)));
    const context = new OffscreenCanvas(...large).getContext("2d");
    context.drawImage(bitmap, 0, 0, ...large);
    const { data } = context.getImageData(0, 0, ...large);
    const plane = (value) => { // means of pixels have little noise
      const bytes = new Uint8ClampedArray(data.length / 4).map((_, i) => value(4 * i));
      return Float32Array.from(rescale(bytes, large, [w, h], mean), (byte) => byte / 255);
    };
    const alpha = plane((i) => data[i + 3]), sum = (values) => values.reduce((a, b) => a + b);
    let x = plane((i) => ((0.299 * data[i] + 0.587 * data[i + 1] + 0.114 * data[i + 2]) * data[i + 3]) / 255);
    const dark = sum(x) < sum(alpha) / 2; // transparent is white then, or black
    x = x.map((value, i) => value + (1 - alpha[i]) * dark);
    const border = x.filter((_, i) => i % w === 0 || i % w === w - 1 || i < w || i >= w * (h - 1)).sort();
    const ground = border[border.length >> 1], sign = Math.sign(sum(x) / x.length - ground);
    x = x.map((value) => Math.max(0, (value - ground) * sign));
    const top = x.reduce((a, b) => Math.max(a, b));
    if (top < 0.05) throw new Error(words.refused);
    const article = [...x.keys()].filter((i) => x[i] > 0.05 * top), xy = [(i) => i % w, (i) => Math.floor(i / w)];
    const found = xy.map((of) => Uint16Array.from(article, of).sort());
    const sides = found.map((values) => values.at(-1) - values[0] + 1), [n, m] = fit(sides, 28);
    const cut = x.filter((_, i) => xy.every((of, j) => of(i) >= found[j][0] && of(i) <= found[j].at(-1)));
    const [dx, dy] = [n, m].map((side) => Math.round((28 - side) * 0.51)), result = read("");
    rescale(cut, sides, [n, m], cubic).forEach((value, i) => {
      result[(dy + Math.floor(i / n)) * 28 + dx + (i % n)] = Math.min(1, Math.max(0, value / top));
    });
    return result;
  };
  const open = (file) =>
    createImageBitmap(file, { colorSpaceConversion: "none" }).then(prepare).then(
      (values) => keep(values, (sample.value = "")),
      () => (result.textContent = words.refused),
    );
  file.addEventListener("change", () => open(file.files[0]));
  box.addEventListener("dragover", (event) => event.preventDefault());
  box.addEventListener("drop", (event) => {
    event.preventDefault();
    open(event.dataTransfer.files[0]);
  });

  const update = () => {
    width.say(width.value);
    const start = run.samples[sample.value] ?? "", pixels = (box.pixels = read(image.value || start));
    const of = (k) => pixels.map((value, i) => run.scale * weight[784 * k + i] * value); // terms of a logit
    const logits = run.bias.map((bias, k) => of(k).reduce((a, b) => a + b, bias));
    const powers = logits.map((logit) => Math.exp(logit - Math.max(...logits)));
    const p = (box.probabilities = powers.map((power) => power / powers.reduce((a, b) => a + b)));
    const two = [...p.keys()].sort((a, b) => p[b] - p[a]).slice(0, 2);
    bars.replaceChildren();
    run.classes.forEach((name, k) => {
      make("span", {}, bars, name);
      make("i", { style: `width: ${100 * p[k]}%`, class: `place${two.indexOf(k)}` }, make("span", {}, bars));
      make("span", {}, bars, p[k].toFixed(3));
    });
    const second = of(two[1]), shares = of(two[0]).map((term, i) => term - second[i]);
    const most = Math.max(0.1, ...shares.map(Math.abs));
    const red = (share) => [...(share > 0 ? [220, 50, 32] : [40, 120, 230]), 255 * Math.abs(share / most) ** 0.8];
    fill(terms, (i) => red(shares[i]));
    fill(painted, (i) => (i === mark ? [230, 60 + 150 * pixels[i], 0, 255] : grey(pixels[i])));
    question.textContent = `${two.map((k) => run.classes[k]).join(` ${words.or} `)}?`;
    set(terms.canvas, { "aria-label": question.textContent });
    const changed = read(start).filter((value, i) => value !== pixels[i]).length;
    const says = two.map((k) => `${run.classes[k]} ${p[k].toFixed(3)}`).join(", ");
    result.textContent = start ? `${says} · ${words.changed} ${changed}` : says;
  };
  return update;
});
