from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes, load_digits
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch import Tensor, nn

from lightning_diag.observation import Observation
from lightning_diag.probes.base import Batch, Scene
from lightning_diag.probes.data_linear import LinearBaselineProbe
from lightning_diag.reading import Facts


def seen(x: Tensor, y: Tensor, classes: int) -> Batch:
    answer: dict[str, Any] = {"logits": torch.zeros(len(x), classes)} if classes else {"preds": torch.zeros_like(y)}
    return Batch((x, y), 0, observation=Observation(target=y, **answer))


def scored(x: Tensor, y: Tensor, val_x: Tensor, val_y: Tensor, classes: int = 0) -> dict[str, float]:
    probe = LinearBaselineProbe()
    probe.attach(Scene(nn.Linear(1, 1), [], Facts()))
    for start in range(0, len(x), 32):
        probe.observed(seen(x[start : start + 32], y[start : start + 32], classes))
    probe.validation_start()
    for start in range(0, len(val_x), 50):
        probe.validation_batch(seen(val_x[start : start + 50], val_y[start : start + 50], classes))
    return {name: float(value) for name, value in probe.validation_end({})}


def test_on_digits_it_is_as_good_as_the_librarys_discriminant_analysis() -> None:
    x, y = load_digits(return_X_y=True)
    x = x / 16 + 3  # an offset changes nothing
    reference = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1).fit(x[:1200], y[:1200])
    inputs, labels = torch.tensor(x, dtype=torch.float32), torch.tensor(y)
    got = scored(inputs[:1200], labels[:1200], inputs[1200:], labels[1200:], 10)
    assert got["baseline/samples"] == 597
    assert got["baseline/accuracy"] == pytest.approx(reference.score(x[1200:], y[1200:]), abs=0.015)


def test_on_numbers_it_is_ridge_regression() -> None:
    x, y = load_diabetes(return_X_y=True, scaled=False)
    x = (x - x.mean(0)) / x.std(0)
    y = (y - y.mean()) / y.std()
    inputs, targets = torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)
    got = scored(inputs[:300], targets[:300], inputs[300:], targets[300:])
    centred = x[:300] - x[:300].mean(0)
    cov = centred.T @ centred / 300
    weight = np.linalg.solve(cov + 0.1 * np.trace(cov) / 10 * np.eye(10), centred.T @ (y[:300] - y[:300].mean()) / 300)
    answer = (x[300:] - x[:300].mean(0)) @ weight + y[:300].mean()
    assert got["baseline/error"] == pytest.approx(float(np.mean((answer - y[300:]) ** 2)), rel=1e-4)


def test_too_few_samples_and_other_tasks_give_nothing() -> None:
    x, y = torch.randn(64, 20), torch.randint(10, (64,))
    assert scored(x[:40], y[:40], x, y, 10) == {}
    tokens = torch.randint(50, (64, 12))
    assert scored(tokens, tokens, tokens, tokens) == {}
    assert scored(x, x, x, x) == {}  # an autoencoder's target is its input


def test_a_class_that_never_came_is_never_the_answer_and_nan_inputs_count_as_zero() -> None:
    x, y = torch.randn(400, 6), torch.randint(3, (400,))
    x[torch.arange(400), y] += 4
    x[0] = torch.nan
    got = scored(x, y, x, y, 5)
    assert got["baseline/accuracy"] > 0.9
