"""What the gradient and update rules say of small real trainings, healthy and faulty, and whether they are right.

``python -m benchmarks.gradient_rules > benchmarks/results/gradient_rules.md`` (about 3 minutes on one core).

Seeds 0 to 2 were looked at while limits were chosen, 3 to 5 once in between (``--tuning`` prints 0 to 2); seeds 6 to 8
are reported. Harm is measured: mean loss of held-out accuracy against the healthy twin of the same seed.
"""

from __future__ import annotations

import argparse
import dataclasses
import platform
import time
from collections.abc import Iterable
from datetime import datetime, timezone

import numpy as np
import torch

from benchmarks.gradient_gan import train_gan
from benchmarks.gradient_trainings import train
from benchmarks.gradient_zoo import CASES, GAN, Case
from lightning_diag._judge.judge import Judge
from lightning_diag.detectors.gradient_always_clipped import GradientAlwaysClipped
from lightning_diag.detectors.gradient_exploding import GradientExploding
from lightning_diag.detectors.gradient_non_finite import GradientNonFinite
from lightning_diag.detectors.gradient_unreached import GradientUnreached
from lightning_diag.detectors.gradient_vanishing import GradientVanishing
from lightning_diag.detectors.update_frozen import UpdateFrozen
from lightning_diag.detectors.update_too_large import UpdateTooLarge
from lightning_diag.detectors.update_too_small import UpdateTooSmall
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading

TUNING, REPORT = (0, 1, 2), (6, 7, 8)
HARM, NO_HARM = 0.05, 0.02  # mean loss of accuracy from which a fault is harmful, up to which it is benign
RULES = (GradientVanishing, GradientExploding, GradientNonFinite, GradientUnreached, GradientAlwaysClipped,
         UpdateTooLarge, UpdateTooSmall, UpdateFrozen)  # fmt: skip
Runs = dict[tuple[str, int], tuple[list[Reading], float]]
Worst = dict[str, Finding]


def run_all(cases: Iterable[Case], seeds: Iterable[int]) -> Runs:
    """Train every case with every seed."""
    return {
        (case.name, seed): train_gan(seed) if case.setup is GAN else train(case.setup, seed)
        for case in cases
        for seed in seeds
    }


def judge(readings: Iterable[Reading], every: int = 1, dense: int = 50, chance: bool = True) -> Worst:
    """Return rule -> its worst finding; ``every`` and ``dense`` thin the samples, ``chance=False`` hides chance."""
    judge, worst = Judge([rule() for rule in RULES]), Worst()
    facts = None
    for reading in readings:
        facts = facts or dataclasses.replace(reading.facts, chance_loss=reading.facts.chance_loss if chance else None)
        values = dict(reading.values)
        if reading.step > dense and reading.step % every:
            values = {name: value for name, value in values.items() if name.startswith("loss/")}
        for finding in judge.update(judge.enrich(dataclasses.replace(reading, values=values, facts=facts))):
            known = worst.get(finding.rule)
            if finding.status != "resolved" and (known is None or finding.severity > known.severity):
                worst[finding.rule] = finding
    return worst


def harm(case: Case, runs: Runs, seeds: Iterable[int]) -> float:
    """Mean loss of the score against the healthy twin; 0 for a healthy case."""
    return float(np.mean([runs[case.twin, s][1] - runs[case.name, s][1] for s in seeds])) if case.twin else 0.0


def kind(case: Case, loss: float) -> str:
    """``healthy``, ``benign``, ``grey`` or ``harmful``, by measured harm."""
    if not case.twin:
        return "healthy"
    return "harmful" if loss >= HARM else "benign" if loss <= NO_HARM else "grey"


def told(worst: list[Worst]) -> str:
    """What fired, worst severity and the steps of the seeds: ``updates/too-large critical 105, 105, 110``."""
    found: dict[str, list[Finding]] = {}
    for seed in worst:
        for rule, finding in seed.items():
            found.setdefault(rule, []).append(finding)
    cells = []
    for rule, findings in sorted(found.items(), key=lambda item: -max(f.severity for f in item[1])):
        steps = ", ".join(f"{f.step}{'' if f.severity == Severity.WARNING else f' {f.severity}'}" for f in findings)
        cells.append(f"`{rule}` {steps}")
    return "; ".join(cells) or "-"


def alarmed(worst: Worst) -> bool:
    """Whether anything of warning or worse was said."""
    return any(f.severity >= Severity.WARNING for f in worst.values())


def share(cases: list[Case], verdicts: dict[str, list[Worst]]) -> str:
    """``12 of 150`` runs with a warning."""
    runs = [w for case in cases for w in verdicts[case.name]]
    return f"{sum(map(alarmed, runs))} of {len(runs)}"


def summary(groups: dict[str, list[Case]], runs: Runs, seeds: tuple[int, ...]) -> Iterable[str]:
    """Runs with a warning or worse, by kind of run, for three ways to look at the same trainings."""
    ways = {
        "every step to 50, then every 5th": {},
        "every step to 25, then every 50th": {"every": 50, "dense": 25},
        "chance level not known": {"chance": False},
    }
    yield "| sampled | " + " | ".join(f"{name} ({len(cases)} cases)" for name, cases in groups.items()) + " |"
    yield "|---|" + "---|" * len(groups)
    for way, options in ways.items():
        verdicts = {
            case.name: [judge(runs[case.name, s][0], **options) for s in seeds]  # type: ignore[arg-type]
            for cases in groups.values()
            for case in cases
        }
        yield f"| {way} | " + " | ".join(share(cases, verdicts) for cases in groups.values()) + " |"


def report(seeds: tuple[int, ...]) -> Iterable[str]:
    """The whole page, line by line."""
    start = time.process_time()
    runs = run_all(CASES, seeds)
    spent = time.process_time() - start
    losses = {case.name: harm(case, runs, seeds) for case in CASES}
    groups: dict[str, list[Case]] = {"healthy": [], "benign": [], "grey": [], "harmful": []}
    for case in CASES:
        groups[kind(case, losses[case.name])].append(case)
    yield "# Gradient and update rules on small real trainings\n"
    made = f"{datetime.now(timezone.utc):%Y-%m-%d}, Python {platform.python_version()}, torch {torch.__version__}, "
    made += f"NumPy {np.__version__}, one core, {spent:.0f} s of CPU for {len(runs)} trainings. "
    made += f"Seeds {', '.join(map(str, seeds))}; limits were chosen on seeds {', '.join(map(str, TUNING))}. "
    yield made + "Made by `python -m benchmarks.gradient_rules`.\n"
    yield f"Harmful: at least {HARM:.0%} of accuracy lost against the healthy twin of the same seed; benign: at most"
    yield f"{NO_HARM:.0%}; grey: between. Runs with at least one warning or worse:\n"
    yield from summary(groups, runs, seeds)
    for name, cases in groups.items():
        yield f"\n## {name.capitalize()}\n\n| case | score | lost | fired: steps of the seeds (a warning unless said) |"
        yield "|---|---|---|---|"
        for case in cases:
            score = np.mean([runs[case.name, s][1] for s in seeds])
            fired = told([judge(runs[case.name, s][0]) for s in seeds])
            yield f"| {case.name} | {score:.3f} | {losses[case.name]:.3f} | {fired} |"


def main() -> None:
    """Print the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tuning", action="store_true", help="the seeds that limits were chosen on")
    torch.set_num_threads(1)
    for line in report(TUNING if parser.parse_args().tuning else REPORT):
        print(line)


if __name__ == "__main__":
    main()
