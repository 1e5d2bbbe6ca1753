"""What the activation rules say of small real trainings, healthy, odd and faulty, and whether they are right.

``python -m benchmarks.activation_rules`` writes ``benchmarks/results/activation_rules.md`` (3 minutes on one core).

Seeds 0 and 1 were looked at while limits were chosen (``--tuning`` prints them); seeds 10 and 11 are reported. Harm is
measured: mean loss of held-out accuracy (R^2 for the autoencoder) against the healthy twin of the same seed.
"""

from __future__ import annotations

import argparse
import platform
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import torch

from benchmarks.activation_trainings import Setup, train
from benchmarks.activation_zoo import FAULTS, HEALTHY, ODD, Fault
from lightning_diag._judge.judge import Judge
from lightning_diag.detectors.activation_attention_collapsed import ActivationAttentionCollapsed
from lightning_diag.detectors.activation_collapsed import ActivationCollapsed
from lightning_diag.detectors.activation_dead import ActivationDead
from lightning_diag.detectors.activation_non_finite import ActivationNonFinite
from lightning_diag.detectors.activation_saturated import ActivationSaturated
from lightning_diag.detectors.base import Detector
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading

TUNING, REPORT = (0, 1), (10, 11)
HARM = 0.05  # mean loss of score from which a fault is harmful
RULES: tuple[type[Detector], ...] = (
    ActivationDead, ActivationSaturated, ActivationNonFinite, ActivationCollapsed, ActivationAttentionCollapsed,
)  # fmt: skip
EXTREMES = (
    ("activation/dead_frac", "max", "largest share of dead units"),
    ("activation/saturated_frac", "max", "largest share of flat values (all functions)"),
    ("activation/saturated_units_frac", "max", "largest share of saturated units"),
    ("activation/variation", "last", "smallest variation of the last module"),
    ("activation/attention_entropy", "min", "smallest attention entropy (median head)"),
    ("activation/attention_max_logit", "max", "largest attention logit"),
)


@dataclass
class Outcome:
    """One run as judged: score, findings, first step of each rule and severity, extremes of the signals."""

    score: float
    findings: dict[str, Finding]
    at: dict[tuple[str, Severity], int]
    extremes: dict[str, float]

    @property
    def worst(self) -> Severity | None:
        """Worst severity of any finding."""
        return max((f.severity for f in self.findings.values()), default=None)


def outcome(setup: Setup, seed: int) -> Outcome:
    """Train, judge, and forget the readings."""
    readings, score = train(setup, seed)
    judge, enriched = Judge([rule() for rule in RULES]), []
    at: dict[tuple[str, Severity], int] = {}
    for reading in map(judge.enrich, readings):
        enriched.append(reading)
        for finding in judge.update(reading):
            at.setdefault((finding.rule, finding.severity), reading.step)
    return Outcome(score, {f.rule: f for f in judge.findings}, at, _extremes(enriched))


def _extremes(readings: Sequence[Reading]) -> dict[str, float]:
    found = {}
    for signal, kind, _ in EXTREMES:
        rows = [r for r in readings if signal in r and r.step > 10]
        values = np.array([r.vector(signal) for r in rows])
        if kind == "last" and len(rows):
            last = [int(np.nanargmax(np.asarray(r.vector("activation/call_order")))) for r in rows]
            values = values[np.arange(len(rows)), last]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            found[signal] = float(np.nanmax(values) if kind == "max" else np.nanmin(values)) if values.size else np.nan
    return found


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(str(cell) for cell in line) + " |" for line in lines] + [""]


def _steps(outcomes: Sequence[Outcome], rule: str, severity: Severity) -> str:
    steps = [at for o in outcomes if (at := min((s for (r, v), s in o.at.items() if r == rule and v >= severity),
                                                default=None)) is not None]  # fmt: skip
    return f"{int(np.median(steps))}" if steps else "-"


def _fault_row(name: str, fault: Fault, outcomes: Sequence[Outcome], twins: Sequence[Outcome]) -> list[object]:
    harm = float(np.mean([t.score - o.score for o, t in zip(outcomes, twins, strict=True)]))
    found = [o.findings.get(fault.rule) for o in outcomes]
    warned = sum(f is not None and f.severity >= Severity.WARNING for f in found)
    placed = sum(f is not None and bool(f.where) and f.where[0] in fault.where for f in found)
    also = sorted({r.split("/")[1] for o in outcomes for r, f in o.findings.items() if r != fault.rule and f.severity})
    n = len(outcomes)
    return [
        name, fault.rule.split("/")[1], f"{100 * harm:.0f}", f"{sum(f is not None for f in found)}/{n}",
        f"{warned}/{n}", f"{placed}/{n}", _steps(outcomes, fault.rule, Severity.INFO),
        _steps(outcomes, fault.rule, Severity.WARNING), ", ".join(also) or "-",
    ]  # fmt: skip


