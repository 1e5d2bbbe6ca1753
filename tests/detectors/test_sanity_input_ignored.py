"""An input that has no effect in evaluation mode: is it ignored in training, too?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lightning_diag._judge.judge import Judge
from lightning_diag.detectors.sanity_input_ignored import SanityInputIgnored
from lightning_diag.finding import Severity
from lightning_diag.reading import Facts, Reading
from tests.detectors.loss_stream import eat, resumed

FACTS = Facts(
    planned_steps=500, chance_loss=2.3, normalized=True, dropout=0.0,
    names={"call": ("net",), "layer": ("net.0", "net"), "module": ("net.0", "net.1")},
)  # fmt: skip


def stream(varies: float, facts: Facts = FACTS, every: int = 1) -> list[Reading]:
    """The input has no effect at any look; at every so many steps the last module varies in training."""
    made = []
    for step in range(1, 80):
        values = {
            "sanity/input_effect": np.zeros(1),
            "sanity/lost_at": np.array([1.0, 2.0]),
            "sanity/looks": np.float64(sum(step >= look for look in (1, 4, 10, 40))),
            "loss/relative": np.float64(1.0),
            "activation/variation": np.array([0.5, varies if step % every == 0 else 0.0]),
        }
        made.append(Reading(step, 0, values, facts))
    return made


def worst(readings: list[Reading]) -> Severity:
    return max(f.severity for _, f in eat(Judge([SanityInputIgnored()]), readings))


def test_what_varies_in_training_is_lost_in_evaluation_mode_alone() -> None:
    news = eat(Judge([SanityInputIgnored()]), stream(0.5))
    assert {f.severity for _, f in news} == {Severity.INFO}
    assert "the input is ignored in evaluation mode since step 1; the input is lost in net.0." in news[0][1].message
    assert worst(stream(0.5, every=8)) == Severity.INFO  # units that are nearly dead let it through at times


@pytest.mark.parametrize(
    "readings",
    [
        stream(0.0),
        stream(1e-3),
        stream(0.5, every=30),
        stream(0.5, replace(FACTS, dropout=0.1)),  # dropout alone makes outputs differ
        stream(0.5, replace(FACTS, normalized=False)),  # no layer that is another one in evaluation mode
    ],
)
def test_otherwise_it_is_a_warning(readings: list[Reading]) -> None:
    assert worst(readings) == Severity.WARNING


def test_a_resumed_run_says_the_same() -> None:
    readings = stream(0.5, every=8)
    assert resumed(SanityInputIgnored, readings, 35) == eat(Judge([SanityInputIgnored()]), readings)
