"""What the documentation draws: recall against severity, and alarms against healthy steps."""

from __future__ import annotations

from collections.abc import Sequence

from scipy import stats

from benchmarks.zoo.grid import CONTROLS, ladders
from benchmarks.zoo.outcome import Outcome

PER = 10_000  # steps
Point = dict[str, float]


def severity_curves(found: Sequence[Outcome]) -> dict[str, list[Point]]:
    """Per operator one point a severity, from harmless to lethal.

    A point counts runs: ``harmful`` ones, those of them with an expected alarm ever (``hits``) and by its deadline
    (``on_time``); ``benign`` ones, those with any alarm (``benign_alarms``); ``grey`` ones, judged neither way.
    """
    curves: dict[str, list[Point]] = {}
    for operator in sorted({o.config.operator for o in found} - set(CONTROLS)):
        runs = [o for o in found if o.config.operator == operator]
        for name, rungs in ladders(operator, (o.config.severity for o in runs)).items():
            curves[name] = [_point(s, [o for o in runs if o.config.severity == s]) for s in rungs]
    return curves


def _point(severity: float, runs: Sequence[Outcome]) -> Point:
    harmful = [o for o in runs if o.harm.label == "harmful"]
    benign = [o for o in runs if o.harm.label == "benign"]
    return {
        "severity": severity,
        "harmful": len(harmful),
        "hits": sum(o.hit is not None for o in harmful),
        "on_time": sum(o.on_time for o in harmful),
        "benign": len(benign),
        "benign_alarms": sum(bool(o.verdict.alarms) for o in benign),
        "grey": sum(o.harm.label == "grey" for o in runs),
    }


def alarm_rate(found: Sequence[Outcome], rule: str | None = None) -> Point | None:
    """Alarms of a rule in the steps of healthy runs that judged it (of all rules: in all healthy runs); None for none.

    A rule counts once a run, as it is told once. ``rate`` and ``upper``, its 95 % bound, are per 10,000 steps.
    """
    healthy = [o for o in found if o.harm.label == "healthy" and (rule is None or rule in o.verdict.ran)]
    alarms = sum(rule in (None, alarm.rule) for o in healthy for alarm in o.verdict.alarms)
    steps = sum(o.steps for o in healthy)
    if not steps:
        return None
    rate, upper = (round(PER * count / steps, 4) for count in (alarms, poisson_upper(alarms)))
    return {"alarms": alarms, "steps": steps, "rate": rate, "upper": upper}


def poisson_upper(count: int) -> float:
    """Upper end of the exact two-sided 95 % interval of a Poisson mean (Garwood 1936): 3.7 where nothing was seen."""
    return float(stats.chi2.ppf(0.975, 2 * count + 2) / 2)
