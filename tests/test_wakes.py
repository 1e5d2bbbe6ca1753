"""A rule that rests is left out, and says what it would have said."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

import numpy as np
import pytest

from lightning_diag._judge.judge import Judge
from lightning_diag._judge.wakes import Rules, Wakes
from lightning_diag._plugins import shipped
from lightning_diag.detectors.base import NEVER, Detector
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Facts, Reading
from tests.detectors.loss_stream import eat, known, noise, stream


class Sleeper(Detector):
    """Judges every tenth step."""

    rule, code, title, severity = "loss/sleeper", "X001", "Sleeper", Severity.INFO
    reads = ("loss/train", "run/ended")

    def _reset(self) -> None:
        self.rests_until = 0
        self.judged: list[int] = []
        self.taken: list[int] = []

    def update(self, reading: Reading) -> Finding | None:
        self.judged.append(reading.step)
        self.rests_until = reading.step + 10
        raise NotMeasurable("never")

    def take(self, reading: Reading) -> None:
        self.taken.append(reading.step)


def seen(readings: list[Reading]) -> tuple[list[int], list[int]]:
    detector = Sleeper()
    eat(Judge([detector]), readings)
    return detector.judged, detector.taken


def test_quiet_readings_are_taken_in_until_the_rest_ends() -> None:
    judged, taken = seen(stream(noise(45), known(200)))
    assert judged == [1, 11, 21, 31, 41]
    assert taken == [step for step in range(1, 46) if step not in judged]


@pytest.mark.parametrize("what", ["a loss that isn't finite", "another signal", "a gap", "facts"])
def test_anything_else_wakes_it(what: str) -> None:
    readings = stream(noise(45), known(200))
    at = readings[20]
    more: dict[str, Any] = {"a loss that isn't finite": {"loss/train": np.nan}, "another signal": {"grad/norm": 1.0}}
    if what in more:
        readings[20] = dataclasses.replace(at, values={**at.values, **more[what]})
    elif what == "a gap":
        del readings[19]
    else:
        readings[20:] = [dataclasses.replace(r, facts=known(200, chance_loss=9.0)) for r in readings[20:]]
    judged, taken = seen(readings)
    assert 21 in judged and 21 not in taken


def test_every_step_of_a_log_with_gaps_is_judged() -> None:
    judged, taken = seen([r for r in stream(noise(200), known(200)) if r.step % 5 == 1])
    assert len(judged) == 40 and not taken


def test_a_rule_that_fails_while_it_rests_is_left_out() -> None:
    class Failing(Sleeper):
        def take(self, reading: Reading) -> None:
            raise RuntimeError("no")

    failed: list[str] = []
    other = Sleeper()
    other.rule = "loss/other"  # type: ignore[misc]
    judge = Judge([Failing(), other], lambda rule, error: failed.append(rule))
    eat(judge, stream(noise(30), known(200)))
    assert failed == ["loss/sleeper"] and "failed" in judge.coverage.skipped["loss/sleeper"]
    assert len(other.judged) + len(other.taken) == 30


def insomnia(self: Wakes, reading: Reading) -> tuple[Rules, Rules]:
    """Nobody rests."""
    return tuple(
        (rule, d) for rule, d in self._detectors.items() if not d.reads or set(d.reads) & set(reading.values)
    ), ()


def curves() -> dict[str, list[Reading]]:
    rng = np.random.default_rng(0)
    falls = 2.3 * np.exp(-np.arange(600) / 200 + rng.normal(0, 0.05, 600))
    broken, swinging, spiky = falls.copy(), falls.copy(), falls.copy()
    broken[[100, 103, 104, 300]] = np.nan
    swinging[200:] = 1 + 0.5 * (-1.0) ** np.arange(400)
    spiky[[250, 251, 330]] *= 30
    spiky[400:] *= 8
    lr = [0.1] * 600
    val = {step: {"loss/val": 1.0 + step / 600, "accuracy/val": 0.5} for step in range(50, 601, 50)}
    flat = 2.3 + rng.normal(0, 0.01, 600)
    made = {
        "falls": falls,
        "broken": broken,
        "swinging": swinging,
        "spiky": spiky,
        "flat": flat,
        "slow": 0.1 * falls + 2,
    }
    facts = Facts(planned_steps=600, chance_loss=2.3, task="classification", num_classes=10, batch_size=4, dropout=0.0)
    return {name: stream(losses, facts, lr=lr, every=40, val=val, end=True) for name, losses in made.items()}


@pytest.mark.parametrize("name", curves())
def test_rules_that_rest_find_what_they_would_have_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    readings = curves()[name]
    resting, awake = (Judge([cls() for cls in shipped()]) for _ in range(2))
    found = eat(resting, readings)
    monkeypatch.setattr(Wakes, "shown", insomnia)
    assert found == eat(awake, readings)
    assert resting.coverage == awake.coverage and resting.findings == awake.findings
    assert found or name == "falls"


def test_most_rules_rest_most_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: Counter[int] = Counter()
    inner = Wakes.shown

    def counted(self: Wakes, reading: Reading) -> tuple[Rules, Rules]:
        judging, taking = inner(self, reading)
        shown[len(judging)] += 1
        shown[-len(taking)] += 1
        return judging, taking

    monkeypatch.setattr(Wakes, "shown", counted)
    judge = Judge([cls() for cls in shipped()])
    eat(judge, stream(noise(2000), known(100_000)))
    assert sum(n * times for n, times in shown.items() if n > 0) / 2000 < 3.5
    assert sum(-n * times for n, times in shown.items() if n < 0) / 2000 < 5.5
    assert NEVER in {d.rests_until for d in judge.detectors.values()}
