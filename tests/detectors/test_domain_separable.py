from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lightning_diag.detectors.domain_separable import DomainSeparable
from lightning_diag.errors import ConfigurationError
from lightning_diag.finding import Severity
from lightning_diag.reading import Reading
from tests.detectors.domain_stream import found, reading, run


def compared(number: int, auc: float = 0.9, p: float = 0.005, val: Any = (0.05, 0.06), more: Any = None) -> Reading:
    both = {"domain/probe_auc": np.full(2, auc), "domain/probe_p": np.full(2, p), "domain/probe_error": np.full(2, 0.1)}
    return reading(number, val, more={**both, **(more or {})})


def test_told_apart_twice_is_info() -> None:
    said = run(DomainSeparable(), [compared(1), reading(2, (0.05, 0.06)), compared(3)])
    assert said[0] is None and "not compared yet" in str(said[1])
    finding = found(said)[0]
    assert finding.where == ("real",) and finding.severity == Severity.INFO and "no harm by itself" in finding.message
    assert finding.evidence["proxy_a_distance"] == pytest.approx(1.6)


def test_with_a_gap_it_is_a_warning() -> None:
    finding = found(run(DomainSeparable(), [compared(i, val=(0.05, 0.3)) for i in (1, 2)]))[0]
    assert finding.severity == Severity.WARNING and "the error gap is 25 points" in finding.message


@pytest.mark.parametrize(("auc", "p"), [(0.58, 0.005), (0.9, 0.03), (np.nan, np.nan)])
def test_chance_is_left_alone(auc: float, p: float) -> None:
    assert not found(run(DomainSeparable(), [compared(i, auc, p) for i in range(1, 5)]))


def test_the_input_that_gives_it_away_is_named() -> None:
    n = 200.0
    rows = []
    for mean, contrast in ((0.1, 0.2), (0.11, 0.4)):
        spread = 0.05**2
        rows.append([n, n * mean, n * (mean**2 + spread), n, n * contrast, n * (contrast**2 + spread), n, n, n * 1.1])
    finding = found(run(DomainSeparable(), [compared(i, more={"domain/input_sums": np.array(rows)}) for i in (1, 2)]))[
        0
    ]
    assert "contrast 0.4 against 0.2 (d = 4)" in finding.message and "mean" not in finding.message


@pytest.mark.parametrize("arguments", [{"auc": 0.4}, {"alpha": 0.001}, {"evaluations": 0}, {"effect": -1}])
def test_wrong_arguments(arguments: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(arguments))):
        DomainSeparable(**arguments)  # type: ignore[arg-type]
