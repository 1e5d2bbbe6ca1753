from __future__ import annotations

import numpy as np
import pytest

from lightning_diag.detectors.fit_too_good import FitTooGood
from lightning_diag.finding import Severity
from lightning_diag.reading import Reading
from tests.detectors.loss_stream import CHANCE, Array, decay, known, noise, reason, stream, told, watch


def leaking(n: int = 1000) -> Array:
    return CHANCE * np.exp(-np.arange(n) / 15) * noise(n)


def perfect(at: int = 300, accuracy: float = 1.0, samples: float = 1000) -> dict[int, dict[str, float]]:
    return {at: {"accuracy/val": accuracy, "val/samples": samples}}


@pytest.mark.parametrize("planned", [10_000, 200_000])
def test_near_zero_within_the_first_epoch_is_info(planned: int) -> None:
    losses = leaking(3000)
    news = watch(FitTooGood(), stream(losses, known(planned), epoch=0))
    assert [(s, st) for _, s, st in told(news)] == [("info", "open")]
    assert "of chance" in news[0][1].message and float(news[0][1].evidence["value"]) < 1e-3


def test_together_with_a_perfect_first_validation_it_is_a_warning() -> None:
    news = watch(FitTooGood(), stream(leaking(), known(10_000), val=perfect(), epoch=0))
    assert [s for _, s, _ in told(news)] == ["info", "warning"]
    assert "first validation accuracy was 1 (limit 0.998)" in news[-1][1].message


def test_a_perfect_first_validation_alone_is_info() -> None:
    losses = decay(1000, floor=0.3) * noise(1000)
    news = watch(FitTooGood(), stream(losses, known(10_000), val=perfect(), epoch=0))
    assert [s for _, s, _ in told(news)] == ["info"]
    for val in (perfect(accuracy=0.985), perfect(samples=50)):
        assert watch(FitTooGood(), stream(losses, known(10_000), val=val, epoch=0)) == []


def test_later_epochs_pretrained_weights_and_short_plans_are_silent() -> None:
    assert watch(FitTooGood(), stream(leaking(), known(10_000), epoch=1, val=perfect())) == []
    assert watch(FitTooGood(), stream(0.5 * leaking(), known(10_000), epoch=0, val=perfect())) == []
    assert watch(FitTooGood(), stream(leaking(), known(1000), epoch=0)) == []  # reached after 15 % of the plan
    assert watch(FitTooGood(), stream(leaking(), known(10_000), epoch=0, first_step=400)) == []


def test_below_the_floor_is_info() -> None:
    losses = decay(1000, floor=0.3, tau=0.05) * noise(1000, 0.02)
    news = watch(FitTooGood(), stream(losses, known(1000, loss_floor=0.5)))
    assert [s for _, s, _ in told(news)] == ["info"] and "label smoothing" in news[0][1].message
    assert watch(FitTooGood(), stream(losses + 0.2, known(1000, loss_floor=0.5))) == []


def gap(lead: float, evals: int = 8, every: int = 10) -> list[Reading]:
    vals = {100 * (i + 1): {"accuracy/val": 0.9, "val/samples": 1000.0} for i in range(evals)}
    extra = {step: {"accuracy/train": 0.9 - lead} for step in range(every, 100 * evals + 1, every)}
    return stream(0.5 * noise(1000), known(1000), val=vals, extra=extra)


def test_a_lasting_lead_of_validation_is_info() -> None:
    news = watch(FitTooGood(), gap(0.4))
    assert told(news) == [(500, "info", "open")] and "mixup" in news[0][1].advice[-1]
    assert watch(FitTooGood(), gap(0.2)) == []
    assert watch(FitTooGood(), gap(0.4, evals=4)) == []
    assert watch(FitTooGood(), gap(0.4, every=20)) == []  # five a validation: a stale mean is no evidence


def test_it_never_resolves() -> None:
    losses = np.concatenate([leaking(), noise(2000)])
    news = watch(FitTooGood(), stream(losses, known(10_000), epoch=0))
    assert {f.status for _, f in news} == {"open"}


def test_without_chance_it_is_not_judged() -> None:
    facts = known(1000, chance_loss=None)
    assert "not known" in reason(FitTooGood(), stream(leaking(), facts, epoch=0))
    assert "manual" in reason(FitTooGood(), stream(leaking(), known(1000, automatic_optimization=False)))
    assert max([f.severity for _, f in watch(FitTooGood(), gap(0.4))]) == Severity.INFO
