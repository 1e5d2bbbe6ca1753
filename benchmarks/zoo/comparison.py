"""Ours and the peers on the same runs: alarms on healthy, benign and harmful ones, overall and by class of fault."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from benchmarks.zoo.intervals import share
from benchmarks.zoo.outcome import Outcome
from benchmarks.zoo.peers import PEERS, first_alarms, trainproof
from benchmarks.zoo.tables import table

OURS, TRAINPROOF = "lightning_diag", "trainproof"
FAULTS: dict[str, tuple[str, ...]] = {
    "learning rate": ("lr-up", "lr-down", "sgd-lr-up", "sgd-lr-down", "adam-eps", "clip-sgd", "batch-size"),
    "spikes": ("lr-spike", "lr-burst", "bad-batch", "nan-input"),
    "initialization": ("init-up", "init-down", "head-gain", "constant-init", "tanh-init", "qk-gain"),
    "units, depth": ("hidden-bias", "sigmoid-depth"),
    "disconnected": ("not-in-optimizer", "detached", "stop-training-layer"),
    "labels, classes": ("label-noise", "random-labels", "labels-to-zero", "class-imbalance", "class-drift"),
    "inputs, order": ("input-scale", "input-offset", "no-shuffle", "giveaway", "leakage"),
    "domains": ("synthetic-contrast", "synthetic-noise", "synthetic-shift"),
    "loss, loop": ("sign-flip", "double-softmax", "no-zero-grad"),
    "fit": ("weight-decay", "dropout", "small-train-set"),
    "precision": ("fp16-grads", "bf16-pure"),
    "GAN": ("d-lr-down", "g-lr-up", "d-steps"),
}

HEAD = ("tool", "alarm on healthy runs", "on benign faults", "on harmful faults", "Youden's J")
Said = Mapping[str, list[bool]]  # tool -> whether it alarmed, a run


def said(found: Sequence[Outcome], records: Sequence[Path], jobs: int = 2, program: Path | None = None) -> Said:
    """Which runs each tool alarmed on, from their records; ``program`` is trainproof's command."""
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        steps = list(pool.map(first_alarms, records, chunksize=16))
        proofs = [] if program is None else list(pool.map(partial(trainproof, program=program), records, chunksize=16))
    tools = {OURS: [bool(o.verdict.alarms) for o in found]}
    tools |= {peer: [run[peer] is not None for run in steps] for peer in PEERS}
    return tools | ({TRAINPROOF: proofs} if proofs else {})


def by_label(runs: Iterable[tuple[str, bool]]) -> tuple[str, ...]:
    """Shares of healthy, benign and harmful runs with an alarm, and Youden's J, from each run's label and alarm."""
    hits: dict[str, list[bool]] = {"healthy": [], "benign": [], "harmful": []}
    for label, hit in runs:
        if label in hits:
            hits[label].append(hit)
    rates = {kind: sum(of) / max(1, len(of)) for kind, of in hits.items()}
    return *(share(sum(of), len(of)) for of in hits.values()), f"{rates['harmful'] - rates['healthy']:+.2f}"


def comparison(found: Sequence[Outcome], tools: Said) -> str:
    """Both tables: all runs with Youden's J, and harmful runs by class of fault."""
    rows = []
    for tool, alarmed in tools.items():
        rows.append((tool, *by_label((o.harm.label, hit) for o, hit in zip(found, alarmed, strict=True))))
    classes = []
    for name, operators in FAULTS.items():
        runs = [i for i, o in enumerate(found) if o.harm.label == "harmful" and o.config.operator in operators]
        if runs:
            classes.append((name, len(runs), *(f"{sum(tools[t][i] for i in runs)}" for t in tools)))
    return "\n\n".join((
        table(HEAD, rows),
        table(("harmful runs with any alarm, by fault", "runs", *tools), classes),
    ))  # fmt: skip
