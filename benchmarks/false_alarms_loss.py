"""False alarms and recall of the loss and fit rules on simulated runs (numpy only, seeded, under a minute).

Run ``python benchmarks/false_alarms_loss.py`` from the repository root: it writes ``results/false_alarms_loss.md``.
Even seeds were used to choose the defaults (``--half tune``), odd seeds are reported (``--half report``).
"""

from __future__ import annotations

import argparse
import datetime
import platform
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.loss_curves import FAULTS, HARD, HEALTHY, Run, decay, fault, run, student  # noqa: E402
from lightning_diag._judge.judge import Judge  # noqa: E402
from lightning_diag.detectors.base import Detector  # noqa: E402
from lightning_diag.detectors.fit_overfitting import FitOverfitting  # noqa: E402
from lightning_diag.detectors.fit_too_good import FitTooGood  # noqa: E402
from lightning_diag.detectors.fit_underfitting import FitUnderfitting  # noqa: E402
from lightning_diag.detectors.loss_bad_start import LossBadStart  # noqa: E402
from lightning_diag.detectors.loss_diverging import LossDiverging  # noqa: E402
from lightning_diag.detectors.loss_non_finite import LossNonFinite  # noqa: E402
from lightning_diag.detectors.loss_not_learning import LossNotLearning  # noqa: E402
from lightning_diag.detectors.loss_oscillating import LossOscillating  # noqa: E402
from lightning_diag.detectors.loss_plateau import LossPlateau  # noqa: E402
from lightning_diag.detectors.loss_spike import LossSpike  # noqa: E402
from lightning_diag.finding import Finding, Severity  # noqa: E402

DETECTORS: tuple[type[Detector], ...] = (
    LossSpike, LossDiverging, LossNonFinite, LossPlateau, LossOscillating, LossNotLearning, LossBadStart,
    FitOverfitting, FitUnderfitting, FitTooGood,
)  # fmt: skip
RUNS = {200: 12, 2_000: 3, 20_000: 1}  # length -> runs a family
FAULT_RUNS = {200: 6, 2_000: 4}
SPIKE_STEPS = 400_000


def watch(
    simulated: Run, detectors: tuple[type[Detector], ...] = DETECTORS, judge: Judge | None = None
) -> list[tuple[int, Finding]]:
    """Return what the judge reported, each with the step at which it was told; resolutions are left out."""
    judge = judge or Judge([d() for d in detectors])
    told: list[tuple[int, Finding]] = []
    for reading in simulated.readings():
        news = judge.update(judge.enrich(reading))
        told += [(reading.step, finding) for finding in news if finding.status != "resolved"]
    return told


def ranked(counts: Counter[str]) -> list[tuple[str, int]]:
    """Most common first, equal ones by name, so that the same run prints the same."""
    return sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))


def generator(family: str, length: int, index: int, half: str) -> np.random.Generator:
    """Even seeds to tune, odd seeds to report."""
    seed = 2 * index + (half == "report")
    return np.random.default_rng([seed, length, *family.encode()])


def healthy(half: str, times: int) -> list[str]:
    """Table: runs with a finding at each severity, a rule; alarms of warning or worse per 10,000 steps."""
    alarms: dict[str, Counter[tuple[int, str]]] = defaultdict(Counter)
    by_family: dict[str, Counter[str]] = defaultdict(Counter)
    total, openings = Counter[int](), Counter[str]()
    for family, make in HEALTHY.items():
        for length, count in RUNS.items():
            for index in range(count * times):
                told = watch(make(length, generator(family, length, index, half)))
                total[length] += 1
                worst: dict[str, Severity] = {}
                for _, finding in told:
                    worst[finding.rule] = max(worst.get(finding.rule, Severity.INFO), finding.severity)
                    openings[finding.rule] += finding.severity >= Severity.WARNING
                for rule, severity in worst.items():
                    alarms[rule][length, str(severity)] += 1
                    by_family[rule][f"{family} ({severity})"] += 1
    steps = sum(length * runs for length, runs in total.items())
    rows = [
        f"{sum(total.values())} healthy runs of {len(HEALTHY)} families, {steps:,} steps. Runs with a finding, info / "
        "warning / critical, by length:",
        "",
        "| rule | " + " | ".join(f"{n:,} steps (n={total[n]})" for n in RUNS) + " | warnings per 10,000 steps |",
        "|---|" + "---|" * (len(RUNS) + 1),
    ]
    for rule in (d.rule for d in DETECTORS):
        cells = [" / ".join(str(alarms[rule][n, s]) for s in ("info", "warning", "critical")) for n in RUNS]
        rows.append(f"| `{rule}` | " + " | ".join(cells) + f" | {1e4 * openings[rule] / steps:.3f} |")
    rows += ["", "Where they come from (runs, all lengths):", ""]
    for rule, families in by_family.items():
        rows.append(f"- `{rule}`: " + ", ".join(f"{name} {n}" for name, n in ranked(families)))
    return rows


