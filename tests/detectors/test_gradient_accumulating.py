from __future__ import annotations

import numpy as np

from lightning_diag.detectors.gradient_accumulating import GradientAccumulating
from lightning_diag.finding import Finding
from lightning_diag.reading import Reading
from tests.detectors.class_stream import judged


def run(carried: list[float], norm: float = 1.0) -> list[Finding | None]:
    return judged(
        GradientAccumulating(),
        [
            Reading(i + 1, 0, {"grad/carried_norm": np.float64(c), "grad/norm": np.float64(norm)})
            for i, c in enumerate(carried)
        ],
    )


def test_gradients_that_are_never_cleared_are_told_once_the_window_is_full() -> None:
    said = run([0.0] + [0.9] * 40)
    assert next(i for i, f in enumerate(said) if f is not None) == 10


def test_cleared_now_and_then_is_accumulation_on_purpose() -> None:
    assert not any(run([0.0, 0.5, 0.7, 0.8] * 20))
    assert not any(run([0.0] * 60))


def test_nan_and_zero_gradients_say_nothing_and_the_fault_is_found_after_them() -> None:
    assert not any(run([float("nan")] * 40))
    assert not any(run([0.0] * 40, norm=0.0))
    assert any(run([float("nan")] * 5 + [0.9] * 30))
