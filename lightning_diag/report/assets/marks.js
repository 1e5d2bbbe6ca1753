// What is drawn over and under the lines of a chart: when findings fired and held, limits, what isn't finite, cut peaks.
"use strict";

LD.marks = (() => {
  const { color } = LD.theme;

  function draw(u, paint) {
    const { ctx, bbox } = u;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    paint(ctx, bbox, devicePixelRatio);
    ctx.restore();
  }

  function behind(u, spec, small) { // what lies under the lines: when findings fired and held, what isn't finite
    draw(u, (ctx, box, px) => {
      const at = (step) => u.valToPos(step, "x", true);
      if (small) {
        const mark = spec.marks[0];
        const left = at(mark.step);
        const right = mark.last === null ? box.left + box.width : Math.max(at(mark.last), left + 3 * px);
        ctx.globalAlpha = 0.09;
        ctx.fillStyle = color(mark.severity);
        ctx.fillRect(left, box.top, right - left, box.height);
        ctx.globalAlpha = 1;
      }
      for (const mark of small || LD.timeline.marks ? spec.marks : []) {
        const x = Math.round(at(mark.step)) + 0.5;
        ctx.strokeStyle = color(mark.severity);
        ctx.lineWidth = (small ? 2 : 1.25) * px;
        ctx.beginPath();
        ctx.moveTo(x, box.top);
        ctx.lineTo(x, box.top + box.height);
        ctx.stroke();
      }
      ctx.strokeStyle = color("critical");
      ctx.lineWidth = 1 * px;
      for (const [from, to] of spec.bad) {
        const left = at(from) - px, right = Math.max(at(to) + px, at(from) + 3 * px);
        ctx.save();
        ctx.beginPath();
        ctx.rect(left, box.top, right - left, box.height);
        ctx.clip();
        ctx.beginPath();
        for (let x = left - box.height; x < right; x += 6 * px) { ctx.moveTo(x, box.top + box.height); ctx.lineTo(x + box.height, box.top); }
        ctx.stroke();
        ctx.restore();
      }
    });
  }

  function label(ctx, text, x, y, ink, px, box) {
    ctx.font = LD.font.replace("12px", `600 ${11 * px}px`);
    const width = ctx.measureText(text).width + 8 * px;
    const left = Math.min(Math.max(box.left, x), box.left + box.width - width);
    ctx.globalAlpha = 0.85;
    ctx.fillStyle = color("card");
    ctx.fillRect(left, y, width, 15 * px);
    ctx.globalAlpha = 1;
    ctx.fillStyle = ink;
    ctx.textBaseline = "middle";
    ctx.textAlign = "left";
    ctx.fillText(text, left + 4 * px, y + 8 * px);
  }

  function front(u, spec, small, cut) { // what lies over the lines: limits, and the step a finding fired in words
    draw(u, (ctx, box, px) => {
      for (const limit of spec.limits) {
        const y = u.valToPos(limit.y, "y", true);
        if (y < box.top || y > box.top + box.height) continue;
        ctx.strokeStyle = color("muted");
        ctx.lineWidth = 1.5 * px;
        ctx.setLineDash([4 * px, 4 * px]);
        ctx.beginPath();
        ctx.moveTo(box.left, y);
        ctx.lineTo(box.left + box.width, y);
        ctx.stroke();
        ctx.setLineDash([]);
        label(ctx, `${limit.label} ${LD.number(limit.y, spec.percent)}`, box.left + box.width, Math.max(box.top, y - 16 * px), color("muted"), px, box);
      }
      if (cut) peaks(u, spec, ctx, box, px);
      if (!small) return;
      for (const mark of spec.marks) {
        label(ctx, `step ${LD.step(mark.step)}`, u.valToPos(mark.step, "x", true) + 3 * px, box.top, color(mark.severity), px, box);
      }
    });
  }

  // An arrow where a line leaves a cut axis, and how high it goes.
  function peaks(u, spec, ctx, box, px) {
    const top = u.scales.y.max;
    let highest = null;
    const at = u.data[0];
    for (const values of u.data.slice(1)) {
      for (let i = 0; i < at.length; i++) {
        if (!(values[i] > top) || at[i] < u.scales.x.min || at[i] > u.scales.x.max) continue;
        if (highest === null || values[i] > highest[1]) highest = [at[i], values[i]];
        const x = u.valToPos(at[i], "x", true);
        ctx.fillStyle = color("ink");
        ctx.beginPath();
        ctx.moveTo(x, box.top);
        ctx.lineTo(x - 4 * px, box.top + 7 * px);
        ctx.lineTo(x + 4 * px, box.top + 7 * px);
        ctx.fill();
      }
    }
    if (highest) label(ctx, `up to ${LD.number(highest[1], spec.percent)}`, u.valToPos(highest[0], "x", true) + 6 * px, box.top + (spec.size === "main" ? 66 : 18) * px, color("ink"), px, box);
  }

  // Numbered flags over the largest chart; a click goes to the card.
  function flags(u, spec, holder) {
    const wanted = spec.size === "main" && LD.timeline.marks ? spec.marks : [];
    holder.replaceChildren();
    const ends = [];
    const placed = wanted.map((mark) => ({ mark, x: u.valToPos(mark.step, "x") })).filter(({ x }) => x >= -1 && x <= u.over.clientWidth + 1);
    placed.sort((a, b) => a.x - b.x);
    for (const { mark, x } of placed) {
      let lane = ends.findIndex((end) => x - end > 4);
      if (lane < 0) lane = ends.length;
      if (lane > 2) continue;
      ends[lane] = x + 20;
      const flag = LD.element("a", { class: `badge flag ${mark.severity}`, href: `#${mark.id}`, title: `${mark.rule}, step ${LD.step(mark.step)}` }, String(mark.n));
      flag.style.left = `${Math.max(0, x - 9)}px`; // not over the axis
      flag.style.top = `${lane * 21}px`;
      holder.append(flag);
    }
  }

  return { behind, front, flags };
})();
