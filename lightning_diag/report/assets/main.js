// Draws every chart that stands on the page and wires the toolbar.
"use strict";

LD.compact = (v) => (Math.abs(v) >= 1e4 ? Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 1 }).format(v) : LD.step(v));
LD.rim = 24; // pixels right of every chart
LD.gutter = 232; // pixels left of a heat map; style.css gives line charts as much, so that all time axes stand in line

(() => {
  const specs = new Map(LD.data.charts.map((spec) => [spec.id, spec]));
  const drawn = new Set();

  function draw(figure) {
    const spec = specs.get(figure.dataset.chart);
    if (!spec || drawn.has(spec.id)) return;
    drawn.add(spec.id);
    (spec.kind === "heat" ? LD.heat : LD.lines).make(spec, figure);
  }
  const drawIn = (node) => node.querySelectorAll("figure[data-chart]").forEach(draw);

  document.querySelectorAll("figure[data-chart]").forEach((figure) => { if (!figure.closest("details:not([open])")) draw(figure); });
  document.querySelectorAll("details.more-charts").forEach((details) => details.addEventListener("toggle", () => drawIn(details)));
  // on paper: what a reader can't open there, but neither the signals nor the limits that nobody asked for
  addEventListener("beforeprint", () => document.querySelectorAll("details:not(.more-charts, .limits)").forEach((details) => { details.open = true; }));

  const toolbar = document.getElementById("toolbar");
  if (toolbar) {
    toolbar.hidden = false;
    const actions = {
      in: () => LD.timeline.scale(0.5), out: () => LD.timeline.scale(2), left: () => LD.timeline.move(-0.5),
      right: () => LD.timeline.move(0.5), reset: () => LD.timeline.reset(),
    };
    toolbar.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (!button) return;
      if (button.dataset.do === "marks") {
        const on = button.getAttribute("aria-pressed") !== "true";
        button.setAttribute("aria-pressed", String(on));
        LD.timeline.showMarks(on);
      } else actions[button.dataset.do]();
    });
    LD.timeline.tell();
  }
  document.documentElement.dataset.ready = "yes";
})();
