"""Streams of losses and validations, and the judge that watches them as the pipeline does."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_diag._judge.judge import Judge
from lightning_diag.detectors.base import Detector
from lightning_diag.finding import Finding
from lightning_diag.reading import Facts, Reading

CHANCE = 2.3
Array = NDArray[np.float64]
News = list[tuple[int, Finding]]


def known(steps: int | None, **more: Any) -> Facts:
    """Facts of a classifier of ten classes whose chance loss is known."""
    base: dict[str, Any] = {
        "planned_steps": steps, "optimizers": ("AdamW",), "task": "classification", "num_classes": 10,
        "chance_loss": CHANCE,
    }  # fmt: skip
    return Facts(**(base | more))


def noise(n: int, sd: float = 0.1, seed: int = 0) -> Array:
    """Factors ``exp(sd * normal)``."""
    return np.exp(sd * np.random.default_rng(seed).standard_normal(n))


def decay(n: int, floor: float = 0.2, tau: float = 0.15, start: float = CHANCE) -> Array:
    """Exponential decay with a time constant of ``tau`` of the run."""
    return floor + (start - floor) * np.exp(-np.arange(n) / (tau * n))


def stream(
    losses: Iterable[float],
    facts: Facts | None = None,
    *,
    lr: Sequence[float] | Array | None = None,
    every: int = 10,
    extra: Mapping[int, Mapping[str, float]] | None = None,
    val: Mapping[int, Mapping[str, float]] | None = None,
    first_step: int = 1,
    epoch: int | None = None,
    end: bool = False,
) -> list[Reading]:
    """Return readings: one a loss, ``lr`` each ``every`` steps, ``extra`` signals and validations after their step."""
    made = []
    facts = facts or Facts()
    step = first_step
    for i, loss in enumerate(losses):
        step, at = first_step + i, (i // 100 if epoch is None else epoch)
        values: dict[str, Any] = {"loss/train": np.float64(loss)}
        if lr is not None and (i == 0 or step % every == 0):
            values["lr"] = np.array([lr[i]])
        values |= {k: np.float64(v) for k, v in (extra or {}).get(step, {}).items()}
        made.append(Reading(step, at, values, facts, batch_idx=i % 100))
        if val and step in val:
            made.append(Reading(step, at, {k: np.float64(v) for k, v in val[step].items()}, facts, stage="validation"))
    if end:
        made.append(Reading(step, made[-1].epoch, {"run/ended": np.float64(1)}, facts, stage="end"))
    return made


def eat(judge: Judge, readings: Iterable[Reading]) -> News:
    """Feed readings; return what the judge reported and when."""
    return [(r.step, f) for r in readings for f in judge.update(judge.enrich(r))]


def watch(detector: Detector, readings: Iterable[Reading]) -> News:
    """The same with a fresh judge of one detector."""
    return eat(Judge([detector]), readings)


def told(news: News) -> list[tuple[int, str, str]]:
    """Step, severity and status of each report."""
    return [(step, str(f.severity), f.status) for step, f in news]


def reason(detector: Detector, readings: Iterable[Reading]) -> str:
    """Why the rule was never judged."""
    judge = Judge([detector])
    eat(judge, readings)
    return judge.coverage.skipped[detector.rule]


def resumed(kind: type[Detector], readings: Sequence[Reading], cut: int) -> News:
    """Watch with a stop after ``cut`` readings and a resume from JSON in a new process' objects."""
    before = Judge([kind()])
    news = eat(before, readings[:cut])
    saved = json.dumps(before.state_dict())
    after = Judge([kind()])
    state = json.loads(saved)
    after.load_state_dict(state)
    assert json.dumps(state) == saved, "loading must leave its argument alone"
    return news + eat(after, readings[cut:])
