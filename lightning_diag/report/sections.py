"""The charts below the cards, under their headings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from lightning_diag.report.cards import FindingCard
from lightning_diag.report.charts import Chart
from lightning_diag.report.confusion import Table, confused_pairs
from lightning_diag.report.derived import LARGEST, USED_UP
from lightning_diag.report.domains import domain_charts
from lightning_diag.report.gather import Gathered
from lightning_diag.report.grid import Columns
from lightning_diag.report.heat import Heat
from lightning_diag.report.maps import heat_maps, telling
from lightning_diag.report.timelines import BUCKETS, line_chart, loss_chart
from lightning_diag.report.titles import title_of

Drawing = Chart | Heat
# what detectors need and nobody looks at
HIDDEN = frozenset(
    {"val/samples", "domain/named", "activation/window_samples", "activation/call_order", *USED_UP, *LARGEST}
)
HIDDEN_GROUPS = ("chance/", "origin/")
AS_LINES = ("group", "domain", "optimizer")  # axes with few rows
MAX_OTHER = 60
RUNNING = ("accuracy/train",)  # means that keep 0.9 of the past at each sample ...
SETTLED = 20  # ... and after so many have forgotten 88 % of the first
SPARSE = 0.1  # share of the run without a sample at its end that is pointed out


@dataclass
class Section:
    """A heading with charts and tables; the charts in ``more`` open on demand."""

    id: str
    title: str
    note: str = ""
    charts: list[Drawing] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    more: list[Drawing] = field(default_factory=list)


def sections(
    got: Gathered, columns: Mapping[str, Columns], findings: Sequence[FindingCard], budget: float | None = None
) -> list[Section]:
    """Return all sections that hold something."""
    arrays = [s for s in columns if got.axis(s) not in AS_LINES and _looked_at(s)]
    maps = heat_maps(arrays, got, columns, findings)
    loss = _loss(got, columns, findings)
    layers = Section("layers", "Layers over time", "A row is a parameter or a module, in the order of the model.")
    classes = Section("classes", "Classes over time", "A row is a class.")
    for signal, made in maps.items():
        if not len(made.index):
            continue
        if got.axis(signal) == "class":
            (classes.charts if signal == "class/recall" else classes.more).append(made)
        else:
            (layers.charts if telling(signal, columns[signal]) else layers.more).append(made)
    classes.tables += confused_pairs(got)
    domains = Section("domains", "Domains over time", "Shaded: two standard errors, where they are known.")
    domains.charts += domain_charts(got, columns)
    cost = Section("cost", "What the diagnostics cost", _cost_note(got, budget))
    cost.charts += _cost(got, budget)
    other = Section("other", "Other signals")
    shown = {*_LOSS, "system/overhead_frac", "system/interval_steps"}
    rest = [s for s in got.series if s not in shown and _looked_at(s)]
    other.more += _charts(rest[:MAX_OTHER], got, columns, "half")
    made_sections = [loss, layers, classes, domains, cost, other]
    return [section for section in made_sections if section.charts or section.tables or section.more]


_CURVES = (
    ("Learning rate", ("lr",)),
    ("Gradient norm", ("grad/norm", "grad/norm_after_clip")),
    ("Accuracy", ("accuracy/train", "accuracy/val")),
)
_LOSS = {"loss/train", "loss/val", *(signal for _, curve in _CURVES for signal in curve)}


def _loss(got: Gathered, columns: Mapping[str, Columns], findings: Sequence[FindingCard]) -> Section:
    note = " ".join(("Drag over a chart to zoom in; all charts below follow.", _sparse(got))).strip()
    section = Section("loss", "Loss and learning rate", note)
    marks = [card.mark() for card in findings if card.severity != "info"]
    drawn = [loss_chart(got)]
    for title, curve in _CURVES:
        clipped = got.facts.clip_val is not None
        signals = [s for s in curve if (clipped or s != "grad/norm_after_clip") and not (s in RUNNING and _few(s, got))]
        chart = line_chart(signals, got, columns, "low", BUCKETS // 2)
        if chart is not None:
            chart.title = title
            if "grad/norm" in curve and got.facts.clip_val and got.facts.clip_algorithm != "value":
                chart.limits.append((got.facts.clip_val, "clipping limit"))
        drawn.append(chart)
    for chart in drawn:
        if chart is not None:
            chart.marks = marks
            section.charts.append(chart)
    return section


def _few(signal: str, got: Gathered) -> bool:
    """Whether a running mean is still little else than the run's first samples."""
    return signal in got.series and len(got.series[signal]) < SETTLED


def _sparse(got: Gathered) -> str:
    """Why most lines end before the run does, where they do."""
    sampled = got.series.get("system/interval_steps")
    if sampled is None or not len(sampled) or got.last_step - sampled.steps[-1] < SPARSE * got.last_step:
        return ""
    return (
        f"After step {int(sampled.steps[-1]):,} only losses and validation were taken: on steps this short another "
        "sample would have cost more than the budget allows."
    )


def _cost(got: Gathered, budget: float | None) -> list[Chart]:
    charts = _charts(("system/overhead_frac", "system/interval_steps"), got, {}, "half")
    for chart in charts:
        chart.zero = True
        if budget is not None and chart.title == title_of("system/overhead_frac"):
            chart.limits.append((budget, "budget"))
    return charts


def _cost_note(got: Gathered, budget: float | None) -> str:
    note = "Own time over step time since the start, and how often a step is sampled."
    overhead = got.series.get("system/overhead_frac")
    if budget is None or overhead is None or not len(overhead) or overhead.values[-1] <= budget:
        return note
    return f"{note} The first samples come before their cost is known: it takes a longer run to make up for them."


def _looked_at(signal: str) -> bool:
    return signal not in HIDDEN and not signal.startswith(HIDDEN_GROUPS)


def _charts(signals: Iterable[str], got: Gathered, columns: Mapping[str, Columns], size: str) -> list[Chart]:
    made = (line_chart((signal,), got, columns, size) for signal in signals)
    return [chart for chart in made if chart is not None]
