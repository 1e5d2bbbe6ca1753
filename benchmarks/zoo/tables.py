"""Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from benchmarks.zoo.curves import alarm_rate, severity_curves
from benchmarks.zoo.detectors import shipped_rules
from benchmarks.zoo.grid import CONTROLS, Config
from benchmarks.zoo.harm import label
from benchmarks.zoo.intervals import share
from benchmarks.zoo.outcome import Outcome


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def percent(share: float) -> str:
    """0.123 -> ``12 %``."""
    return f"{100 * share:.0f} %"


def harm_table(results: Mapping[Config, Mapping[str, Any]]) -> str:
    """One row an operator: the severities with their measured change and label, by task."""
    marks = {"harmful": "**", "grey": "~", "unknown": "?", "benign": "", "healthy": ""}
    cells: dict[str, dict[str, list[str]]] = {}
    for (task, operator, severity), harm in sorted(label(results).items()):
        mark = marks[harm.label]
        text = f"{mark}{severity:g}: {100 * harm.change:+.1f}{mark}"
        cells.setdefault(operator, {}).setdefault(task, []).append(text)
    order = [*CONTROLS, *sorted(o for o in cells if o not in CONTROLS)]
    rows = [
        (operator, "; ".join(f"{task} " + ", ".join(found) for task, found in cells[operator].items()))
        for operator in order
        if operator in cells
    ]
    return table(("operator", "severity: change in points (accuracy) or % (loss); ** harmful, ~ grey, ? unknown"), rows)


def expected(found: Sequence[Outcome], rule: str) -> tuple[int, list[float]]:
    """Harmful runs in which a rule is expected, and its delay where it was said, as shares of the run after onset."""
    wanted = [o for o in found if o.harm.label == "harmful" and rule in o.truth.must]
    said = [(o, a.step - o.onset) for o in wanted for a in o.verdict.alarms if a.rule == rule]
    return len(wanted), [steps / o.steps for o, steps in said if steps > 0]


def rule_table(found: Sequence[Outcome]) -> str:
    """Per rule: alarms on healthy and benign runs, recall where it is expected, alarms where another is."""
    rows = []
    for rule in sorted(shipped_rules() | {a.rule for o in found for a in o.verdict.alarms}):
        fired = [o for o in found if any(a.rule == rule for a in o.verdict.alarms)]
        wanted, delays = expected(found, rule)
        other = [o for o in fired if o.harm.label == "harmful" and rule not in o.truth.must]
        counts = []
        for kind in ("healthy", "benign"):
            runs = [o for o in found if o.harm.label == kind]
            counts.append(share(sum(o in fired for o in runs), len(runs)))
        ran = sum(rule in o.verdict.ran for o in found)
        notes = sum(rule in o.verdict.infos for o in found if o.harm.label == "healthy")
        rate = alarm_rate(found, rule)
        per_steps = f"{rate['rate']:.2f} [{rate['upper']:.2f}]" if rate else "-"
        delay = percent(median(delays)) if delays else "-"
        rows.append((rule, *counts, per_steps, share(len(delays), wanted), delay, len(other), notes,
                     percent(ran / len(found))))  # fmt: skip
    head = ("rule", "healthy", "benign", "alarms per 10,000 healthy steps [at most]", "said where expected",
            "median delay", "on other harmful runs", "notes on healthy", "runs judged")  # fmt: skip
    return table(head, rows)


def operator_table(found: Sequence[Outcome]) -> str:
    """Per operator, harmful groups only."""
    rows = []
    for operator in sorted({o.config.operator for o in found}):
        runs = [o for o in found if o.config.operator == operator and o.harm.label == "harmful"]
        if not runs:
            continue
        delays = [o.delay for o in runs if o.delay is not None]
        placed = [o.place for o in runs if o.place is not None]
        causes = Counter(o.verdict.cause or "none" for o in runs).most_common(2)
        rows.append((
            operator if any(set(o.verdict.ran) & set(o.truth.must) for o in runs) else f"{operator} (not judged)",
            share(sum(o.on_time for o in runs), len(runs)),
            sum(o.hit is not None for o in runs), sum(o.first_alarm is not None for o in runs),
            percent(median(delays)) if delays else "-", f"{sum(o.cause for o in runs)}",
            ", ".join(f"{name} {n}" for name, n in causes), f"{sum(placed)}/{len(placed)}" if placed else "-",
            f"{sum(len(o.unrelated) for o in runs) / len(runs):.1f}",
        ))  # fmt: skip
    head = ("operator", "expected alarm on time", "ever", "any alarm", "median delay", "cause right", "causes said",
            "place", "unrelated a run")  # fmt: skip
    return table(head, rows)


def severity_table(found: Sequence[Outcome]) -> str:
    """Recall against severity, per operator: from harmless to lethal as far as the grid goes."""
    rows = []
    for operator, points in severity_curves(found).items():
        cells = []
        for p in points:
            text = f"{p['severity']:g}: {p['hits']}/{p['harmful']}"
            cells.append(text + (f" ({p['benign_alarms']}/{p['benign']} of the benign)" if p["benign"] else ""))
        rows.append((operator, "; ".join(cells)))
    return table(("operator", "severity: harmful runs with an expected alarm (alarms on benign ones)"), rows)


def quiet_table(found: Sequence[Outcome]) -> str:
    """Which healthy and benign groups were not left in peace, and by which rules."""
    rows = []
    quiet = [o for o in found if o.harm.label in ("healthy", "benign")]
    for group in sorted({o.config.group for o in quiet}):
        runs = [o for o in quiet if o.config.group == group]
        said = Counter(f"{a.rule}{'!' if a.severity == 2 else ''}" for o in runs for a in o.verdict.alarms)
        if said:
            rules = ", ".join(f"{rule} {n}" for rule, n in said.most_common())
            rows.append((*group, runs[0].harm.label, f"{100 * runs[0].harm.change:+.1f}", len(runs), rules))
    return table(("task", "operator", "severity", "label", "change", "runs", "rules (! critical)"), rows)


def detail_lines(found: Sequence[Outcome]) -> list[str]:
    """One line a harmful run that was missed or misnamed, and one an alarm on a quiet run."""
    lines = []
    for o in sorted(found, key=lambda o: o.config):
        said = ", ".join(f"{a.rule}@{a.step}" for a in o.verdict.alarms) or "nothing"
        if o.harm.label == "harmful" and not (o.on_time and o.cause):
            state = "on time" if o.on_time else "late" if o.hit else "missed"
            loss = f"{100 * o.harm.change:+.0f}"
            lines.append(f"- {o.config.name} ({loss}): {state}, cause {o.verdict.cause or '-'}; {said}")
        elif o.harm.label in ("healthy", "benign") and o.verdict.alarms:
            start = f"- {o.config.name} ({o.harm.label}): "
            lines += [f"{start}{a.rule}@{a.step} {a.where[:2]} {a.message}" for a in o.verdict.alarms]
    return lines
