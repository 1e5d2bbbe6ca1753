"""The small plot of a finding: the places it names against all others, marked at the step it fired."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lightning_diag.finding import Finding
from lightning_diag.report.charts import Chart, Line
from lightning_diag.report.gather import Gathered
from lightning_diag.report.grid import Columns, narrow
from lightning_diag.report.series import Floats
from lightning_diag.report.shows import is_growth, rows_for, signals_for
from lightning_diag.report.tables import row_line, scalar_table, spread, value_at
from lightning_diag.report.titles import is_share, title_of, unit_of
from lightning_diag.report.words import clean, number, percent

BUCKETS = 150  # a small plot is about 400 pixels wide: more can't be seen
PLACES = 4  # more lines than that can't be told apart
THIN = 6  # others that are drawn one by one: of fewer a band says nothing
NEAR = 100  # steps on each side of the onset in the close view
SHORT = 0.03  # a finding that held for less than this share of the run opens in the close view
TRIALS = "sanity/fit_loss"
DIFFERENCES = ("domains/gap", "domains/gap-widening")  # their value lies between two lines
SAME = 0.05  # evidence and curve count as the same quantity when they differ by less


def figure(finding: Finding, got: Gathered, columns: Mapping[str, Columns], mark: dict[str, object]) -> Chart | None:
    """Return the plot of a finding, or None when the record holds no signal that shows it."""
    if finding.rule.startswith("sanity/") and finding.step == got.matrices.get(TRIALS, (None,))[0]:
        return _trials_figure(got)
    signals = signals_for(finding, got)
    if not signals:
        return None
    near = _near(finding, got, signals)
    if signals[0] in columns:
        chart = _array_figure(finding, got, signals[0], columns[signals[0]])
    else:
        chart = _scalar_figure(finding, got, signals, near)
    chart.marks, chart.size = [mark], "small"
    chart.percent = all(is_share(signal) for signal in signals)
    chart.near = near if signals[0] in got.series else None
    short = finding.status == "resolved" or finding.count <= 3
    held = finding.last_step - finding.first_step
    chart.close = chart.near is not None and short and held < SHORT * (got.last_step or 1)
    return chart


def _trials_figure(got: Gathered) -> Chart:
    """Losses of the trainings on one batch, made on copies before the first step."""
    _, curves = got.matrices[TRIALS]
    names = got.names_along("curve", len(curves))
    lines = [Line(name, curve, color=i) for i, (name, curve) in enumerate(zip(names, curves, strict=True))]
    said = "; ".join(f"{name} from {number(c[0])} to {number(c[-1])}" for name, c in zip(names, curves, strict=True))
    steps = np.arange(1, curves.shape[1] + 1, dtype=float)
    return Chart("Loss of one batch, trained on a copy", f"{said}.", [(steps, lines)], "loss", size="small")


def _near(finding: Finding, got: Gathered, signals: tuple[str, ...]) -> tuple[int, int] | None:
    if signals[0] not in got.series or got.last_step < 10 * NEAR:
        return None
    near = (max(0, finding.first_step - NEAR), finding.first_step + NEAR)
    steps = got.series[signals[0]].steps
    inside = int(((steps >= near[0]) & (steps <= near[1])).sum())
    return near if inside >= NEAR / 4 else None


def _scalar_figure(finding: Finding, got: Gathered, signals: tuple[str, ...], near: tuple[int, int] | None) -> Chart:
    tables, bad = [], []
    for i, signal in enumerate(signals):
        series = got.series[signal]
        look = "dots" if signal.endswith("/val") else "line"
        tables.append(scalar_table(series, title_of(signal), BUCKETS, look=look, color=i, near=near))  # type: ignore[arg-type]
        bad += series.bad[:50]
    main = got.series[signals[0]]
    value = value_at(main.steps, main.values, finding.first_step)
    say = percent if is_share(signals[0]) else number
    lost = any(first <= finding.first_step <= last for first, last in main.bad)
    told = "not finite" if lost else say(value) if value is not None else ""
    said = f"{title_of(signals[0])} at step {finding.first_step:,}: {told}." if told else ""
    limits = _limits(finding, [(x, lines[0].values) for x, lines in tables])
    if got.facts.chance_loss and finding.rule in ("loss/not-learning", "loss/bad-start", "loss/plateau"):
        limits.append((got.facts.chance_loss, "chance"))
    title = " and ".join([title_of(signals[0]), *(title_of(s).lower() for s in signals[1:])])
    return Chart(title, said, tables, unit_of(signals[0]), limits=limits, bad=bad)


def _array_figure(finding: Finding, got: Gathered, signal: str, columns: Columns) -> Chart:
    names = got.names(signal)
    columns = narrow(columns, BUCKETS)
    rows = rows_for(finding, signal, got)
    shown = rows[:PLACES]
    steps, index = spread(columns)
    known = np.isfinite(columns.high).any(axis=0)
    others = [r for r in np.flatnonzero(known).tolist() if r not in set(rows)]
    lines: list[Line] = []
    if others:
        label, greys = _who(others, names, bool(shown))
        lines += _others(columns, others, index, label)
    lines += [Line(clean(names[r]), row_line(columns, r, index), "line", i) for i, r in enumerate(shown)]
    said = _array_caption(finding, signal, steps, lines, names, rows)
    if others:
        said = f"{said} Grey: {greys}.".strip()
    bad = [[int(columns.first[c]), int(columns.last[c])] for c in np.flatnonzero(columns.bad.any(axis=1))[:50]]
    limits = _limits(finding, [(steps, line.values) for line in lines if line.color >= 0])
    return Chart(title_of(signal), said, [(steps, lines)], unit_of(signal), limits=limits, bad=bad)


def _array_caption(
    finding: Finding, signal: str, steps: Floats, lines: list[Line], names: Sequence[str], rows: list[int]
) -> str:
    """The value of the first place at the step it fired."""
    parts = []
    colored = [line for line in lines if line.color >= 0]
    value = value_at(steps, colored[0].values, finding.first_step) if colored else None
    if value is not None and math.isfinite(value):
        said = percent(value) if is_share(signal) else number(value)
        parts.append(f"{title_of(signal)} of {clean(names[rows[0]])} at step {finding.first_step:,}: {said}.")
    if len(rows) > len(colored):
        parts.append(f"The first {len(colored)} of {len(rows):,} places are drawn.")
    return " ".join(parts)


def _who(rows: list[int], names: Sequence[str], rest: bool) -> tuple[str, str]:
    """What the grey ones are called in the legend and in the caption; a single one by its name."""
    if len(rows) == 1:
        return clean(names[rows[0]]), clean(names[rows[0]])
    counted = f"the other {len(rows):,}" if rest else f"all {len(rows):,}"
    return "the others" if rest else "all", counted if len(rows) <= THIN else f"most of {counted}"


def _others(columns: Columns, rows: list[int], index: NDArray[np.intp], label: str) -> list[Line]:
    """A few rows as thin lines; many as a band from the 10th percentile of their lows to the 90th of their highs."""
    if len(rows) <= THIN:
        return [Line(label, row_line(columns, row, index), "faint", -1) for row in rows]
    low, high = columns.low[:, rows], columns.high[:, rows]
    known = np.isfinite(low).any(axis=1)
    bottom, top = np.full(len(low), np.nan), np.full(len(low), np.nan)
    if known.any():
        bottom[known] = np.nanquantile(low[known], 0.1, axis=1)
        top[known] = np.nanquantile(high[known], 0.9, axis=1)
    return [Line(label, top[index], "band", -1, bottom[index])]


def _limits(finding: Finding, drawn: list[tuple[Floats, Floats]]) -> list[tuple[float, str]]:
    """The rule's limit, where the rule's value is what is drawn at its step: else it would be a line in other units."""
    value, limit = (finding.evidence.get(key) for key in ("value", "limit"))
    if (
        is_growth(finding)
        or finding.rule in DIFFERENCES
        or not isinstance(value, (int, float))
        or not isinstance(limit, (int, float))
    ):
        return []
    for steps, values in drawn:
        at = np.searchsorted(steps, [finding.first_step, finding.step])
        around = values[np.clip(np.r_[at - 1, at, at + 1], 0, max(0, len(values) - 1))] if len(values) else values
        if (np.abs(around - value) <= SAME * abs(value)).any():
            return [(float(limit), "limit")]
    return []
