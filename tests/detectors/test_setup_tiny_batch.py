"""setup/tiny-batch."""

from __future__ import annotations

import numpy as np
import pytest

from lightning_diag.detectors import SetupTinyBatch
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Severity
from lightning_diag.reading import Facts, Reading


def reading(facts: Facts) -> Reading:
    return Reading(30, 0, {"loss/train": np.float64(1)}, facts)


def test_few_samples_a_step_are_a_note_once() -> None:
    rule = SetupTinyBatch()
    facts = Facts(batch_size=2, accumulate=2, task="classification")
    found = rule.update(reading(facts))
    assert found is not None
    assert (found.severity, found.evidence["value"]) == (Severity.INFO, 4.0)
    assert rule.update(reading(facts)) is None


@pytest.mark.parametrize(
    "facts",
    [
        Facts(batch_size=2, accumulate=4, task="classification"),
        Facts(batch_size=2, world_size=4, task="regression"),
        Facts(batch_size=1, task="language-model"),
    ],
)  # fmt: skip
def test_enough_samples_are_none(facts: Facts) -> None:
    assert SetupTinyBatch().update(reading(facts)) is None


@pytest.mark.parametrize("facts", [Facts(batch_size=2), Facts(task="classification")])
def test_not_judged_before_the_facts_are_known(facts: Facts) -> None:
    with pytest.raises(NotMeasurable):
        SetupTinyBatch().update(reading(facts))
