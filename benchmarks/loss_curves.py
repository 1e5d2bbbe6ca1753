"""Simulated training runs, healthy and faulty, as readings: numpy only, every run a function of its seed.

A run is a curve (loss without noise), noise in log-loss, a learning rate sampled now and then, 20 validations and what
is known of it (:class:`Facts`). :data:`HEALTHY` and :data:`FAULTS` name the families.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lightning_diag.reading import Facts, Reading

Array = NDArray[np.float64]
CHANCE = 2.3
EVALS = 20


@dataclass
class Run:
    """One simulated run of ``n`` steps; arrays are per step, validations per validation."""

    loss: Array
    val: Array
    accuracy: Array
    train_accuracy: Array
    lr: Array | None = None
    facts: Facts = field(default_factory=Facts)
    onset: int = 0  # step of the fault, 0 = none

    def readings(self) -> Iterator[Reading]:
        """Yield what a monitor would: every step, 20 validations, the end."""
        n = len(self.loss)
        every, lr_every = n // EVALS, max(5, n // 200)
        for step in range(1, n + 1):
            values = {"loss/train": self.loss[step - 1]}
            if self.lr is not None and (step == 1 or step % lr_every == 0):
                values["lr"] = self.lr[step - 1 : step]
            epoch = (step - 1) // every
            yield Reading(step, epoch, values, self.facts, batch_idx=(step - 1) % every)
            if step % every == 0:
                i = step // every - 1
                val = {"loss/val": self.val[i], "val/samples": np.float64(1000)}
                if self.facts.task == "classification":
                    val |= {"accuracy/val": self.accuracy[i], "accuracy/train": self.train_accuracy[i]}
                yield Reading(step, epoch, val, self.facts, stage="validation")
        yield Reading(n, EVALS - 1, {"run/ended": np.float64(1)}, self.facts, stage="end")


def run(
    curve: Array, noise: Array, rng: np.random.Generator, *, lr: Array | None = None, known: bool = True,
    additive: bool = False, floor: float = 0.0, task: str | None = "classification",
) -> Run:  # fmt: skip
    """Put a curve and its noise together, with validations that follow the curve and jitter by 1 %."""
    n = len(curve)
    loss = curve + noise if additive else curve * np.exp(noise)
    at = curve[np.arange(1, EVALS + 1) * (n // EVALS) - 1]
    jitter = 0.01 * np.abs(at) + 0.002
    accuracy = np.clip(0.9 * (1 - at / CHANCE) + 0.1 + 0.01 * rng.standard_normal(EVALS), 0, 1)
    facts = Facts(
        planned_steps=n, steps_per_epoch=n // EVALS, optimizers=("AdamW",), task=task if known else None,
        num_classes=10 if known else None, chance_loss=CHANCE if known else None, loss_floor=floor,
    )  # fmt: skip
    val = at * 1.05 + jitter * rng.standard_normal(EVALS)
    train_accuracy = np.clip(accuracy + 0.03 * np.linspace(0, 1, EVALS), 0, 1)
    return Run(loss, val, accuracy, train_accuracy, lr, facts)


def decay(n: int, floor: float = 0.2, tau: float = 0.15, start: float = CHANCE) -> Array:
    """Exponential decay with a time constant of ``tau`` of the run (at least 15 steps)."""
    return floor + (start - floor) * np.exp(-np.arange(n) / max(15.0, tau * n))


def gauss(n: int, rng: np.random.Generator, sd: float) -> Array:
    """Gaussian noise in log-loss."""
    return sd * rng.standard_normal(n)


def student(n: int, rng: np.random.Generator, sd: float, df: int) -> Array:
    """Student-t noise in log-loss, ``sd`` its scale; cut at 50 scales, as no loss is e^50 times another."""
    return sd * np.clip(rng.standard_t(df, n), -50, 50)


def _restarts(n: int, rng: np.random.Generator) -> Run:
    phase = np.arange(n) % (n // 4) / (n // 4)
    lr = 0.1 * 0.5 * (1 + np.cos(np.pi * phase)) + 1e-4
    curve = decay(n, tau=0.1)
    hot = np.where(np.arange(n) >= n // 4, 0.25 * np.exp(-4 * phase), 0.0)
    return run(curve * (1 + hot), gauss(n, rng, 0.1), rng, lr=lr)


def _drops(n: int, rng: np.random.Generator) -> Run:
    lr = 0.1 * np.where(np.arange(n) < n // 2, 1.0, np.where(np.arange(n) < 3 * n // 4, 0.1, 0.01))
    curve = decay(n, 0.6, 0.08) * np.where(lr > 0.05, 1.0, np.where(lr > 0.005, 0.5, 0.35))
    return run(curve, gauss(n, rng, 0.15), rng, lr=lr)


def _warm(n: int, rng: np.random.Generator) -> Run:
    w = max(1, n // 5)
    lr = 1e-3 * np.minimum(1.0, np.arange(1, n + 1) / w)
    return run(0.2 + 2.1 * np.exp(-np.cumsum(lr / 1e-3) / max(15.0, 0.12 * n)), gauss(n, rng, 0.1), rng, lr=lr)


def _cosine(n: int, rng: np.random.Generator) -> Run:
    lr = 1e-3 * 0.5 * (1 + np.cos(np.pi * np.arange(n) / n))
    return run(0.3 + 2.0 * np.exp(-np.cumsum(lr / 1e-3) / max(15.0, 0.15 * n)), student(n, rng, 0.1, 5), rng, lr=lr)


def _late_drop(n: int, rng: np.random.Generator, level: float, at: float) -> Run:
    t = np.arange(n) / n
    curve = np.minimum(decay(n, level * CHANCE, 0.05), CHANCE) - (level * CHANCE - 0.1) / (1 + np.exp(-(t - at) / 0.01))
    return run(curve, gauss(n, rng, 0.05), rng)


def _bimodal(n: int, rng: np.random.Generator, share: float) -> Run:
    entropy = -share * np.log(share) - (1 - share) * np.log(1 - share)
    made = run(decay(n, 0.7 * entropy, 0.2, entropy), np.zeros(n), rng)
    p = decay(n, 0.15 * entropy, 0.2, (entropy - 0.1) / 1.9)  # the rare class is missed less and less often
    made.loss = np.where(rng.random(n) < p, 2.0, 0.1) * np.exp(gauss(n, rng, 0.1))
    made.facts = Facts(planned_steps=n, optimizers=("Adam",), task="classification", num_classes=2, chance_loss=entropy)
    return made


def _mixture(n: int, rng: np.random.Generator) -> Run:
    hard = np.where(rng.random(n) < 0.1, np.log(2.5), 0.0)
    return run(decay(n) / 1.15, hard + gauss(n, rng, 0.05), rng)  # 1.15 = mean of the mixture


def _alternating(n: int, rng: np.random.Generator) -> Run:
    return run(decay(n, 0.2, 0.4), 0.15 * (-1.0) ** np.arange(n) + gauss(n, rng, 0.05), rng)


def _edge(n: int, rng: np.random.Generator) -> Run:
    bumps = 0.25 * np.sin(2 * np.pi * np.arange(n) / max(40, n // 12)) ** 4
    return run(decay(n) * (1 + bumps), gauss(n, rng, 0.08), rng)


def _negative(n: int, rng: np.random.Generator) -> Run:
    return run(decay(n, -2.0, 0.2, 1.5), 0.1 * rng.standard_normal(n), rng, additive=True, known=False)


HEALTHY: dict[str, Callable[[int, np.random.Generator], Run]] = {
    "gauss 0.05": lambda n, g: run(decay(n), gauss(n, g, 0.05), g),
    "gauss 0.3": lambda n, g: run(decay(n), gauss(n, g, 0.3), g),
    "t5 0.1": lambda n, g: run(decay(n), student(n, g, 0.1, 5), g),
    "t3 0.1": lambda n, g: run(decay(n), student(n, g, 0.1, 3), g),
    "t3 0.3": lambda n, g: run(decay(n), student(n, g, 0.3, 3), g),
    "batch of 1 (log-sd 1)": lambda n, g: run(0.6 * decay(n), gauss(n, g, 1.0), g),
    "batch of 1, rare class 10 %": lambda n, g: _bimodal(n, g, 0.1),
    "batch of 1, rare class 40 %": lambda n, g: _bimodal(n, g, 0.4),
    "10 % hard batches": _mixture,
    "step drops of the rate": _drops,
    "warm-up 20 %": _warm,
    "cosine": _cosine,
    "warm restarts": _restarts,
    "label smoothing floor": lambda n, g: run(decay(n, 0.55, 0.1), gauss(n, g, 0.05), g, floor=0.5),
    "plateau at 70 %, then a drop": lambda n, g: _late_drop(n, g, 0.7, 0.6),
    "language model (ends at 55 %)": lambda n, g: run(
        CHANCE * (0.5 + 0.5 * (1 + np.arange(n) / (0.01 * n)) ** -0.6), gauss(n, g, 0.08), g, task="language-model"
    ),
    "pretrained, chance known": lambda n, g: run(decay(n, 0.25, 0.2, 0.4), gauss(n, g, 0.2), g),
    "pretrained, chance unknown": lambda n, g: run(decay(n, 0.25, 0.2, 0.4), gauss(n, g, 0.2), g, known=False),
    "to 1e-4 (interpolating)": lambda n, g: run(decay(n, 1e-4, 0.1), gauss(n, g, 0.5), g),
    "negative likelihood": _negative,
    "alternating sources": _alternating,
    "edge of stability": _edge,
}


def _queue(n: int, rng: np.random.Generator) -> Run:
    """A contrastive loss against a queue: low while the queue is random, then up to log K, then down."""
    t = np.arange(n) / n
    return run(
        4.0 + 6.0 * (1 - np.exp(-t / 0.02)) - 4.0 * (1 - np.exp(-t / 0.4)), gauss(n, rng, 0.05), rng, known=False
    )


def _curriculum(n: int, rng: np.random.Generator) -> Run:
    t = np.arange(n)
    harder = 0.8 * np.exp(-np.maximum(0, t - n // 2) / max(15.0, 0.08 * n)) * (t >= n // 2)
    return run(decay(n) * (1 + harder), gauss(n, rng, 0.1), rng)


HARD: dict[str, Callable[[int, np.random.Generator], Run]] = {
    "contrastive queue (starts low, rises)": _queue,
    "undeclared curriculum (x1.8, then recovers)": _curriculum,
    "at chance for 40 %, then a drop": lambda n, g: _late_drop(n, g, 1.0, 0.4),
}


def _fault(name: str, n: int, rng: np.random.Generator) -> Run:  # noqa: C901 - a table of faults
    """Return a run with this fault; its onset is drawn between 30 % and 60 % of the run."""
    t, at = np.arange(n), int(n * rng.uniform(0.3, 0.6))
    after = np.maximum(0, t - at)
    made = run(decay(n), gauss(n, rng, 0.1), rng)
    made.onset = at + 1
    if name.startswith("spike x"):
        made.loss *= 1 + (float(name[7:]) - 1) * np.exp(-after / 3) * (t >= at)
    elif name == "spike, not recovered":
        made.loss *= np.where(t >= at, 1.6 + 5 * np.exp(-after / 5), 1.0)
    elif name == "6 spikes":
        for i in range(6):
            made.loss *= 1 + 3 * np.exp(-np.maximum(0, t - at - 100 * i) / 3) * (t >= at + 100 * i)
    elif name == "diverges slowly":
        made.loss += 3 * CHANCE * after / n
    elif name == "diverges fast":
        made.loss *= np.exp(np.minimum(after / 40, 8))
    elif name == "sign flipped":
        made.loss, made.onset = CHANCE * np.exp(np.minimum(t / (0.05 * n), 8) + gauss(n, rng, 0.1)), 1
    elif name.startswith("chance"):
        made.loss, made.onset = CHANCE * np.exp(gauss(n, rng, float(name[7:]))), 1
    elif name == "stuck at 70 %":
        made.loss, made.onset = decay(n, 0.7 * CHANCE, 0.03) * np.exp(gauss(n, rng, 0.05)), 1
    elif name == "oscillates":
        made.loss += CHANCE * (0.25 + 0.2 * (-1.0) ** t) * (t >= at)
    elif name == "NaN for good":
        made.loss[at:] = np.nan
    elif name == "one NaN":
        made.loss[at] = np.nan
    elif name == "bad start":
        made.loss, made.onset = decay(n, 1.0, 0.1, 10 * CHANCE) * np.exp(gauss(n, rng, 0.1)), 1
    elif name.startswith("overfits"):
        i = np.arange(EVALS)
        made.onset = n // EVALS * 7
        made.val = 0.6 + np.exp(-i / 2) + 0.06 * np.maximum(0, i - 6) + 0.02 * rng.standard_normal(EVALS)
        worse = 0.02 * np.maximum(0, i - 6) if "and accuracy" in name else 0.0
        made.accuracy = 0.7 * (1 - np.exp(-(i + 1) / 2)) - worse + 0.005 * rng.standard_normal(EVALS)
        made.train_accuracy = 1 - np.exp(-(i + 1) / 4)
    elif name == "too short":
        made.loss, made.onset = (CHANCE - 1.2 * t / n) * np.exp(gauss(n, rng, 0.1)), n
    elif name == "too small a model":
        made.loss, made.onset = decay(n, 0.9 * CHANCE, 0.1) * np.exp(gauss(n, rng, 0.05)), n
        made.val, made.accuracy = np.full(EVALS, 0.92 * CHANCE), np.full(EVALS, 0.2)
        made.train_accuracy = made.accuracy
    return made


FAULTS: dict[str, tuple[str, str]] = {  # name -> rule expected, least severity
    "spike x2": ("loss/spike", "info"),
    "spike x4": ("loss/spike", "info"),
    "spike x10": ("loss/spike", "info"),
    "spike, not recovered": ("loss/spike", "warning"),
    "6 spikes": ("loss/spike", "warning"),
    "diverges slowly": ("loss/diverging", "warning"),
    "diverges fast": ("loss/diverging", "warning"),
    "sign flipped": ("loss/diverging", "critical"),
    "chance 0.05": ("loss/not-learning", "critical"),
    "chance 0.3": ("loss/not-learning", "critical"),
    "stuck at 70 %": ("loss/plateau", "info"),
    "oscillates": ("loss/oscillating", "warning"),
    "NaN for good": ("loss/non-finite", "critical"),
    "one NaN": ("loss/non-finite", "warning"),
    "bad start": ("loss/bad-start", "warning"),
    "overfits, accuracy holds": ("fit/overfitting", "info"),
    "overfits, and accuracy falls": ("fit/overfitting", "warning"),
    "too short": ("fit/underfitting", "info"),
    "too small a model": ("fit/underfitting", "warning"),
}


def fault(name: str, n: int, rng: np.random.Generator) -> Run:
    """Return a run with the fault of this name (a key of :data:`FAULTS`)."""
    return _fault(name, n, rng)