def hard(half: str, times: int) -> list[str]:
    """Table: healthy runs that look like a fault; what was said at warning or worse, and what was left at the end."""
    rows = ["| run | length | runs | warned | still open at the end |", "|---|---|---|---|---|"]
    for family, make in HARD.items():
        for length, count in FAULT_RUNS.items():
            warned, left = Counter[str](), Counter[str]()
            for index in range(count * times):
                judge = Judge([d() for d in DETECTORS])
                told = watch(make(length, generator(family, length, index, half)), judge=judge)
                warned.update({f.rule for _, f in told if f.severity >= Severity.WARNING})
                serious = (f for f in judge.findings if f.severity >= Severity.WARNING)
                left.update(f.rule for f in serious if f.status != "resolved")
            cells = [", ".join(f"{r} {c}" for r, c in ranked(counts)) or "-" for counts in (warned, left)]
            rows.append(f"| {family} | {length:,} | {count * times} | " + " | ".join(cells) + " |")
    return rows


def faulty(half: str, times: int) -> list[str]:
    """Table: recall and delay of every fault; and what else of warning or worse was said."""
    rows = [
        "| fault | rule | length | found | severe enough | median delay (steps) | other rules at warning or worse |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, (rule, least) in FAULTS.items():
        for length, count in FAULT_RUNS.items():
            found, enough, delays, others = 0, 0, [], Counter[str]()
            for index in range(count * times):
                simulated = fault(name, length, generator(name, length, index, half))
                told = watch(simulated)
                mine = [(step, f) for step, f in told if f.rule == rule and step >= simulated.onset]
                hits = [step for step, f in mine if f.severity >= Severity.parse(least)]
                found, enough = found + bool(mine), enough + bool(hits)
                delays += [hits[0] - simulated.onset] if hits else []
                others.update({f.rule for _, f in told if f.rule != rule and f.severity >= Severity.WARNING})
            n = count * times
            delay = f"{np.median(delays):.0f}" if delays else "-"
            rest = ", ".join(f"{r} {c}" for r, c in ranked(others)) or "-"
            rows.append(f"| {name} | `{rule}` ({least}) | {length:,} | {found}/{n} | {enough}/{n} | {delay} | {rest} |")
    return rows


def spikes(half: str) -> list[str]:
    """Table: false spikes per 10,000 steps on stationary noise."""
    rows = ["| noise in log-loss | steps | false spikes per 10,000 steps |", "|---|---|---|"]
    for df, sd in ((5, 0.1), (3, 0.1), (3, 0.3)):
        rng = generator(f"spikes {df} {sd}", SPIKE_STEPS, 0, half)
        curve = decay(SPIKE_STEPS, 1.0, 0.01)
        told = watch(run(curve, student(SPIKE_STEPS, rng, sd, df), rng), (LossSpike,))
        steps = {finding.step for _, finding in told}
        rows.append(f"| Student-t, {df} degrees, scale {sd} | {SPIKE_STEPS:,} | {1e4 * len(steps) / SPIKE_STEPS:.3f} |")
    return rows


def main() -> None:
    """Simulate, print, and (for the reported half) write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--half", choices=("tune", "report"), default="report")
    parser.add_argument("--times", type=int, default=1, help="times as many runs")
    arguments = parser.parse_args()
    began = time.perf_counter()
    parts = [
        "# False alarms of the loss and fit rules on simulated runs",
        f"`python benchmarks/false_alarms_loss.py --half {arguments.half} --times {arguments.times}`, "
        f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d}, Python {platform.python_version()}, NumPy "
        f"{np.__version__}. "
        "The curves are simulated (`benchmarks/loss_curves.py`), so the rates hold for what they model: read them "
        "beside "
        "those of real trainings. Even seeds chose the defaults; this table holds the odd ones."
        if arguments.half == "report"
        else "Tuning half.",
        "## Healthy runs",
        *healthy(arguments.half, arguments.times),
        "## Healthy runs that look like a fault (not in the table above)",
        *hard(arguments.half, arguments.times),
        "## Faults",
        *faulty(arguments.half, arguments.times),
        "## Spikes on stationary noise",
        *spikes(arguments.half),
    ]
    text = "\n".join(f"\n{p}\n" if p.startswith("#") else p for p in parts).strip() + "\n"
    print(text)
    print(f"{time.perf_counter() - began:.0f} s", file=sys.stderr)
    if arguments.half == "report":
        (ROOT / "benchmarks" / "results" / "false_alarms_loss.md").write_text(text)


if __name__ == "__main__":
    main()
