"""The gap that the demo's second part tells of is there, and its advice narrows it; measured with plain torch."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")
pytest.importorskip("sklearn")
pytest.importorskip("PIL")

from lightning_diag.demo.data import Digits, real_digits  # noqa: E402
from lightning_diag.demo.module import DigitClassifier  # noqa: E402
from lightning_diag.demo.rendering import HANDWRITTEN, PRINTED, synthetic_digits  # noqa: E402


def _train(digits: Digits, steps: int = 250) -> DigitClassifier:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = DigitClassifier()
        images, labels = torch.from_numpy(digits.images), torch.from_numpy(digits.labels)
        optimizer = model.configure_optimizers()
        for _ in range(steps):
            batch = torch.randint(len(labels), (64,))
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()
    return model


def _accuracy(model: DigitClassifier, digits: Digits) -> float:
    with torch.no_grad():
        return float((model(torch.from_numpy(digits.images)).argmax(1).numpy() == digits.labels).mean())


@pytest.mark.slow
def test_printed_digits_leave_a_gap_that_a_nearer_look_narrows() -> None:
    real = real_digits()
    few = real["train"].take(20)
    printed = _train(few + synthetic_digits(2000, 0, PRINTED))
    nearer = _train(few + synthetic_digits(2000, 0, HANDWRITTEN))
    assert _accuracy(printed, synthetic_digits(500, 100, PRINTED)) > 0.95
    assert _accuracy(printed, real["val"]) < 0.65
    assert _accuracy(nearer, real["val"]) > _accuracy(printed, real["val"]) + 0.05
