"""Line charts over the whole run: loss, learning rate, gradient norm, cost, and every other signal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lightning_diag.report.charts import Chart, Line, Look
from lightning_diag.report.gather import Gathered
from lightning_diag.report.grid import Columns
from lightning_diag.report.series import Floats, level, minmax
from lightning_diag.report.tables import row_line, scalar_table, spread, summary
from lightning_diag.report.titles import doc_of, is_share, title_of, unit_of
from lightning_diag.report.words import clean, number, percent, sentence

BUCKETS = 2500  # of the loss: zooming in shows single steps of a run of 5,000
SIDE = 400  # of a chart beside the point
SMOOTH = 32  # steps of the median drawn through the training loss
MAX_LINES = 8  # rows of one array that are drawn as lines
MAX_BAD = 200


def loss_chart(got: Gathered) -> Chart | None:
    """Training loss at each step, its running median, and the validation loss."""
    train, val = got.series.get("loss/train"), got.series.get("loss/val")
    if train is None and val is None:
        return None
    chart = Chart("Loss", "", [], unit="", synced=True)
    if train is not None:
        title = title_of("loss/train")
        steps, median = minmax(*level(train.steps, train.values, SMOOTH), BUCKETS // 4)
        smooth = len(steps) > SMOOTH and not train.thinned
        chart.tables.append(
            scalar_table(train, f"{title}, each step" if smooth else title, BUCKETS, "faint" if smooth else "line")
        )
        if smooth:
            chart.tables.append((steps, [Line(f"{title}, median of {SMOOTH} steps", median)]))
        chart.bad += train.bad[:MAX_BAD]
        chart.caption = f"{title}. {summary(train)}"
    if val is not None:
        chart.tables.append(scalar_table(val, title_of("loss/val"), BUCKETS, "dots", color=1))
        chart.bad += val.bad[:MAX_BAD]
        chart.caption = f"{chart.caption} {title_of('loss/val')}. {summary(val)}".strip()
    if got.facts.chance_loss:
        chart.limits.append((got.facts.chance_loss, "chance"))
    return chart


def line_chart(
    signals: Sequence[str], got: Gathered, columns: Mapping[str, Columns], size: str, buckets: int = SIDE
) -> Chart | None:
    """One chart of several scalars, or of the few rows of one array; None when none of them was measured."""
    present = [s for s in signals if s in got.series or s in columns]
    if not present:
        return None
    chart = Chart(title_of(present[0]), "", [], unit=unit_of(present[0]), size=size, synced=True)
    captions = []
    for color, signal in enumerate(present):
        if signal in got.series:
            series = got.series[signal]
            chart.tables.append(scalar_table(series, title_of(signal), buckets, look_of(signal), color))
            chart.bad += series.bad[:MAX_BAD]
            told = summary(series, percent if is_share(signal) else number)
            captions.append(f"{sentence(doc_of(signal)) if size == 'half' else title_of(signal) + '.'} {told}".strip())
        else:
            steps, lines = _rows(signal, got, columns[signal])
            chart.tables.append((steps, lines))
            captions.append(_rows_caption(signal, steps, lines))
    chart.caption = " ".join(captions)
    chart.percent = is_share(present[0])
    return chart


def look_of(signal: str) -> Look:
    """How a signal is drawn."""
    if signal.endswith("/val"):
        return "dots"
    return "steps" if signal in ("system/interval_steps", "grad/clipped") else "line"


def _rows_caption(signal: str, steps: Floats, lines: Sequence[Line]) -> str:
    say = percent if is_share(signal) else number
    parts = [sentence(doc_of(signal))]
    for line in lines:
        known = np.flatnonzero(np.isfinite(line.values))
        if len(known):
            first, last = known[0], known[-1]
            parts.append(
                f"{line.label}: from {say(float(line.values[first]))} at step {int(steps[first]):,} "
                f"to {say(float(line.values[last]))} at step {int(steps[last]):,}."
            )
    return " ".join(part for part in parts if part)


def _rows(signal: str, got: Gathered, columns: Columns) -> tuple[Floats, list[Line]]:
    steps, index = spread(columns)
    names = got.names(signal)
    title = title_of(signal)
    return steps, [
        Line(title if len(names) == 1 else clean(name), row_line(columns, row, index), color=row)
        for row, name in enumerate(names[:MAX_LINES])
    ]
