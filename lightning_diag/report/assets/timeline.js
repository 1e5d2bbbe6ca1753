// What all charts of the page share: the range of steps that is shown, the step under the cursor, the tooltip.
"use strict";

LD.data = JSON.parse(document.getElementById("data").textContent);

LD.timeline = (() => {
  const [first, last] = LD.data.span;
  const charts = [];
  let range = [first, last];
  let marks = true;

  function zoom(from, to) {
    const width = Math.max(2, Math.min(to - from, last - first));
    const start = Math.min(Math.max(first, from), last - width);
    range = [start, start + width];
    charts.forEach((chart) => chart.zoom(range));
    tell();
  }
  function tell() {
    document.getElementById("range").textContent = `Steps ${LD.step(range[0])} to ${LD.step(range[1])}`;
  }
  const move = (share) => zoom(range[0] + share * (range[1] - range[0]), range[1] + share * (range[1] - range[0]));
  const scale = (factor, around = (range[0] + range[1]) / 2) =>
    zoom(around - (around - range[0]) * factor, around + (range[1] - around) * factor);

  return {
    full: [first, last],
    get range() { return range; },
    get marks() { return marks; },
    zoom, move, scale, tell,
    reset: () => zoom(first, last),
    showMarks: (on) => { marks = on; charts.forEach((chart) => chart.redraw()); },
    add: (chart) => charts.push(chart),
    cursor: (step, from) => charts.forEach((chart) => { if (chart !== from) chart.cursor(step); }),
  };
})();

LD.epochOf = (step) => {
  let found = null;
  for (const [epoch, first] of LD.data.epochs) { if (first > step) break; found = epoch; }
  return LD.data.epochs.length > 1 ? found : null;
};

LD.tip = (() => {
  const tip = document.getElementById("tip");
  const say = document.getElementById("say");
  let timer = 0;

  // rows: [colour or null, name, value]; aloud: whether a screen reader should hear it (the keyboard moved the cursor)
  function show(title, rows, x, y, aloud) {
    tip.replaceChildren(LD.element("b", {}, title));
    for (const [color, name, value] of rows) {
      const dot = LD.element("i");
      if (color) dot.style.background = color; else dot.hidden = true;
      tip.append(LD.element("div", {}, dot, LD.element("span", {}, name), LD.element("strong", {}, value)));
    }
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    const left = x + 16 + box.width > innerWidth ? x - 16 - box.width : x + 16;
    tip.style.left = `${Math.max(4, left)}px`;
    tip.style.top = `${Math.max(4, Math.min(y + 14, innerHeight - box.height - 4))}px`;
    if (aloud) {
      clearTimeout(timer);
      timer = setTimeout(() => { say.textContent = `${title}. ${rows.map((r) => `${r[1]} ${r[2]}`).join(", ")}`; }, 250);
    }
  }
  addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });
  return { show, hide: () => { tip.hidden = true; } };
})();

LD.titleAt = (step) => {
  const epoch = LD.epochOf(step);
  return `Step ${LD.step(step)}${epoch === null ? "" : ` · epoch ${epoch.toLocaleString("en-US")}`}`;
};
