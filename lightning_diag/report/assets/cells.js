// Cells of a heat map: one byte each. 0 not measured, 1 not finite, 2 zero, 3 to 255 the levels of the scale.
"use strict";

LD.cells = (() => {
  const NOT_FINITE = 1, ZERO = 2, FIRST = 3, LEVELS = 252;

  // viridis (light = high) and a blue-white-orange scale; both keep their order for colour-blind eyes and in grey
  const VIRIDIS = [[68, 1, 84], [71, 44, 122], [59, 81, 139], [44, 113, 142], [33, 144, 141], [39, 173, 129], [92, 200, 99], [170, 220, 50], [253, 231, 37]];
  const CHANGE = [[5, 60, 120], [67, 130, 190], [160, 200, 225], [238, 238, 236], [250, 195, 130], [222, 120, 35], [130, 55, 0]];
  const BAD = [214, 0, 90], NOTHING = [20, 20, 24];

  function ramp(stops) {
    return Array.from({ length: 256 }, (_, i) => {
      const at = (i / 255) * (stops.length - 1);
      const k = Math.min(stops.length - 2, Math.floor(at));
      return stops[k].map((v, c) => Math.round(v + (at - k) * (stops[k + 1][c] - v)));
    });
  }
  const SCALES = { value: ramp(VIRIDIS), change: ramp(CHANGE) };

  const packed = ([r, g, b]) => ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0; // a pixel as one number

  function decode(text) {
    const raw = atob(text);
    const bytes = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
    return bytes;
  }

  function valueOf(spec, code) {
    const share = (code - FIRST) / LEVELS;
    return spec.log ? spec.low * (spec.high / spec.low) ** share : spec.low + share * (spec.high - spec.low);
  }

  function wordsFor(spec, code) {
    if (code === 0) return "not measured";
    if (code === NOT_FINITE) return "not finite";
    if (code === ZERO) return "0";
    return `about ${LD.number(Number(valueOf(spec, code).toPrecision(3)), spec.percent)}`;
  }

  // What all names share at their ends says nothing: rows are labelled by what tells them apart.
  function shortened(names) {
    if (names.length < 3) return names;
    const ends = (list) => list.reduce((a, b) => { let i = 0; while (i < a.length && a[i] === b[i]) i++; return a.slice(0, i); });
    const before = ends(names).lastIndexOf(".") + 1;
    const backwards = ends(names.map((n) => [...n.slice(before)].reverse().join("")));
    const after = backwards.lastIndexOf(".") + 1;
    if (before + after < 12) return names;
    return names.map((n) => `${before ? "…" : ""}${n.slice(before, n.length - after)}${after ? "…" : ""}`);
  }

  // Level of each row's median, to show change against it.
  function medians(spec, codes) {
    const columns = spec.first.length;
    return spec.index.map((_, row) => {
      const seen = codes.slice(row * columns, (row + 1) * columns).filter((c) => c >= FIRST).sort();
      return seen.length ? seen[seen.length >> 1] : FIRST;
    });
  }

  return { NOT_FINITE, ZERO, FIRST, LEVELS, BAD, NOTHING, SCALES, packed, decode, wordsFor, shortened, medians };
})();
