"""Published rules of other tools at their published defaults, over the same records: when each would first have fired.

Written from documentation and source as cited; what a record holds in another form is said beside the rule. None of
them names a cause or a severity, so any firing is an alarm. trainproof (PyPI) is run itself, on the log of the run.
"""

from __future__ import annotations

import json
import math
import subprocess
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import fmean

import numpy as np

from lightning_diag.reading import Reading
from lightning_diag.record import load

Rule = Callable[[Sequence[Reading]], int | None]  # readings of a run -> step of the first firing


def losses(readings: Iterable[Reading]) -> list[tuple[int, float]]:
    """Step and training loss of every step."""
    return [(r.step, float(r.values["loss/train"])) for r in readings if "loss/train" in r.values]


def _validated(readings: Sequence[Reading], name: str) -> list[tuple[int, float]]:
    return [(r.step, float(r.values[name])) for r in readings if r.stage == "validation" and name in r.values]


def _first(steps: Iterable[int | None]) -> int | None:
    return min((s for s in steps if s is not None), default=None)


# ---------------------------------------------------------------- Amazon SageMaker Debugger: list of built-in rules


def loss_not_decreasing(readings: Sequence[Reading], steps: int = 10, percent: float = 0.1) -> int | None:
    """LossNotDecreasing: the loss fell by less than 0.1 % over 10 steps, or rose by more than 5 % in one interval."""
    course = losses(readings)
    for (_, before), (step, now) in zip(course, course[steps:], strict=False):
        if math.isfinite(before) and before and 100 * (before - now) / abs(before) < percent:
            return step
    return None


def sagemaker_overfit(readings: Sequence[Reading], ratio: float = 0.1) -> int | None:
    """Overfit: (mean validation loss - mean training loss) / mean training loss above 0.1 at one validation pass."""
    course = losses(readings)
    last = 0
    for step, val in _validated(readings, "loss/val"):
        window = [loss for at, loss in course if last < at <= step]
        last = step
        if window and (train := fmean(window)) > 0 and (val - train) / train > ratio:
            return step
    return None


def sagemaker_gradients(readings: Sequence[Reading]) -> int | None:
    """VanishingGradient (mean |g| < 1e-7) and ExplodingTensor (NaN, inf); the mean is taken as 0.8 RMS."""
    for r in readings:
        norms, numel = r.vector("grad/parameter_norm"), np.array(r.facts.parameter_numel, float)
        if norms is None or len(norms) != len(numel):
            continue
        if not np.isfinite(norms).all() or (0.8 * norms / np.sqrt(numel) < 1e-7).any():
            return r.step
    return None


def sagemaker_updates(readings: Sequence[Reading]) -> int | None:
    """WeightUpdateRatio: update over weight above 10 or below 1e-8."""
    for r in readings:
        ratio = r.vector("update/parameter_ratio")
        if ratio is not None and (ratio[np.isfinite(ratio)] > 10).any() | (ratio[np.isfinite(ratio)] < 1e-8).any():
            return r.step
    return None


def sagemaker_units(readings: Sequence[Reading]) -> int | None:
    """DeadRelu and SaturatedActivation: more than half of a layer's units never active, or of its values saturated."""
    for r in readings:
        for name in ("activation/dead_frac", "activation/saturated_frac"):
            share = r.vector(name)
            if share is not None and (share[np.isfinite(share)] > 0.5).any():
                return r.step
    return None


def sagemaker_classes(readings: Sequence[Reading]) -> int | None:
    """ClassImbalance: one class 10 times as frequent as another, or an error of a class above 0.7 (500 labels seen)."""
    for r in readings:
        support, right = r.vector("class/support"), r.vector("class/right")
        if support is None or right is None or support.sum() < 500:
            continue
        if support.max() > 10 * support.min() or (1 - right / np.maximum(support, 1) > 0.7).any():
            return r.step
    return None


SAGEMAKER: tuple[Rule, ...] = (
    loss_not_decreasing, sagemaker_overfit, sagemaker_gradients, sagemaker_updates, sagemaker_units, sagemaker_classes,
)  # fmt: skip

# ---------------------------------------------------------------- AUTOTRAINER (Zhang et al., ICSE 2021), monitor.py


