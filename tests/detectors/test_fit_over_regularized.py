from __future__ import annotations

from typing import Any

import numpy as np

from lightning_diag.detectors.fit_over_regularized import FitOverRegularized
from lightning_diag.finding import Finding
from lightning_diag.reading import Facts, Reading
from tests.detectors.class_stream import judged


def run(
    relative: float, *, dropout: float = 0.0, decay: float = 0.0, ratio: float = 1e-2,
    optimizers: tuple[str, ...] = ("AdamW",), task: str | None = None, epoch: int | None = None, **extra: Any,
) -> list[Finding]:  # fmt: skip
    facts = Facts(
        planned_steps=500, chance_loss=2.3, dropout=dropout, parameter_kind=("matrix", "vector"), optimizers=optimizers,
        task=task, steps_per_epoch=epoch,
    )  # fmt: skip
    readings = [
        Reading(step, 0, {
            "loss/relative": np.float64(relative), "lr": np.array([1e-3]), "optimizer/weight_decay": np.array([decay]),
            "update/parameter_ratio": np.array([ratio, 1.0]), **extra,
        }, facts)
        for step in range(1, 501)
    ]  # fmt: skip
    return [f for f in judged(FitOverRegularized(), readings) if f is not None]


def test_dropout_and_decay_with_a_loss_that_stays_high() -> None:
    assert run(0.8, dropout=0.95)[0].step == 150
    found = run(0.8, decay=10.0)
    assert found[0].step == 50  # a third of the share: what is taken away shows sooner
    assert "weight decay" in found[0].message


def test_neither_alone_is_told() -> None:
    assert not run(0.1, dropout=0.95)
    assert not run(0.1, decay=6.0)
    assert not run(0.8)
    assert not run(0.8, dropout=0.5, decay=0.01)


def test_a_network_that_fits_its_training_set_is_not_held_back() -> None:
    far = {"accuracy/train": np.float64(0.95), "accuracy/val": np.float64(0.6)}
    assert not run(0.8, dropout=0.95, **far)


def test_nan_ratios_are_left_out() -> None:
    assert not run(0.8, decay=10.0, ratio=float("nan"))
    assert not run(float("nan"), dropout=0.95)


def test_weights_that_forget_within_a_hundred_steps_are_told_at_a_lower_loss() -> None:
    found = run(0.2, decay=10.0)  # 1 / (1e-3 * 10) = 100 steps
    assert found[0].step == 50
    assert "within 100 steps" in found[0].message
    assert not run(0.2, decay=6.0)  # 167 steps
    assert not run(0.05, decay=10.0)
    assert not run(0.2, decay=10.0, optimizers=("Adam",))  # an L2 penalty: no such rate


def test_weights_that_forget_and_have_shrunk_do_not_overfit() -> None:
    def left(shrunk: float, decay: float = 10.0) -> list[Finding]:
        gap = {"accuracy/train": np.float64(0.95), "accuracy/val": np.float64(0.8)}
        facts = Facts(planned_steps=500, chance_loss=2.3, parameter_kind=("matrix", "vector"), optimizers=("AdamW",))
        readings = [
            Reading(step, 0, {
                "loss/relative": np.float64(0.2), "lr": np.array([1e-3]), "optimizer/weight_decay": np.array([decay]),
                "update/parameter_ratio": np.array([1e-2, 1.0]),
                "weight/parameter_norm": np.array([4.0 if step < 100 else 4.0 * shrunk, 1.0]), **gap,
            }, facts)
            for step in range(1, 501)
        ]  # fmt: skip
        return [f for f in judged(FitOverRegularized(), readings) if f is not None]

    assert left(0.6)[0].step == 100
    assert not left(0.7)  # the gap may be overfitting
    assert not left(0.6, decay=6.0)  # 167 steps


def test_a_language_model_that_hardly_repeats_its_data_needs_no_strong_dropout() -> None:
    language: dict[str, Any] = {"task": "language-model", "dropout": 0.5}
    found = run(0.65, epoch=125, **language)[0]  # 4 passes
    assert found.step == 150
    assert "drops up to 50 % of its units (limit 40 % for a plan of 4 passes" in found.message
    assert not run(0.65, epoch=124, **language)
    assert not run(0.65, **language)  # nobody knows how often
    assert not run(0.55, epoch=500, **language)
    assert not run(0.65, epoch=500, task="language-model", dropout=0.2)
    assert not run(0.65, epoch=500, task="classification", dropout=0.5)
    assert not run(0.65, epoch=500, task="language-model", decay=5.5, ratio=1e-2)  # of decay 0.7 is asked still


def test_an_l2_penalty_of_adam_is_told_by_the_weights_it_shrinks() -> None:
    def left(shrunk: float, relative: float = 0.6, decay: float = 1.0, optimizer: str = "Adam") -> list[Finding]:
        names = (optimizer,)
        facts = Facts(planned_steps=500, chance_loss=2.3, parameter_kind=("matrix", "vector"), optimizers=names)
        readings = [
            Reading(step, 0, {
                "loss/relative": np.float64(relative), "lr": np.array([1e-3]),
                "optimizer/weight_decay": np.array([decay]), "update/parameter_ratio": np.array([1e-2, 1.0]),
                "weight/parameter_norm": np.array([4.0 if step < 200 else 4.0 * shrunk, 1.0]),
            }, facts)
            for step in range(1, 501)
        ]  # fmt: skip
        return [f for f in judged(FitOverRegularized(), readings) if f is not None]

    assert left(0.5)[0].step == 200
    assert "Adam's L2 penalty has shrunk the weights to 50 % of their start (limit 65 %)" in left(0.5)[0].message
    assert not left(0.8) and not left(0.5, 0.2) and not left(0.5, decay=0.0) and not left(0.5, optimizer="AdamW")
