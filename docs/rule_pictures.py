"""The picture of a rule's page: its docstring's example is run, and what it fired on is drawn as an SVG.

It is the plot of the report's cards (which signal tells, where its limit is), drawn without a browser.
"""

from __future__ import annotations

import doctest
import inspect
import sys
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from docs.svg import bars, escape, lines
from lightning_diag.detectors.base import Detector
from lightning_diag.finding import Finding
from lightning_diag.reading import Reading
from lightning_diag.report.charts import Chart
from lightning_diag.report.figures import figure
from lightning_diag.report.gather import gather

BY_NAME = frozenset({"data", "setup", "system"})  # groups for which the report knows no telling signal
FEW = 3  # steps with a value; of fewer there is no curve


@dataclass
class Example:
    """What a rule's example gave to it and got from it.

    Attributes:
        readings: every reading, in order.
        findings: ``(step of the reading, finding)``.
    """

    readings: list[Reading] = field(default_factory=list)
    findings: list[tuple[int, Finding]] = field(default_factory=list)

    @property
    def worst(self) -> tuple[int, Finding]:
        """The first finding of the worst severity."""
        return max(self.findings, key=lambda pair: (pair[1].severity, -pair[0]))


def run_example(cls: type[Detector]) -> Example:
    """Run the code of a rule's docstring with a class in the rule's place that writes down what passes."""
    seen = Example()

    def update(self: Detector, reading: Reading) -> Finding | None:
        seen.readings.append(reading)
        finding = cls.update(self, reading)
        if finding is not None:
            seen.findings.append((reading.step, finding))
        return finding

    def take(self: Detector, reading: Reading) -> None:
        seen.readings.append(reading)
        cls.take(self, reading)

    scope: dict[str, Any] = dict(vars(sys.modules[cls.__module__]))
    scope[cls.__name__] = type(cls.__name__, (cls,), {"update": update, "take": take, "__module__": cls.__module__})
    test = doctest.DocTestParser().get_doctest(inspect.getdoc(cls) or "", scope, cls.rule, None, None)
    if doctest.DocTestRunner(verbose=False).run(test, out=lambda _: None).failed:
        raise RuntimeError(f"the example of {cls.rule} doesn't print what it says")
    return seen


@cache
def picture(cls: type[Detector]) -> str:
    """Return the figure as HTML without blank lines; empty where the example fires nothing."""
    seen = run_example(cls)
    if not seen.findings:
        return ""
    fired, worst = seen.worst
    first = seen.findings[0][0]
    chart = _chart(seen, worst)
    marks = sorted({first: str(seen.findings[0][1].severity), fired: str(worst.severity)}.items())
    if chart is not None and _curves(chart):
        drawn, title = lines(chart, marks), chart.title
    else:
        known = {key: worst.evidence[key] for key in ("value", "limit") if _is_number(worst.evidence.get(key))}
        if "value" not in known or not any(known.values()):
            return ""
        drawn, title = bars({key: float(value) for key, value in known.items()}), "Measured against the limit"
    when = ", ".join(f"{severity} at step {step:,}" for step, severity in marks)
    return f"<figure>{drawn}<figcaption>{escape(f'{title}: {when}. {worst.message}')}</figcaption></figure>"


def _chart(seen: Example, finding: Finding) -> Chart | None:
    got = gather(seen.readings, seen.readings[-1].facts)
    columns = {signal: grid.columns() for signal, grid in got.grids.items()}
    chart = figure(finding, got, columns, {})
    if chart is not None and not chart.limits:
        chart.limits = _limit(finding, chart)
    if chart is not None and not chart.limits and finding.rule.partition("/")[0] in BY_NAME:
        return None  # the likeness of names alone chose the signal
    return chart


def _limit(finding: Finding, chart: Chart) -> list[tuple[float, str]]:
    """The limit where some drawn curve passes through the measured value at any step."""
    value, limit = finding.evidence.get("value"), finding.evidence.get("limit")
    if not isinstance(value, (int, float)) or not isinstance(limit, (int, float)) or not value:
        return []
    curves = [line.values for _, rows in chart.tables for line in rows if line.color >= 0]
    met = any((np.abs(curve - value) <= 1e-6 * abs(value)).any() for curve in curves)
    return [(float(limit), "limit")] if met else []


def _curves(chart: Chart) -> bool:
    """Whether some line has enough steps and isn't flat, or has steps that weren't finite."""
    if chart.bad:
        return True
    for _, rows in chart.tables:
        for line in rows:
            known = line.values[np.isfinite(line.values)]
            if len(known) >= FEW and (np.ptp(known) > 0 or len(known) < len(line.values)):
                return True
    return False


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and bool(np.isfinite(value))
