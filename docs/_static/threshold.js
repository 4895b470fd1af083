// A slider for the threshold, over the probabilities of the validation rows, one block each.
figure("threshold", ({ box, run, words, set, make, panel, slider }) => {
  // A column of blocks for each twentieth, filled in sorted order; one panel per class.
  const tops = [0, 1].map(() => Array(20).fill(0));
  const rows = run.validation.map(([p, label]) => {
    const column = Math.min(19, Math.floor(p * 20));
    return { p, label, column, top: ++tops[label][column] };
  });
  const high = Math.max(...tops.flat()) + 1;
  const ticks = Array.from({ length: Math.ceil(high / 5) }, (_, i) => 5 * i);
  const lines = [words.zero, words.one].map((title, label) => {
    const view = panel(
      { label: words.probability, ends: [0, 1], ticks: [0, 0.2, 0.4, 0.6, 0.8, 1] },
      { label: title, ends: [0, high], ticks },
    );
    for (const row of rows.filter((row) => row.label === label)) {
      const place = { x: view.x(row.column / 20) + 0.7, y: view.y(row.top) + 0.7 };
      row.block = make("rect", { ...place, width: 13.4, height: view.y(0) - view.y(1) - 0.7 }, view.plot);
    }
    return { x: view.x, line: make("line", { class: "edge", y1: 0, y2: 240 }, view.plot) };
  });
  const control = slider("threshold", words.threshold, { min: 0, max: 1, step: 0.01, value: 0.5 });
  const result = make("output", {}, box);
  const cells = ["validation", "test"].map((set) => {
    const row = make("div", {}, result);
    make("b", {}, row, words[set]);
    return ["missed", "alarm", "accuracy"].map((key) => make("span", { class: key }, row));
  });
  return () => {
    const t = Number(control.value);
    control.say(t.toFixed(2));
    for (const { line, x } of lines) set(line, { x1: x(t), x2: x(t) });
    for (const { p, label, block } of rows) {
      set(block, { class: label ? (p > t ? "found" : "missed") : p > t ? "alarm" : "right" });
    }
    box.counts = [run.validation, run.test].map((all, i) => {
      const count = (...label) => all.filter(([p, y]) => label.includes(y) && p > t !== (y === 1)).length;
      const ones = all.filter(([, y]) => y).length, accuracy = 1 - count(0, 1) / all.length;
      const counts = [`${count(1)} / ${ones}`, `${count(0)} / ${all.length - ones}`, accuracy.toFixed(2)];
      cells[i].forEach((cell, k) => (cell.textContent = `${words[cell.className]} ${counts[k]}`));
      return [count(1), count(0), accuracy];
    });
  };
});