def autotrainer(readings: Sequence[Reading]) -> int | None:
    """Vanish, explode, dying ReLU, oscillation, slow convergence, NaN loss; an "epoch" is one validation pass.

    Most rules look only after 30 % of the epochs, and only while the best accuracy is below 0.7.
    """
    accuracy = _validated(readings, "accuracy/val")
    course = losses(readings)
    bad = _first(step for step, loss in course if not math.isfinite(loss) or loss >= 1e3)
    if not accuracy:
        return bad
    start = accuracy[math.ceil(0.3 * len(accuracy)) - 1][0]
    low = {step: max(a for at, a in accuracy if at <= step) < 0.7 for step, _ in accuracy}

    def poor(step: int) -> bool:
        known = [at for at in low if at <= step]
        return step >= start and (not known or low[max(known)])

    found = [bad]
    for r in readings:
        norms, kinds = r.vector("grad/parameter_norm"), r.facts.parameter_kind
        if norms is None or len(norms) != len(kinds) or not poor(r.step):
            continue
        kernels = norms[[i for i, kind in enumerate(kinds) if kind == "matrix"]]
        if len(kernels) > 1 and kernels[-1] > 0:
            ratio = kernels[0] / kernels[-1]
            if (ratio < 1e-3 and kernels[0] < 1e-4) or ratio > 70:
                found.append(r.step)
                break
    for r in readings:
        dead = r.vector("activation/dead_frac")
        if dead is not None and poor(r.step) and (dead[np.isfinite(dead)] >= 0.7).any():
            found.append(r.step)
            break
    values = [a for _, a in accuracy]
    swings = sum(abs(b - a) >= 0.03 and (b - a) < 0 for a, b in pairwise(values))
    end = accuracy[-1][0]
    if max(values) < 0.7 and swings >= 0.2 * len(values):
        found.append(end)
    if max(values) < 0.7 and max((b - a for a, b in pairwise(values)), default=0.0) < 0.01:
        found.append(end)
    return _first(found)


# ---------------------------------------------------------------- loss spikes


def llm_foundry(readings: Sequence[Reading], window: int = 100) -> int | None:
    """KillLossSpike: loss at least twice the mean of 100 steps five times in a row; half of a window above the cap."""
    course = losses(readings)
    seen: deque[float] = deque(maxlen=window)
    row, cap = 0, min(max((loss for _, loss in course[:window]), default=10.0), 10.0)
    for i, (step, loss) in enumerate(course):
        if len(seen) == window:
            row = row + 1 if loss >= 2.0 * fmean(seen) else 0
            if row > 4 or (i >= 2 * window and sum(old > cap for old in seen) >= window / 2):
                return step
        seen.append(loss if math.isfinite(loss) else 1e30)
    return None


def spike_detection(readings: Sequence[Reading], window: int = 10, rtol: float = 2.0) -> int | None:
    """Lightning's SpikeDetection: not finite, or above the last loss and 2 times the mean of 10 away from that mean."""
    seen: deque[float] = deque(maxlen=window)
    for step, loss in losses(readings):
        if not math.isfinite(loss):
            return step
        if len(seen) > 1 and loss > seen[-1] and abs(loss - fmean(seen)) >= rtol * abs(fmean(seen)):
            return step
        seen.append(loss)
    return None


PEERS: dict[str, tuple[Rule, ...]] = {
    "SageMaker Debugger": SAGEMAKER,
    "AUTOTRAINER": (autotrainer,),
    "llm-foundry KillLossSpike": (llm_foundry,),
    "Lightning SpikeDetection": (spike_detection,),
}


def first_alarms(run_dir: Path) -> dict[str, int | None]:
    """Peer -> step of its first alarm over a record."""
    readings = list(load(run_dir).readings())
    return {peer: _first(rule(readings) for rule in rules) for peer, rules in PEERS.items()}


def trainproof(run_dir: Path, program: Path) -> bool:
    """Whether ``trainproof doctor`` says WARN or FAIL of a run's log: loss, validation loss, rate, gradient norm."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log.jsonl"
        with log.open("w") as file:
            for r in load(run_dir).readings():
                names = {"loss": "loss/train", "eval_loss": "loss/val", "grad_norm": "grad/norm", "learning_rate": "lr"}
                row = {key: float(np.max(r.values[name])) for key, name in names.items() if name in r.values}
                if row:
                    file.write(json.dumps({"step": r.step, "epoch": r.epoch, **row}) + "\n")
        done = subprocess.run([program, "doctor", log, "--json"], capture_output=True, text=True, check=False)
    reports = json.loads(done.stdout)["reports"]
    return any(finding["level"] in ("WARN", "FAIL") for report in reports for finding in report["findings"])
