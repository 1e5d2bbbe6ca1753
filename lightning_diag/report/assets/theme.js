// Colours and theme. Everything drawn on a canvas asks here, so that light, dark and print are one thing.
"use strict";
const LD = { font: '12px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif' };

LD.theme = (() => {
  const root = document.documentElement;
  const button = document.getElementById("theme");
  const CHOICES = ["auto", "light", "dark"];
  const redraws = [];
  let printing = false;

  const css = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const remembered = () => { try { return localStorage.getItem("lightning-diag-theme"); } catch { return null; } };
  const remember = (value) => { try { localStorage.setItem("lightning-diag-theme", value); } catch { /* a file may have none */ } };

  let choice = CHOICES.includes(remembered()) ? remembered() : "auto";
  let palette = {};

  function apply() {
    const shown = printing ? "light" : choice;
    if (shown === "auto") delete root.dataset.theme; else root.dataset.theme = shown;
    button.textContent = `Theme: ${choice}`;
    palette = {
      ink: css("--ink"), muted: css("--muted"), grid: css("--grid"), card: css("--card"), ground: css("--ground"),
      critical: css("--critical"), warning: css("--warning"), info: css("--info"), band: css("--band"),
      lines: [0, 1, 2, 3, 4, 5, 6, 7].map((i) => css(`--line-${i}`)),
    };
    redraws.forEach((redraw) => redraw());
  }

  button.hidden = false;
  button.addEventListener("click", () => {
    choice = CHOICES[(CHOICES.indexOf(choice) + 1) % CHOICES.length];
    remember(choice);
    apply();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", apply);
  addEventListener("beforeprint", () => { printing = true; apply(); });
  addEventListener("afterprint", () => { printing = false; apply(); });
  apply();

  return {
    color: (name) => palette[name],
    line: (index) => (index < 0 ? palette.muted : palette.lines[index % palette.lines.length]),
    onChange: (redraw) => redraws.push(redraw),
  };
})();

// Numbers and steps for people; the same rules as words.py.
LD.number = (x, percent = false) => {
  if (percent) return `${LD.number(Number((100 * x).toPrecision(3)))} %`;
  if (x === 0) return "0";
  const size = Math.abs(x);
  if (size >= 1e-3 && size < 1e5) {
    return size < 1e4 ? Number(x.toPrecision(4)).toLocaleString("en-US", { maximumSignificantDigits: 4 })
      : Math.round(x).toLocaleString("en-US");
  }
  const [mantissa, exponent] = x.toExponential(3).split("e");
  return `${Number(mantissa)}e${Number(exponent)}`;
};
LD.step = (x) => Math.round(x).toLocaleString("en-US");

LD.element = (name, attributes = {}, ...children) => {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "class") node.className = value; else node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
};
