// A saved model in use: paint or load an image, and see what the linear model makes of it.
figure("draw", ({ box, run, words, set, make, slider, tools, choice, button, hidden }) => {
  const decode = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const weight = new Int16Array(decode(run.weight).buffer); // 10 x 784, to be times run.scale
  const samples = {}, pixels = new Float32Array(784); // from 0 to 1
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
  const sample = hidden("sample", Object.keys(run.samples)[0]); // "" for an image of one's own
  const image = hidden("image", ""); // once it is changed, a digit in base 36 for each pixel
  const take = (name) => ([sample.value, image.value] = [name, ""]);
  const sources = tools(), brush = tools();
  for (const name in run.samples) {
    samples[name] = Float32Array.from(decode(run.samples[name]), (value) => value / 255);
    const picture = button("", () => take(name), sources);
    set(picture, { "aria-label": name });
    fill(canvas(picture), (i) => grey(samples[name][i]));
  }
  const file = make("input", { type: "file", accept: "image/*", hidden: "" }, box);
  button(words.file, () => file.click((file.value = "")), sources);
  button(words.clear, () => take(""), sources);
  choice("tool", words.tool, [words.pencil, words.eraser], make("div", {}, brush));
  const width = slider("width", words.width, { min: 1, max: 7, step: 2, value: 3 }, brush);

  let shown, last, cursor = [13, 13], mark; // the cursor of the keys, and its pixel while it is seen
  const keep = () => {
    image.value = Array.from(pixels, (value) => Math.round(35 * value).toString(36)).join("");
    shown = sample.value + image.value;
    box.dispatchEvent(new Event("input"));
  };
  const stroke = (from, to) => {
    const steps = Math.max(1, Math.abs(to[0] - from[0]), Math.abs(to[1] - from[1]));
    for (let k = 1; k <= steps; k++) {
      const [x, y] = from.map((start, j) => start + ((to[j] - start) * k) / steps);
      const inside = (i) => Math.hypot((i % 28) - x, Math.floor(i / 28) - y) <= width.value / 2;
      pixels.forEach((_, i) => inside(i) && (pixels[i] = 1 - box.elements.tool.value));
    }
    last = to;
    keep();
  };
  const at = (event) => [event.offsetX, event.offsetY].map((value) => Math.floor((28 * value) / paper.clientWidth));
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

  // As Pillow scales w x h values to n x m: `share` of a value `far` from the middle of the new one.
  const mean = { reach: 0.5, share: () => 1 };
  const cubic = {
    reach: 2,
    share: (far) => (far < 1 ? (1.5 * far - 2.5) * far ** 2 + 1 : ((2.5 - 0.5 * far) * far - 4) * far + 2),
  };
  const rescale = (values, [w, h], [n, m], filter) => lines(lines(values, w, n, filter), h, m, filter);
  const lines = (values, w, n, { reach, share }) => {
    const h = values.length / w, wide = Math.max(1, w / n);
    return new values.constructor(n * h).map((_, i) => { // transposed
      const middle = ((Math.floor(i / h) + 0.5) * w) / n - 0.5;
      let sum = 0, total = 0;
      const first = Math.max(0, Math.ceil(middle - reach * wide)), end = Math.min(w - 1, middle + reach * wide);
      for (let j = first; j <= end; j++) {
        const part = share(Math.abs(j - middle) / wide);
        total += part;
        sum += part * values[(i % h) * w + j];
      }
      return sum / total;
    });
  };
  // The lesson's `prepare`: the article light on black, cut out, its longer side 28 pixels long.
  const prepare = (bitmap) => {
    const fit = (sides, longest) => sides.map((side) => Math.max(1, Math.round((side * longest) / Math.max(...sides))));
    const longest = Math.max(bitmap.width, bitmap.height);
    const full = fit([bitmap.width, bitmap.height], Math.min(2000, longest));
    const [w, h] = fit(full, Math.min(400, longest));
    const context = new OffscreenCanvas(...full).getContext("2d");
    context.drawImage(bitmap, 0, 0, ...full);
    const { data } = context.getImageData(0, 0, ...full);
    const plane = (value) => { // as means of pixels, without noise
      const bytes = new Uint8ClampedArray(data.length / 4).map((_, i) => value(4 * i));
      return Float32Array.from(rescale(bytes, full, [w, h], mean), (byte) => byte / 255);
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
    const [dx, dy] = [n, m].map((side) => Math.round((28 - side) * 0.51));
    pixels.fill(0);
    rescale(cut, sides, [n, m], cubic).forEach((value, i) => {
      pixels[(dy + Math.floor(i / n)) * 28 + dx + (i % n)] = Math.min(1, Math.max(0, value / top));
    });
  };
  const open = async (file) => {
    try {
      prepare(await createImageBitmap(file, { colorSpaceConversion: "none" }));
      sample.value = "";
      keep();
    } catch {
      result.textContent = words.refused;
    }
  };
  file.addEventListener("change", () => open(file.files[0]));
  box.addEventListener("dragover", (event) => event.preventDefault());
  box.addEventListener("drop", (event) => {
    event.preventDefault();
    open(event.dataTransfer.files[0]);
  });

  const update = () => {
    const start = samples[sample.value] ?? new Float32Array(784);
    if (sample.value + image.value !== shown) {
      const digit = (i) => parseInt(image.value.charAt(i), 36) / 35 || 0;
      pixels.forEach((_, i) => (pixels[i] = image.value ? digit(i) : start[i]));
      shown = sample.value + image.value;
    }
    width.say(width.value);
    box.pixels = Array.from(pixels);
    const term = (k) => box.pixels.map((value, i) => run.scale * weight[784 * k + i] * value);
    const logits = run.bias.map((bias, k) => term(k).reduce((a, b) => a + b, bias));
    const powers = logits.map((logit) => Math.exp(logit - Math.max(...logits)));
    box.probabilities = powers.map((power) => power / powers.reduce((a, b) => a + b));
    const two = [...logits.keys()].sort((a, b) => logits[b] - logits[a]).slice(0, 2);
    bars.replaceChildren();
    box.probabilities.forEach((p, k) => {
      make("span", {}, bars, run.classes[k]);
      const look = { style: `width: ${100 * p}%`, class: ["other", "first", "second"][two.indexOf(k) + 1] };
      make("i", look, make("span", {}, bars));
      make("span", {}, bars, p.toFixed(3));
    });
    const other = term(two[1]), shares = term(two[0]).map((value, i) => value - other[i]);
    const most = Math.max(0.1, ...shares.map(Math.abs));
    fill(painted, (i) => (i === mark ? [230, 60 + 150 * pixels[i], 0, 255] : grey(pixels[i])));
    fill(terms, (i) => [...(shares[i] > 0 ? [220, 50, 32] : [40, 120, 230]), 255 * Math.abs(shares[i] / most) ** 0.8]);
    question.textContent = `${two.map((k) => run.classes[k]).join(` ${words.or} `)}?`;
    set(terms.canvas, { "aria-label": question.textContent });
    const changed = box.pixels.filter((value, i) => Math.abs(value - start[i]) > 0.02).length;
    const says = two.map((k) => `${run.classes[k]} ${box.probabilities[k].toFixed(3)}`).join(", ");
    result.textContent = sample.value ? `${says}; ${words.changed} ${changed}` : says;
  };
  return update;
});
