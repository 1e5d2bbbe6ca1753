"""What the rules over data say of trainings with one planted fault each, and of their healthy twins.

``python -m benchmarks.data_rules > benchmarks/results/data_rules.md`` (about 5 minutes on one core).

Limits were chosen on seeds 0 to 3; seeds 10 and 11 are reported.
"""

from __future__ import annotations

import argparse
import logging
import platform
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch

from benchmarks import data_cost
from benchmarks.data_cases import FAULTS, TWINS, build
from benchmarks.data_trainings import Outcome, trained
from lightning_diag import Severity

TUNING, REPORT = (0, 1, 2), (10, 11)
SETUPS = (("digits", "mlp"), ("digits", "norm-first"), ("images", "cnn"), ("table", "wide"), ("cancer", "mlp"))
EPOCHS, NOISE_EPOCHS, TWIN_EPOCHS = 3, 12, 8


class Run(NamedTuple):
    """One training: what was planted, where, and what was said of it."""

    name: str
    data: str
    net: str
    seed: int
    place: str
    wrong: set[int]
    outcome: Outcome


def run_all(seeds: tuple[int, ...], names: list[str], root: Path, every: Literal[1, "auto"]) -> Iterator[Run]:
    """Train every case on every data set with every seed."""
    for name in names:
        epochs = NOISE_EPOCHS if "noise" in name else TWIN_EPOCHS if name in TWINS else EPOCHS
        for data, net in SETUPS:
            for seed in seeds:
                print(name, data, net, seed, file=sys.stderr)
                case = build(name, data, seed)
                yield Run(
                    name,
                    data,
                    net,
                    seed,
                    case.place,
                    case.wrong,
                    trained(case, net, epochs, seed, root, every_n_steps=every),
                )


def excused(run: Run) -> bool:
    """Whether the rule is meant to be silent: a normalizing first layer excuses scale and offset."""
    return run.name.startswith("0 to 255") and run.net == "norm-first"


def recall(runs: list[Run]) -> Iterator[str]:
    """One row a fault."""
    yield "| planted | rule | found | in the first epoch (noise: by half time) | right place | severity | missed |"
    yield "|---|---|---|---|---|---|---|"
    for name, (rule, _) in FAULTS.items():
        own = [run for run in runs if run.name == name and not excused(run)]
        if not own:
            continue
        found = [(run, f) for run in own for f in run.outcome.findings if f.rule == rule]
        last = NOISE_EPOCHS // 2 - 1 if "noise" in name else 0
        early = sum(run.outcome.epochs[rule] <= last for run, _ in found)
        right = sum(any(w.startswith(run.place) for w in f.where) for run, f in found) if own[0].place else None
        said = Counter(str(f.severity) for _, f in found)
        hit = {id(run) for run, _ in found}
        missed = Counter(f"{run.data} {run.net}" for run in own if id(run) not in hit)
        yield (
            f"| {name} | `{rule}` | {len(found)} of {len(own)} | {early} | {'-' if right is None else right} | "
            f"{', '.join(f'{n} {s}' for s, n in said.items())} | {', '.join(f'{s} ({n})' for s, n in missed.items())} |"
        )


def false_alarms(runs: list[Run]) -> Iterator[str]:
    """What was said of healthy runs, and beside the planted fault."""
    healthy = [run for run in runs if run.name in TWINS or excused(run)]
    yield f"Of {len(healthy)} healthy trainings (a few of each twin, and scale and offset before a normalization):\n"
    yield "| twin | trainings | warnings or worse | notes |\n|---|---|---|---|"
    for name in dict.fromkeys(run.name for run in healthy):
        own = [run for run in healthy if run.name == name]
        found = [(run, f) for run in own for f in run.outcome.findings if f.rule.startswith("data/")]
        loud = Counter(f"`{f.rule}` {run.data} {run.net}" for run, f in found if f.severity >= Severity.WARNING)
        soft = Counter(f"`{f.rule}` {run.data} {run.net}" for run, f in found if f.severity < Severity.WARNING)
        told = ["; ".join(f"{k} ({n})" for k, n in c.items()) or "none" for c in (loud, soft)]
        yield f"| {name} | {len(own)} | {told[0]} | {told[1]} |"
    yield "\nSaid beside the planted fault (right or wrong, most follow from it):\n"
    yield "| planted | rules of `data/` beside its own |\n|---|---|"
    for name, (rule, _) in FAULTS.items():
        own = [run for run in runs if run.name == name and not excused(run)]
        if not own:
            continue
        beside = Counter(
            f"`{f.rule}` {f.severity}"
            for run in own for f in run.outcome.findings if f.rule not in (rule,) and f.rule.startswith("data/")
        )  # fmt: skip
        yield f"| {name} | {', '.join(f'{k} ({n} of {len(own)})' for k, n in beside.items()) or '-'} |"


def precision(runs: list[Run]) -> Iterator[str]:
    """Share of the 50 most suspicious samples at half time whose label is really wrong."""
    yield "| data, net | wrong labels planted | suspects listed (at most 50) | of these wrong | by chance |"
    yield "|---|---|---|---|---|"
    for name in FAULTS:
        for data, net in SETUPS:
            own = [r for r in runs if r.name == name and (r.data, r.net) == (data, net) and r.wrong]
            if own:
                listed = [len(r.outcome.suspects) for r in own]
                hits = [sum(k in r.wrong for k in r.outcome.suspects) for r in own]
                shares = [f"{h / max(1, n):.0%}" for h, n in zip(hits, listed, strict=True)]
                wrong = int(np.mean([len(r.wrong) for r in own]))
                yield f"| {data}, {net} | {wrong} | {', '.join(map(str, listed))} | {', '.join(shares)} | {name[12:]} |"


def report(seeds: tuple[int, ...], names: list[str], *, budget: bool, cost: bool) -> Iterator[str]:
    """The whole page, line by line."""
    start = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        runs = list(run_all(seeds, names, Path(folder), "auto" if budget else 1))
    spent = time.process_time() - start
    yield "# Rules over data on small trainings with planted faults\n"
    made = f"{datetime.now(timezone.utc):%Y-%m-%d}, Python {platform.python_version()}, torch {torch.__version__}, "
    made += f"NumPy {np.__version__}, one thread, {spent:.0f} s of CPU for {len(runs)} trainings. "
    made += f"Seeds {', '.join(map(str, seeds))}; limits were chosen on seeds {', '.join(map(str, TUNING))}. "
    yield made + "Made by `python -m benchmarks.data_rules`.\n"
    yield "Data: scikit-learn's digits as 64 columns and as images of three channels, a synthetic table of four classes"
    yield "that overlap, the breast-cancer table. `DataMonitor` alone, batches of 32.\n"
    yield "## Found\n"
    yield from recall(runs)
    yield "\n## False alarms\n"
    yield from false_alarms(runs)
    yield "\n## Suspicious labels at half time\n"
    yield from precision(runs)
    if cost:
        yield from data_cost.report()


def main() -> None:
    """Print the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tuning", action="store_true", help="the seeds that limits were chosen on")
    parser.add_argument("--only", help="names of cases, by semicolons")
    parser.add_argument("--budget", action="store_true", help="sample as the budget allows, not every step")
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", module="lightning")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    names = given.only.split(";") if given.only else [*FAULTS, *TWINS]
    for line in report(TUNING if given.tuning else REPORT, names, budget=given.budget, cost=not given.only):
        print(line, flush=True)


if __name__ == "__main__":
    main()
