"""What is wrong before the first epoch ends is named before it ends: parameters that nothing trains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lightning_diag import Diagnostics
from tests.training import Classifier, fit

EPOCH = 24  # steps


class Branches(nn.Module):
    """Two branches, one of which may be cut off."""

    def __init__(self, *, detached: bool = False, tied: bool = False) -> None:
        super().__init__()
        self.left, self.right, self.head = nn.Linear(64, 16), nn.Linear(64, 16), nn.Linear(32, 10)
        self.detached = detached
        if tied:
            self.right.weight = self.left.weight

    def forward(self, x: Tensor) -> Tensor:
        right = self.right(x)
        out: Tensor = self.head(torch.cat([self.left(x), right.detach() if self.detached else right], 1).relu())
        return out


class Forgetful(Classifier):
    """Its optimizer gets all parameters but those of one module."""

    def __init__(self, net: nn.Module, forgotten: str = "nothing") -> None:
        super().__init__()
        self.net, self.forgotten = net, forgotten  # type: ignore[assignment]

    def configure_optimizers(self) -> Any:
        named = self.named_parameters()
        return torch.optim.Adam([p for n, p in named if p.requires_grad and self.forgotten not in n], lr=1e-3)


def frozen() -> Forgetful:
    module = Forgetful(Branches())
    module.net.get_submodule("left").requires_grad_(False)
    return module


def told(module: Classifier, root: Path) -> list[tuple[str, tuple[str, ...], int]]:
    rules = ["gradients/unreached", "sanity/*", "updates/frozen"]
    diag = Diagnostics(every_n_steps=1, sinks=[], strict=True, select=rules)
    fit(module, [diag], root, steps=EPOCH)
    return [(f.rule, f.where, f.last_step) for f in diag.findings]


@pytest.mark.parametrize(
    ("module", "where"),
    [
        (lambda: Forgetful(Branches(detached=True)), "net.right"),
        (lambda: Forgetful(Branches(), "net.left"), "net.left"),
    ],
)
def test_a_branch_that_nothing_trains_is_named(module: Any, where: str, tmp_path: Path) -> None:
    assert told(module(), tmp_path) == [("gradients/unreached", (where,), EPOCH)]


@pytest.mark.parametrize("module", [lambda: Forgetful(Branches(tied=True)), frozen, lambda: Forgetful(Branches())])
def test_frozen_on_purpose_and_tied_weights_are_silent(module: Any, tmp_path: Path) -> None:
    assert told(module(), tmp_path) == []
