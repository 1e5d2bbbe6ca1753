"""One chart a domain signal: a line a domain, with a band of what chance alone would do."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lightning_diag.report.charts import Chart, Line
from lightning_diag.report.derived import STANDARD_ERROR
from lightning_diag.report.gather import Gathered
from lightning_diag.report.grid import Columns
from lightning_diag.report.series import Floats
from lightning_diag.report.tables import row_line, spread
from lightning_diag.report.titles import doc_of, is_share, title_of, unit_of
from lightning_diag.report.words import clean, number, percent, sentence

SIGMAS = 2.0  # width of the band: about 95 %
MAX_DOMAINS = 8
HIDDEN = frozenset({"domain/val_samples", "domain/train_samples", "domain/probe_p", "domain/mmd_p"})
FIRST = ("domain/val_error", "domain/val_loss", "domain/train_error", "domain/train_loss")
FEW = 80  # points up to which each is drawn as a dot


def domain_charts(got: Gathered, columns: Mapping[str, Columns]) -> list[Chart]:
    """Return a chart of each signal whose rows are domains; a signal's standard error is drawn with it."""
    signals = [s for s in sorted(columns, key=_order) if got.axis(s) == "domain" and s not in HIDDEN]
    mains = [s for s in signals if not (s.endswith(STANDARD_ERROR) and s.removesuffix(STANDARD_ERROR) in signals)]
    charts = (_chart(s, got, columns[s], columns.get(f"{s}{STANDARD_ERROR}")) for s in mains)
    return [chart for chart in charts if chart.tables[0][1]]


def _order(signal: str) -> tuple[int, str]:
    return (FIRST.index(signal) if signal in FIRST else len(FIRST), signal)


def _chart(signal: str, got: Gathered, columns: Columns, errors: Columns | None) -> Chart:
    steps, index = spread(columns)
    say = percent if is_share(signal) else number
    lines: list[Line] = []
    captions = [sentence(doc_of(signal))]
    for row, name in enumerate(got.names(signal)[:MAX_DOMAINS]):
        values = row_line(columns, row, index)
        known = np.flatnonzero(np.isfinite(values))
        if not len(known):
            continue
        label = clean(name)
        if errors is not None and errors.high.shape == columns.high.shape:
            lines.append(_band(label, values, errors.high[index, row], row, share=is_share(signal)))
        lines.append(Line(label, values, "dots" if len(steps) <= FEW else "line", row))
        captions.append(f"{label}: {say(float(values[known[-1]]))} at step {int(steps[known[-1]]):,}.")
    caption = " ".join(text for text in captions if text)
    named = {line.label for line in lines}
    title = title_of(signal) + (f", {named.pop()}" if len(named) == 1 else "")  # a line alone has no legend
    return Chart(title, caption, [(steps, lines)], unit_of(signal), size="low", synced=True, percent=is_share(signal))


def _band(label: str, values: Floats, error: Floats, color: int, *, share: bool) -> Line:
    low, high = values - SIGMAS * error, values + SIGMAS * error
    if share:
        low, high = np.clip(low, 0.0, 1.0), np.clip(high, 0.0, 1.0)
    return Line(label, high, "band", color, low)
