// What the interactive figures share. Each is a form, whose state is also in the address:
// page.html#bowl?rate=0.03 opens the page with the figure "bowl" in that state.
// `figure(name, build)` finds the form; `build` draws and returns what updates the drawing.
function figure(name, build) {
  const box = document.querySelector(`form.${name}`);
  const minus = (value) => String(value).replace("-", "−");
  const set = (node, attributes) => {
    for (const key in attributes) node.setAttribute(key, attributes[key]);
  };
  const make = (name, attributes, parent, text = "") => {
    const svg = name === "svg" || parent instanceof SVGElement;
    const space = svg ? "http://www.w3.org/2000/svg" : "http://www.w3.org/1999/xhtml";
    const node = document.createElementNS(space, name);
    set(node, attributes);
    node.append(text);
    return parent.appendChild(node);
  };

  // Axes with numbers: `ends` of an axis, and `ticks`, which have numbers (or `numbers`).
  const panel = (across, up, height = 240) => {
    const bottom = height - 42;
    const size = { viewBox: `0 0 350 ${height}`, role: "img", "aria-label": `${up.label} / ${across.label}` };
    const svg = make("svg", size, box);
    const x = (value) => 46 + (296 * (value - across.ends[0])) / (across.ends[1] - across.ends[0]);
    const y = (value) => bottom - ((bottom - 8) * (value - up.ends[0])) / (up.ends[1] - up.ends[0]);
    make("text", { x: 194, y: height - 4, class: "middle" }, svg, across.label);
    make("text", { transform: `translate(10 ${bottom / 2 + 4}) rotate(-90)`, class: "middle" }, svg, up.label);
    for (const tick of across.ticks) make("text", { x: x(tick), y: bottom + 16, class: "middle" }, svg, minus(tick));
    up.ticks.forEach((tick, i) => {
      make("line", { class: "grid", x1: 46, x2: 342, y1: y(tick), y2: y(tick) }, svg);
      make("text", { x: 41, y: y(tick) + 4, class: "end" }, svg, minus(up.numbers?.[i] ?? tick));
    });
    const inside = { x: 46, y: 8, width: 296, height: bottom - 8, viewBox: `46 8 296 ${bottom - 8}` };
    return { plot: make("svg", inside, svg), x, y };
  };
  const trace = (line, points) => set(line, { points: points.map(String).join(" ") });
  const slider = (key, label, attributes, parent = box) => {
    const row = make("label", { class: "slider" }, parent);
    make("span", {}, row, label);
    const input = make("input", { type: "range", name: key, "aria-label": label, ...attributes }, row);
    const output = make("span", {}, row);
    input.say = (text) => {
      output.textContent = minus(text);
      set(input, { "aria-valuetext": minus(text) });
    };
    return input;
  };
  const tools = (parent = box) => make("div", { class: "tools" }, parent); // a row of what follows
  const choice = (key, label, texts, parent = tools()) => {
    set(parent, { role: "radiogroup", "aria-label": label });
    texts.forEach((text, value) => {
      const row = make("label", {}, parent);
      make("input", { type: "radio", name: key, value, ...(value ? {} : { checked: "" }) }, row);
      row.append(text);
    });
    return parent;
  };
  const button = (text, action, parent = tools()) => {
    const node = make("button", { type: "button" }, parent, text);
    node.addEventListener("click", () => {
      action();
      box.dispatchEvent(new Event("input"));
    });
    return node;
  };
  const hidden = (key, value) => make("input", { type: "hidden", name: key, value }, box); // more state

  const [run, words] = [JSON.parse(box.dataset.run), JSON.parse(box.dataset.words)];
  const update = build({ box, run, words, set, make, panel, trace, slider, tools, choice, button, hidden });
  make("p", {}, box, words.caption);
  const open = () => {
    const [where, state] = location.hash.slice(1).split("?");
    if (where !== name) return;
    for (const [key, value] of new URLSearchParams(state)) {
      if (box.elements[key]) box.elements[key].value = value;
    }
    update();
    box.scrollIntoView({ block: "center", behavior: "instant" });
  };
  let timer; // a browser allows few changes of the address per second
  box.addEventListener("input", () => {
    update();
    clearTimeout(timer);
    const state = `#${name}?${new URLSearchParams(new FormData(box))}`;
    timer = setTimeout(() => history.replaceState(null, "", state), 300);
  });
  box.addEventListener("submit", (event) => event.preventDefault()); // Enter in a slider
  addEventListener("hashchange", open);
  update();
  open();
}