def report(seeds: Sequence[int]) -> list[str]:
    """Train everything and return the page."""
    start = time.process_time()
    healthy = {n: [outcome(s, seed) for seed in seeds] for n, s in HEALTHY.items()}
    odd = {n: [outcome(s, seed) for seed in seeds] for n, s in ODD.items()}
    faults = {n: [outcome(f.setup, seed) for seed in seeds] for n, f in FAULTS.items()}
    twins = {n: healthy.get(f.setup.net, healthy["sigmoid"]) for n, f in FAULTS.items()}
    rows = [_fault_row(n, f, faults[n], twins[n]) for n, f in FAULTS.items()]
    return [
        "# Activation rules on small real trainings", "",
        f"{datetime.now(timezone.utc):%Y-%m-%d}, Python {platform.python_version()}, torch {torch.__version__}, NumPy "
        f"{np.__version__}, one CPU thread. Seeds {', '.join(map(str, seeds))}; limits were chosen on seeds "
        f"{', '.join(map(str, TUNING))} of the same cases, so networks and faults are not new to them. Every second "
        "step sampled. `python -m benchmarks.activation_rules` makes this page.", "",
        "## Summary", "", *_summary(healthy, odd, faults, twins),
        "## Healthy runs that were told something", "", *_told(healthy),
        "## Odd but (mostly) harmless runs", "",
        "The mechanism is there or nearly; what counts is that nothing is a warning where no harm is done.", "",
        *table(["run", "points lost", "findings"], _odd_rows(odd, healthy)),
        "## Planted faults", "",
        "Points lost: held-out score against the healthy twin. Found: the expected rule at any severity; warned: as "
        "warning or critical; placed: the right module leads. Steps: median, of a few hundred.", "",
        *table(["fault", "rule", "points lost", "found", "warned", "placed", "step found", "step warned", "warned too"],
               rows),
        "## Range over healthy runs (after step 10)", "",
        *table(["signal", "extreme", "run"], _ranges(healthy)),
        f"Took {time.process_time() - start:.0f} s of processor time.", "",
    ]  # fmt: skip


Outcomes = Mapping[str, Sequence[Outcome]]


def _summary(healthy: Outcomes, odd: Outcomes, faults: Outcomes, twins: Outcomes) -> list[str]:
    runs = [o for several in healthy.values() for o in several]
    harmless = [n for n, several in odd.items() if _lost(several, healthy[_net(n)]) < HARM]
    quiet = [o for n in harmless for o in odd[n]]
    lines = []
    for rule in RULES:
        mine = [(n, f) for n, f in FAULTS.items() if f.rule == rule.rule]
        harmful = [(n, f) for n, f in mine if _lost(faults[n], twins[n]) >= HARM]
        judged = [(o.findings.get(rule.rule), f) for n, f in harmful for o in faults[n]]
        warned = sum(f is not None and f.severity >= Severity.WARNING for f, _ in judged)
        found = sum(f is not None for f, _ in judged)
        placed = sum(f is not None and f.where[0] in fault.where for f, fault in judged)
        false = sum(rule.rule in o.findings and o.findings[rule.rule].severity >= Severity.WARNING for o in runs)
        notes = sum(rule.rule in o.findings for o in runs)
        odd_false = sum(rule.rule in o.findings and o.findings[rule.rule].severity >= Severity.WARNING for o in quiet)
        lines.append([
            f"`{rule.rule}`", f"{false}/{len(runs)}", f"{notes}/{len(runs)}", f"{odd_false}/{len(quiet)}",
            f"{found}/{len(judged)}", f"{warned}/{len(judged)}", f"{placed}/{len(judged)}",
        ])  # fmt: skip
    head = ["rule", "warnings on healthy runs", "any finding on healthy runs", "warnings on harmless oddities",
            "found on harmful faults", "warned", "right module first"]  # fmt: skip
    bound = f"No alarm in {len(runs)} runs bounds the true rate below {3 / len(runs):.0%} (rule of three), were they "
    return [*table(head, lines), f"{bound}independent. Harmful: {100 * HARM:.0f} points or more.", ""]


def _net(name: str) -> str:
    """The healthy twin of an odd run: its name begins with it."""
    return max((n for n in HEALTHY if name.startswith(n)), key=len)


def _lost(several: Sequence[Outcome], twins: Sequence[Outcome]) -> float:
    return float(np.mean([t.score - o.score for o, t in zip(several, twins, strict=True)]))


def _told(healthy: Outcomes) -> list[str]:
    rows = [[n, f.rule, f.severity, f.message] for n, s in healthy.items() for o in s for f in o.findings.values()]
    return table(["run", "rule", "severity", "message"], rows) if rows else ["None.", ""]


def _odd_rows(odd: Outcomes, healthy: Outcomes) -> list[list[object]]:
    rows: list[list[object]] = []
    for name, several in odd.items():
        said = sorted({f"{f.rule.split('/')[1]} ({f.severity})" for o in several for f in o.findings.values()})
        rows.append([name, f"{100 * _lost(several, healthy[_net(name)]):.0f}", ", ".join(said) or "-"])
    return rows


def _ranges(healthy: Outcomes) -> list[list[object]]:
    rows: list[list[object]] = []
    for signal, kind, words in EXTREMES:
        values = [(o.extremes[signal], n) for n, s in healthy.items() for o in s if np.isfinite(o.extremes[signal])]
        value, name = max(values) if kind == "max" else min(values)
        rows.append([f"`{signal}`, {words}", f"{value:.2g}", name])
    return rows


def main() -> None:
    """Write the page, or print that of the tuning seeds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tuning", action="store_true", help="print the seeds that were looked at")
    torch.set_num_threads(1)
    if parser.parse_args().tuning:
        print("\n".join(report(TUNING)))
        return
    page = Path(__file__).parent / "results" / "activation_rules.md"
    page.parent.mkdir(exist_ok=True)
    page.write_text("\n".join(report(REPORT)), encoding="utf-8")
    print(f"wrote {page.name}")


if __name__ == "__main__":
    main()
