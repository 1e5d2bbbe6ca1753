from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kendalltau, theilslopes

from lightning_diag.detectors.domain_gap_widening import DomainGapWidening, rising
from lightning_diag.errors import ConfigurationError
from lightning_diag.finding import Severity
from tests.detectors.domain_stream import found, reading, run


@pytest.mark.parametrize("n", [5, 6, 8, 12])
def test_trend_and_p_value_are_scipys(n: int) -> None:
    values = (np.arange(n) * 0.4 + np.random.default_rng(n).normal(size=n)).tolist()
    p, growth = rising(values)
    want = kendalltau(np.arange(n), values, alternative="greater", method="exact").pvalue
    assert p == pytest.approx(want, rel=1e-9)
    assert growth == pytest.approx(theilslopes(values)[0] * (n - 1))


def test_ties_are_no_trend() -> None:
    assert rising([0.2] * 6)[0] == 1.0


def test_source_falls_and_target_rises() -> None:
    rates = [(0.12 - 0.015 * i, 0.2 + 0.02 * i) for i in range(8)]
    said = run(DomainGapWidening(), [reading(i + 1, r) for i, r in enumerate(rates)])
    assert [bool(found([one])) for one in said] == [False] * 4 + [True] * 4
    first = found(said)[0]
    assert (
        first.where == ("real",)
        and first.severity == Severity.WARNING
        and "real rose from 20 % to 28 %" in first.message
    )


def test_a_target_that_stands_is_info() -> None:
    rates = [(0.25 - 0.03 * i, 0.3) for i in range(8)]
    findings = found(run(DomainGapWidening(), [reading(i + 1, r) for i, r in enumerate(rates)]))
    assert findings and {f.severity for f in findings} == {Severity.INFO}


def test_a_target_that_still_learns_is_left_alone() -> None:
    rates = [(0.5 - 0.06 * i, 0.6 - 0.02 * i) for i in range(8)]
    assert rates[-1][1] - rates[-1][0] > rates[0][1] - rates[0][0], "the gap does widen"
    assert not found(run(DomainGapWidening(), [reading(i + 1, r) for i, r in enumerate(rates)]))


def test_a_constant_gap_is_left_alone() -> None:
    assert not found(run(DomainGapWidening(), [reading(i, (0.05, 0.3)) for i in range(1, 12)]))


def test_false_alarms_of_gaps_without_a_trend() -> None:
    rng = np.random.default_rng(0)
    fired = [
        bool(found(run(DomainGapWidening(), [reading(i, (0.05, 0.3), rng=rng) for i in range(1, 21)])))
        for _ in range(150)
    ]
    assert sum(fired) <= 4


def test_few_passes_have_a_sentence() -> None:
    assert "needs 5 validation passes" in str(run(DomainGapWidening(), [reading(1, (0.1, 0.2))])[0])


@pytest.mark.parametrize("arguments", [{"window": 4}, {"alpha": 0.9}, {"effect": 2}, {"sigmas": -1}])
def test_wrong_arguments(arguments: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(arguments))):
        DomainGapWidening(**arguments)  # type: ignore[arg-type]
