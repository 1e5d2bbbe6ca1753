from __future__ import annotations

import numpy as np
import pytest

from lightning_diag._judge.judge import Judge
from lightning_diag.detectors.loss_non_finite import LossNonFinite
from lightning_diag.finding import Severity
from tests.detectors.loss_stream import eat, known, noise, stream, told, watch


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_it_is_told_at_once_with_step_and_batch_and_critical_at_the_next(bad: float) -> None:
    losses = noise(200)
    losses[149:] = bad
    news = watch(LossNonFinite(), stream(losses, known(200)))
    assert told(news) == [(150, "warning", "open"), (151, "critical", "worsening")]
    for _, found in news:
        assert found.first_step == 150 and "step 150 (batch 49 of epoch 1)" in found.message
        assert str(float(bad)) in found.message and found.evidence["batch_idx"] == 49


def test_a_single_one_stays_a_warning_for_ever() -> None:
    losses = noise(2000)
    losses[149] = np.nan
    judge = Judge([LossNonFinite()])
    news = eat(judge, stream(losses, known(2000), end=True))
    assert told(news) == [(150, "warning", "open")]
    assert judge.findings[0].status == "open"


def test_five_of_twenty_are_critical_four_are_not() -> None:
    for count, severity in ((4, Severity.WARNING), (5, Severity.CRITICAL)):
        losses = noise(200)
        losses[100 : 100 + 2 * count : 2] = np.nan
        assert max(f.severity for _, f in watch(LossNonFinite(), stream(losses))) == severity


def test_scattered_ones_over_a_long_run_stay_a_warning() -> None:
    losses = noise(2000)
    losses[::50] = np.inf
    assert {f.severity for _, f in watch(LossNonFinite(), stream(losses))} == {Severity.WARNING}


def test_the_last_loss_of_the_run_is_critical() -> None:
    losses = noise(100)
    losses[-1] = np.nan
    news = watch(LossNonFinite(), stream(losses, end=True))
    assert [str(f.severity) for _, f in news] == ["warning", "critical"]
    assert "the run ended on it" in news[-1][1].message


def test_critical_at_once_when_asked() -> None:
    losses = noise(100)
    losses[50] = np.nan
    assert told(watch(LossNonFinite(in_a_row=1), stream(losses))) == [(51, "critical", "open")]


def test_finite_losses_of_any_size_are_silent() -> None:
    assert watch(LossNonFinite(), stream([1e308, -1e308, 0.0, 5e-324] * 50)) == []


def test_advice_names_half_precision_only_where_it_is_used() -> None:
    losses = noise(100)
    losses[50] = np.nan
    for precision, says in (("16-mixed", True), ("32-true", False)):
        (_, found), = watch(LossNonFinite(), stream(losses, known(100, precision=precision)))  # fmt: skip
        assert any("float16" in a for a in found.advice) is says
