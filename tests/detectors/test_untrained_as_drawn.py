"""``gradients/unreached`` where weights are still what they were drawn as."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lightning_diag import GradientMonitor
from lightning_diag.detectors._fresh import small_head
from lightning_diag.detectors.gradient_unreached import GradientUnreached
from lightning_diag.finding import Severity
from tests.detectors.parameter_stream import Make, Values, assert_resumes, facts, findings, stream, values
from tests.training import Classifier, fit, loader

U, N, T, Z = 1.8, 3.0, 2.4, np.nan  # kurtosis: uniform, normal, a trained bias, zeros (or too few)


def start(
    kurtosis: Sequence[float],
    called: Sequence[float] = (1,) * 6,
    *,
    which: slice = slice(0, 4),
    moves: float = 0.0,
    zero: tuple[int, ...] = (),
) -> Make:
    """``which`` gets no gradient; what the first sample told, and how far these weights move a step."""

    def make(step: int, rng: np.random.Generator) -> Values:
        made = values(rng, 0.3)
        made["grad/missing"][which] = 1.0
        made["weight/parameter_norm"][list(zero)] = 0.0
        made["weight/distance"] = np.ones(6) * (step - 1)
        made["weight/distance"][which] *= moves
        if step == 1:
            made["weight/kurtosis"], made["weight/called"] = np.array(kurtosis), np.array(called, float)
        return made

    return make


def said(make: Make, **known: Any) -> Severity:
    found = findings(GradientUnreached(), stream(make, known=facts(**known)))
    assert ("random numbers they were made with" in found[-1].message) == (found[-1].severity == Severity.WARNING)
    return found[-1].severity


def test_layers_as_drawn_that_take_part_are_a_warning() -> None:
    assert said(start((1.79, U, U, U, N, Z))) == Severity.WARNING  # PyTorch's default
    assert said(start((N, Z, 3.1, Z, U, Z), zero=(1, 3))) == Severity.WARNING  # normal, biases 0
    assert said(start((N, T, N, T, U, Z), which=slice(4, 6))) == Severity.WARNING  # the last
    assert_resumes(GradientUnreached, stream(start((1.79, U, U, U, N, Z))))


def test_anything_else_stays_a_note() -> None:
    assert said(start((N, T, N, T, U, Z))) == Severity.INFO  # trained: biases neither equal nor uniform
    assert said(start((U, U, 4.5, U, N, Z))) == Severity.INFO  # trained: heavy tails
    assert said(start((N, U, N, U, U, Z))) == Severity.INFO  # can't be told
    assert said(start((1.79, U, U, U, N, Z), called=(0, 0, 0, 0, 1, 1))) == Severity.INFO  # never called
    assert said(start((1.79, U, U, U, N, Z), called=(np.nan,) * 6)) == Severity.INFO  # compiled: nobody looked
    assert said(start((1.79, U, U, U, N, Z), moves=1e-3)) == Severity.INFO  # moved by something: a running average
    assert said(start((N, T, 1.81, U, 1.81, U), which=slice(2, 4))) == Severity.INFO  # a copy: a target network
    assert said(start((1.79, U, U, U, N, Z)), parameter_numel=()) == Severity.INFO


def test_what_the_others_make_up_for_stays_a_note() -> None:
    assert said(start((U, U, N, T, N, Z), which=slice(0, 2))) == Severity.INFO  # the first alone
    assert said(start((N, T, U, U, N, Z), which=slice(2, 4))) == Severity.INFO  # an inner one


def test_a_fixed_last_layer_of_few_classes_does_no_harm() -> None:
    known: dict[str, Any] = {"task": "classification", "parameter_fan_in": (64, 0, 64, 0, 64, 0)}
    assert small_head(np.array([False] * 4 + [True] * 2), facts(**known))  # 10 classes, 64 inputs
    assert not small_head(np.array([False] * 2 + [True] * 4), facts(**known))
    assert not small_head(np.array([True] * 6), facts(**known))
    assert not small_head(np.array([False] * 4 + [True] * 2), facts(**{**known, "task": "language-model"}))
    many = {**known, "parameter_numel": (4096, 64, 4096, 64, 3840, 60)}
    assert not small_head(np.array([False] * 4 + [True] * 2), facts(**many))


class Forgetful(Classifier):
    """Four layers; ``mode`` says what is wrong with the first two."""

    def __init__(self, mode: str) -> None:
        super().__init__(lr=3e-3)
        self.mode = mode
        self.net = nn.Sequential(
            nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)
        )
        self.spare = nn.Linear(64, 64)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        h: Tensor = self.net[:4](batch[0])
        h = h.detach() if self.mode == "detached" else h
        return nn.functional.cross_entropy(self.net[4:](h), batch[1])

    def configure_optimizers(self) -> Any:
        forgotten = list(self.net[:4].parameters()) if self.mode == "forgotten" else []
        held = [p for p in self.parameters() if not any(p is q for q in forgotten)]
        if self.mode == "probe":
            held = list(self.net[6].parameters())
        return torch.optim.Adam(held, lr=self.lr)


@pytest.mark.parametrize(
    ("mode", "where"), [("forgotten", "net.0"), ("detached", "net.0"), ("probe", None), ("sound", None)]
)
def test_in_a_real_run(mode: str, where: str | None, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module, monitor = Forgetful(mode), GradientMonitor()
    if mode == "probe":  # the body was trained before
        body = torch.optim.Adam(module.parameters(), lr=3e-3)
        for _ in range(12):
            for x, y in loader():
                body.zero_grad()
                nn.functional.cross_entropy(module.net(x), y).backward()
                body.step()
        module.net[6].reset_parameters()  # type: ignore[operator]
    fit(module, [monitor], tmp_path, steps=72)
    warned = [f for f in monitor.findings if f.rule == "gradients/unreached" and f.severity >= Severity.WARNING]
    assert [f.where[0] for f in warned] == ([] if where is None else [where])
