// Heat maps: names x time on a canvas.
"use strict";

LD.heat = (() => {
  const { NOT_FINITE, ZERO, FIRST, LEVELS, BAD, NOTHING, SCALES, packed, decode, wordsFor, shortened, medians } = LD.cells;
  const ROW = 15, TALL = 420, GAP = 8;
  const FONT = '11.5px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';
  const { color } = LD.theme;

  function make(spec, figure) {
    const body = figure.querySelector(".plot-body");
    const canvas = LD.element("canvas", { "aria-hidden": "true" });
    body.append(canvas);
    const known = LD.data.names[spec.axis] || [];
    const names = spec.index.map((i) => known[i] ?? String(i));
    const shown = shortened(names);
    const codes = decode(spec.codes);
    const columns = spec.first.length;
    const middle = medians(spec, codes);
    let rows = names.map((_, i) => i);
    let mode = "value";
    let range = LD.timeline.range;
    let at = null; // [row of the drawing, column] under the keyboard's cursor
    let pointed = null; // step another chart points at
    let box = { left: 0, width: 1, height: 1, lines: 1 };
    const self = { zoom: (next) => { range = next; paint(); }, redraw: paint, cursor: (step) => { pointed = step; hair(); } };
    const hairline = LD.element("div", { class: "hair", "aria-hidden": "true" });
    body.append(hairline);

    const level = (row, code) => (mode === "value" ? Math.round(((code - FIRST) / LEVELS) * 255)
      : Math.max(0, Math.min(255, Math.round(127.5 + (code - middle[row]) * 1.5))));

    // Several rows in one line of pixels: what isn't finite wins, then what is furthest from the middle.
    function strongest(from, to, column) {
      let best = 0, bestRow = rows[from], far = -1;
      for (let i = from; i < to; i++) {
        const code = codes[rows[i] * columns + column];
        const away = code === 0 ? -1 : code < FIRST ? 1000 - code : Math.abs(code - (mode === "value" ? 129 : middle[rows[i]]));
        if (away > far) { far = away; best = code; bestRow = rows[i]; }
      }
      return [best, bestRow];
    }

    // A cell reaches from the sample before it to its own: what was measured at a step holds up to that step.
    function columnAt(step) {
      let low = 0, high = columns;
      while (low < high) { const half = (low + high) >> 1; if (spec.last[half] < step) low = half + 1; else high = half; }
      return low < columns ? low : -1;
    }

    function layout() {
      const width = body.clientWidth;
      const gutter = width > 640 ? LD.gutter : Math.round(width * 0.3);
      const lines = Math.max(1, Math.min(rows.length, TALL));
      const each = rows.length * ROW <= TALL ? ROW : Math.max(1, Math.floor(TALL / lines));
      const height = lines * each;
      box = { left: gutter, width: width - gutter - LD.rim, height, lines, each, total: width };
      const px = devicePixelRatio || 1;
      canvas.width = Math.round(width * px);
      canvas.height = Math.round((height + 22) * px);
      canvas.style.width = `${width}px`;
      canvas.style.height = `${height + 22}px`;
      return px;
    }

    const share = (line) => [Math.floor((line * rows.length) / box.lines), Math.max(Math.floor(((line + 1) * rows.length) / box.lines), Math.floor((line * rows.length) / box.lines) + 1)];
    const stepAt = (x) => range[0] + ((x - box.left) / box.width) * (range[1] - range[0]);
    const xOf = (step) => box.left + ((step - range[0]) / (range[1] - range[0])) * box.width;

    function paint() {
      const px = layout();
      const ctx = canvas.getContext("2d");
      ctx.setTransform(px, 0, 0, px, 0, 0);
      ctx.clearRect(0, 0, box.total, box.height + 22);
      if (!rows.length) { ctx.fillStyle = color("muted"); ctx.font = FONT; ctx.fillText("No name matches.", box.left, 12); return; }
      cells(ctx, px);
      labels(ctx);
      ticks(ctx);
      if (LD.timeline.marks) spec.marks.forEach((mark) => flag(ctx, mark));
      hair();
    }

    function cells(ctx, px) {
      const wide = Math.max(1, Math.round(box.width * px));
      const image = ctx.createImageData(wide, box.lines);
      const atPixel = Int32Array.from({ length: wide }, (_, x) => columnAt(range[0] + ((x + 0.5) / wide) * (range[1] - range[0])));
      const inks = SCALES[mode].map(packed);
      const pixels = new Uint32Array(image.data.buffer);
      for (let line = 0; line < box.lines; line++) {
        const [from, to] = share(line);
        let last = -2, ink = 0;
        for (let x = 0; x < wide; x++) {
          const column = atPixel[x];
          if (column !== last) {
            last = column;
            const [code, row] = column < 0 ? [0, 0] : strongest(from, to, column);
            ink = code === 0 ? 0 : code === NOT_FINITE ? packed(BAD) : code === ZERO ? packed(NOTHING) : inks[level(row, code)];
          }
          if (ink) pixels[line * wide + x] = ink;
        }
      }
      const sheet = document.createElement("canvas");
      sheet.width = wide;
      sheet.height = box.lines;
      sheet.getContext("2d").putImageData(image, 0, 0);
      ctx.fillStyle = color("grid");
      ctx.fillRect(box.left, 0, box.width, box.height);
      ctx.imageSmoothingEnabled = false;
      ctx.drawImage(sheet, box.left, 0, box.width, box.height);
    }

    function short(ctx, text, width) {
      if (ctx.measureText(text).width <= width) return text;
      let keep = text.length;
      while (keep > 3 && ctx.measureText(`…${text.slice(-keep)}`).width > width) keep--;
      return `…${text.slice(-keep)}`;
    }

    function labels(ctx) {
      ctx.font = FONT;
      ctx.textAlign = "right";
      ctx.textBaseline = "middle";
      const marked = new Map(spec.marks.flatMap((m) => m.rows.map((row) => [row, m.severity])));
      const every = Math.max(1, Math.ceil(14 / box.each));
      for (let line = 0; line < box.lines; line += every) {
        const row = rows[share(line)[0]];
        const severity = LD.timeline.marks && box.each >= 12 ? marked.get(row) : null;
        ctx.fillStyle = severity ? color(severity) : color("muted");
        ctx.font = severity ? `600 ${FONT}` : FONT;
        ctx.fillText(short(ctx, shown[row], box.left - GAP - 6), box.left - GAP, line * box.each + box.each / 2 + (box.each < 12 ? 5 : 0.5));
      }
    }

    function ticks(ctx) {
      ctx.font = FONT;
      ctx.fillStyle = color("muted");
      ctx.textBaseline = "top";
      const wanted = Math.max(2, Math.floor(box.width / 110));
      const raw = (range[1] - range[0]) / wanted;
      const unit = 10 ** Math.floor(Math.log10(raw));
      const each = Math.max(1, unit * ([1, 2, 5, 10].find((k) => k * unit >= raw) || 10));
      for (let step = Math.ceil(range[0] / each) * each; step <= range[1]; step += each) {
        const x = xOf(step);
        ctx.textAlign = x > box.left + box.width - 20 ? "right" : x < box.left + 20 ? "left" : "center";
        ctx.fillText(LD.compact(step), x, box.height + 6);
      }
    }

    function flag(ctx, mark) {
      const x = xOf(mark.step);
      if (x < box.left || x > box.left + box.width) return;
      const order = new Map(rows.map((row, i) => [row, i]));
      const high = Math.max(3, box.each);
      const ys = mark.rows.filter((row) => order.has(row)).map((row) => ((order.get(row) + 0.5) * box.height) / rows.length - high / 2);
      ctx.fillStyle = color("card");
      ys.forEach((y) => ctx.fillRect(x - 2.5, y - 1, 5, high + 2));
      ctx.fillStyle = color(mark.severity);
      ys.forEach((y) => ctx.fillRect(x - 1.5, y, 3, high));
    }

    function hair() {
      const x = pointed === null ? -1 : xOf(pointed);
      hairline.hidden = x < box.left || x > box.left + box.width;
      hairline.style.left = `${x}px`;
      hairline.style.height = `${box.height}px`;
    }

    function tell(line, column, x, y, aloud) {
      const [from, to] = share(line);
      const [code, row] = strongest(from, to, column);
      const first = spec.first[column], last = spec.last[column];
      const swatch = code < FIRST ? null : `rgb(${SCALES[mode][level(row, code)].join(",")})`;
      const others = to - from > 1 ? ` (strongest of ${to - from})` : "";
      const title = last > first ? `Steps ${LD.step(first)} to ${LD.step(last)}` : LD.titleAt(first);
      LD.tip.show(title, [[swatch, `${names[row]}${others}`, wordsFor(spec, code)]], x, y, aloud);
      LD.timeline.cursor(first, self);
      pointed = first;
      hair();
    }

    function point(event) {
      const area = canvas.getBoundingClientRect();
      const x = event.clientX - area.left, y = event.clientY - area.top;
      const line = Math.floor(y / box.each), column = columnAt(stepAt(x));
      if (x < box.left || x > box.left + box.width || line < 0 || line >= box.lines || column < 0 || !rows.length) { leave(); return; }
      tell(line, column, event.clientX, event.clientY, false);
    }
    function leave() { LD.tip.hide(); LD.timeline.cursor(null, self); pointed = null; hair(); }

    let dragged = null;
    canvas.addEventListener("pointerdown", (event) => { dragged = event.clientX - canvas.getBoundingClientRect().left; });
    canvas.addEventListener("pointerup", (event) => {
      const end = event.clientX - canvas.getBoundingClientRect().left;
      if (dragged !== null && Math.abs(end - dragged) > 6) LD.timeline.zoom(stepAt(Math.max(box.left, Math.min(dragged, end))), stepAt(Math.min(box.left + box.width, Math.max(dragged, end))));
      dragged = null;
    });
    canvas.addEventListener("dblclick", LD.timeline.reset);
    canvas.addEventListener("pointermove", point);
    canvas.addEventListener("pointerleave", leave);

    body.tabIndex = 0;
    body.setAttribute("role", "group");
    body.setAttribute("aria-label", `${spec.title}: heat map, ${names.length} rows over steps. Arrow keys move from cell to cell, plus and minus zoom, 0 shows the whole run.`);
    body.addEventListener("blur", leave);
    body.addEventListener("keydown", (event) => {
      const go = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
      if (go && rows.length) {
        at = at || [0, Math.max(0, columnAt(range[0]))];
        at = [Math.max(0, Math.min(box.lines - 1, at[0] + go[0])), Math.max(0, Math.min(columns - 1, at[1] + go[1]))];
        const area = canvas.getBoundingClientRect();
        tell(at[0], at[1], area.left + xOf(spec.first[at[1]]), area.top + at[0] * box.each, true);
      } else if (event.key === "+" || event.key === "=") LD.timeline.scale(0.5);
      else if (event.key === "-") LD.timeline.scale(2);
      else if (event.key === "0" || event.key === "Home") LD.timeline.reset();
      else if (event.key === "Escape") leave();
      else return;
      event.preventDefault();
    });

    controls();
    LD.theme.onChange(paint);
    LD.timeline.add(self);
    paint();
    new ResizeObserver(() => { if (body.clientWidth !== box.total) paint(); }).observe(body);
    figure.dataset.drawn = "yes";

    function controls() {
      const place = figure.querySelector(".legend");
      if (names.length > 8) {
        const box = LD.element("input", { type: "search", placeholder: "filter names", "aria-label": `Filter the rows of ${spec.title} by name` });
        box.addEventListener("input", () => {
          const wanted = box.value.trim().toLowerCase();
          rows = names.map((_, i) => i).filter((i) => names[i].toLowerCase().includes(wanted));
          paint();
        });
        place.append(box);
      }
      const key = LD.element("span", { class: "colorkey" });
      const strip = LD.element("canvas", { width: 128, height: 10, "aria-hidden": "true" });
      const ends = [LD.element("span"), LD.element("span")];
      key.append(ends[0], strip, ends[1]);
      const has = (code) => codes.includes(code);
      if (spec.log && has(ZERO)) key.append(LD.element("i", { class: "swatch zero" }), "zero");
      if (has(NOT_FINITE)) key.append(LD.element("i", { class: "swatch bad" }), "not finite");
      if (has(0)) key.append(LD.element("i", { class: "swatch none" }), "not measured");
      const refresh = () => {
        const ctx = strip.getContext("2d");
        SCALES[mode].forEach((rgb, i) => { ctx.fillStyle = `rgb(${rgb.join(",")})`; ctx.fillRect(i / 2, 0, 1, 10); });
        const words = mode === "value" ? [LD.number(spec.low, spec.percent), LD.number(spec.high, spec.percent)] : ["less", "more than the row's median"];
        ends.forEach((end, i) => { end.textContent = words[i]; });
      };
      refresh();
      if (columns > 2) place.append(LD.toggle("change over time", false, (on) => { mode = on ? "change" : "value"; refresh(); paint(); }));
      place.append(key);
    }
  }

  return { make };
})();
