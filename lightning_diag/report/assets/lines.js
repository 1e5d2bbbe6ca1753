// Line charts, drawn by uPlot: lines, bands, limits, the steps at which findings fired.
"use strict";

LD.lines = (() => {
  const HEIGHT = { main: 300, low: 150, half: 140, small: 170 };
  const FONT = LD.font;
  const { color, line } = LD.theme;

  // Tables with their own steps become uPlot's one table; a value of 0 or less sits on the floor of a log axis.
  function joined(spec) {
    const series = [];
    const tables = spec.tables.map((table) => {
      const columns = [table.x];
      for (const one of table.lines) {
        if (one.look === "band") { columns.push(one.y, one.low); series.push([one, "high"], [one, "low"]); }
        else { columns.push(one.y); series.push([one, "value"]); }
      }
      return columns;
    });
    const data = tables.length === 1 ? tables[0] : uPlot.join(tables);
    return { series, data };
  }

  function floored(data) {
    let least = Infinity;
    for (const values of data.slice(1)) for (const v of values) if (v > 0 && v < least) least = v;
    const floor = (Number.isFinite(least) ? least : 1) / 3;
    return [data[0], ...data.slice(1).map((values) => Array.from(values, (v) => (v === null || v === undefined || v > 0 ? v : floor)))];
  }

  function seriesOptions(one, part) {
    if (part !== "value") return { label: one.label, stroke: "transparent", width: 0, points: { show: false } };
    const stroke = () => line(one.color);
    const options = { label: one.label, stroke, width: 1.75, points: { show: false } };
    if (one.look === "faint") Object.assign(options, { width: 1, alpha: one.color < 0 ? 0.6 : 0.35 });
    if (one.look === "dots") Object.assign(options, { points: { show: true, size: 6, fill: stroke, stroke } });
    if (one.look === "dots") options.spanGaps = true; // not every domain is measured at every step
    if (one.look === "steps") Object.assign(options, { paths: uPlot.paths.stepped({ align: 1 }) });
    if (one.y.length < 3) options.points = { show: true, size: 6, fill: stroke, stroke };
    return options;
  }

  const compact = (v) => (Math.abs(v) >= 1e4 && Math.abs(v) < 1e9
    ? Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 1 }).format(v) : LD.number(v));

  function axes(spec, log) {
    const common = { stroke: () => color("muted"), font: FONT, ticks: { show: false }, grid: { stroke: () => color("grid"), width: 1 } };
    return [
      { ...common, size: 26, gap: 4, space: 70, grid: { show: false }, ticks: { show: true, size: 4, stroke: () => color("grid") },
        values: (u, splits) => splits.map((s) => (Number.isInteger(s) ? compact(s) : "")) },
      { ...common, size: 62, space: 28,
        values: (u, splits) => splits.map((s) => (s === null ? "" : spec.percent ? LD.number(s, true) : compact(s))),
        ...(log ? { filter: logTicks, grid: { ...common.grid, filter: logTicks } } : {}) },
    ];
  }

  // On a log axis: whole decades, and fewer of them where they would touch.
  function logTicks(u, splits) {
    const decades = splits.filter((s) => Math.abs(Math.log10(s) % 1) < 1e-9).length;
    if (decades < 2) return splits.map((s) => ([1, 2, 5].some((k) => Math.abs(Math.log10(s / k) % 1) < 1e-9) ? s : null));
    const each = Math.ceil(decades / Math.max(2, u.bbox.height / devicePixelRatio / 26));
    return splits.map((s) => (Math.abs(Math.log10(s) % 1) < 1e-9 && Math.round(Math.log10(s)) % each === 0 ? s : null));
  }

  function make(spec, figure) {
    const body = figure.querySelector(".plot-body");
    const small = spec.size === "small";
    const holder = LD.element("div", { class: "flags" });
    const hidden = new Set();
    const { series, data } = joined(spec);
    let log = spec.log;
    let cut = spec.cut !== null;
    let plot = null;
    let range = spec.synced ? LD.timeline.range : null;
    let aloud = false;
    const say = (value) => LD.number(value, spec.percent);
    const self = { zoom, redraw: () => plot && plot.redraw(false, true), cursor };

    const width = () => Math.max(120, body.clientWidth);

    function options() {
      return {
        width: width(), height: HEIGHT[spec.size] || 150,
        padding: [8, LD.rim, 0, 0], legend: { show: false },
        cursor: { drag: { x: true, y: false, setScale: false }, y: false, bind: { dblclick: () => () => reset() },
          points: { size: (u, i) => (series[i - 1][1] === "value" ? 8 : 0), width: 2, stroke: (u, i) => line(series[i - 1][0].color), fill: () => color("card") } },
        scales: { x: { time: false, range: () => range || LD.timeline.full }, y: log ? { distr: 3 } : { range: vertical } },
        axes: axes(spec, log),
        series: [{}, ...series.map(([one, part]) => ({ ...seriesOptions(one, part), show: !hidden.has(one) }))],
        bands: series.flatMap(([, part], i) => (part === "high" ? [{ series: [i + 1, i + 2], fill: () => (series[i][0].color < 0 ? color("band") : `${line(series[i][0].color)}2e`) }] : [])),
        hooks: {
          drawAxes: [(u) => LD.marks.behind(u, spec, small)],
          draw: [(u) => { LD.marks.front(u, spec, small, cut && !log); if (!small) LD.marks.flags(u, spec, holder); }],
          setSelect: [(u) => { if (u.select.width > 4) choose(u.posToVal(u.select.left, "x"), u.posToVal(u.select.left + u.select.width, "x")); u.setSelect({ width: 0, height: 0 }, false); }],
          setCursor: [hover],
        },
      };
    }

    function vertical(u, low, high) {
      if (low === null || low === undefined) return [0, 1];
      if (low === high && low >= 0 && (low === 0 || spec.percent)) return [0, 1.25 * Math.max(high, ...spec.limits.map((l) => l.y)) || 1];
      if (spec.zero) return [0, 1.1 * Math.max(high, ...spec.limits.map((l) => l.y), 1e-9)];
      return uPlot.rangeNum(low, cut && high > spec.cut ? Math.max(spec.cut, low + 1e-9) : high, 0.1, true);
    }

    function build() {
      if (plot) plot.destroy();
      plot = new uPlot(options(), log ? floored(data) : data, body);
      plot.ctx.canvas.setAttribute("aria-hidden", "true");
      plot.over.append(holder);
    }

    function choose(from, to) { if (spec.synced) LD.timeline.zoom(from, to); else zoom([from, to]); }
    function reset() { if (spec.synced) LD.timeline.reset(); else zoom(null); }
    function zoom(next) {
      range = next;
      if (plot) plot.setScale("x", { min: (range || LD.timeline.full)[0], max: (range || LD.timeline.full)[1] });
    }
    function cursor(step) {
      if (!plot) return;
      const left = step === null ? -10 : plot.valToPos(step, "x");
      plot.setCursor({ left, top: step === null ? -10 : 10 }, false);
    }

    function hover(u) {
      const { left, idx, idxs } = u.cursor;
      if (left < 0 || idx === null || idx === undefined) { LD.tip.hide(); if (spec.synced) LD.timeline.cursor(null, self); return; }
      const rows = series.map(([one, part], i) => [i, one, part]).filter(([, one, part]) => part !== "low" && !(part === "high" && one.color >= 0) && !hidden.has(one) && !(one.color < 0 && one.look === "faint")).map(([i, one, part]) => {
        const at = idxs ? idxs[i + 1] : idx;
        const value = at === null || at === undefined ? null : data[i + 1][at];
        if (value === null || value === undefined) return null;
        const low = part === "high" ? data[i + 2][at] : null;
        return [line(one.color), one.label, low === null ? say(value) : `${say(low)} to ${say(value)}`];
      }).filter(Boolean);
      const step = u.data[0][idx];
      const box = u.over.getBoundingClientRect();
      LD.tip.show(LD.titleAt(step), rows, box.left + left, box.top + Math.max(0, u.cursor.top), aloud);
      if (spec.synced) LD.timeline.cursor(step, self);
    }

    function keys(event) {
      const u = plot;
      const at = u.cursor.idx ?? u.valToIdx(u.scales.x.min);
      const go = { ArrowLeft: -1, ArrowRight: 1, PageUp: -20, PageDown: 20 }[event.key];
      const [min, max] = [u.scales.x.min, u.scales.x.max];
      const middle = u.cursor.left >= 0 ? u.posToVal(u.cursor.left, "x") : (min + max) / 2;
      if (go) {
        const next = Math.max(0, Math.min(u.data[0].length - 1, at + go));
        aloud = true;
        u.setCursor({ left: u.valToPos(u.data[0][next], "x"), top: u.over.clientHeight / 2 });
        aloud = false;
      } else if (event.key === "+" || event.key === "=") choose(middle - (middle - min) / 2, middle + (max - middle) / 2);
      else if (event.key === "-") choose(Math.max(LD.timeline.full[0], middle - (middle - min) * 2), Math.min(LD.timeline.full[1], middle + (max - middle) * 2));
      else if (event.key === "0" || event.key === "Home") reset();
      else if (event.key === "Escape") { u.setCursor({ left: -10, top: -10 }); LD.tip.hide(); }
      else return;
      event.preventDefault();
    }

    function legend() {
      const place = figure.querySelector(".legend");
      const all = spec.tables.flatMap((table) => table.lines);
      const groups = new Map();
      all.forEach((one) => groups.set(one.label, [...(groups.get(one.label) || []), one]));
      groups.forEach((group, name) => {
        const one = group.find((line) => line.look !== "band") || group[0];
        const swatch = LD.element("i", { class: `swatch ${one.look}` });
        const paintSwatch = () => { swatch.style.color = one.look === "band" && one.color < 0 ? color("band") : line(one.color); };
        paintSwatch();
        LD.theme.onChange(paintSwatch);
        const button = LD.element("button", { type: "button", "aria-pressed": "true", class: "key" }, swatch, name);
        button.addEventListener("click", () => {
          group.forEach((line) => { if (hidden.has(line)) hidden.delete(line); else hidden.add(line); });
          button.setAttribute("aria-pressed", String(!hidden.has(one)));
          series.forEach(([other], i) => { if (group.includes(other)) plot.setSeries(i + 1, { show: !hidden.has(one) }); });
        });
        if (groups.size > 1) place.append(button);
      });
      const positive = all.some((one) => one.y.some((v) => v > 0)) && !all.some((one) => one.y.some((v) => v !== null && v < 0));
      if (spec.size !== "half" && positive && !spec.percent) place.append(LD.toggle("log axis", log, (on) => { log = on; build(); }));
      if (spec.cut !== null && !spec.log) place.append(LD.toggle("cut peaks", cut, (on) => { cut = on; build(); }));
      if (spec.near) place.append(LD.toggle("close view", spec.close, (on) => zoom(on ? spec.near : null)));
    }

    if (spec.close) range = spec.near;
    build();
    legend();
    body.tabIndex = 0;
    body.setAttribute("role", "group");
    body.setAttribute("aria-label", `${spec.title}: chart over steps. Arrow keys move, plus and minus zoom, 0 shows the whole run.`);
    body.addEventListener("keydown", keys);
    body.addEventListener("mouseleave", LD.tip.hide);
    body.addEventListener("blur", LD.tip.hide);
    LD.theme.onChange(self.redraw);
    if (spec.synced) LD.timeline.add(self);
    new ResizeObserver(() => { if (plot.width !== width()) plot.setSize({ width: width(), height: plot.height }); }).observe(body);
    figure.dataset.drawn = "yes";
  }

  return { make };
})();

LD.toggle = (words, on, change) => {
  const button = LD.element("button", { type: "button", class: "key toggle", "aria-pressed": String(on) }, words);
  button.addEventListener("click", () => {
    const next = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(next));
    change(next);
  });
  return button;
};
