"""Which samples have passed: end to end where one batch gives several losses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from lightning_diag import Diagnostics
from lightning_diag.record import load
from tests.training import Classifier, fit, loader


class TwoLosses(Classifier):
    """Two optimizers and two backward passes a batch, as with an adversary."""

    def __init__(self) -> None:
        super().__init__(hidden=16)
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> None:
        x, y = batch
        optimizers: Any = self.optimizers()
        for optimizer in optimizers:
            optimizer.zero_grad()
            self.manual_backward(F.cross_entropy(self.net(x), y))
            optimizer.step()

    def configure_optimizers(self) -> Any:
        return [torch.optim.SGD(self.net[0].parameters(), lr=0.1), torch.optim.SGD(self.net[3].parameters(), lr=0.1)]


@pytest.mark.parametrize("every_n_steps", [1, 3])
def test_a_batch_with_two_backward_passes_has_passed_once(tmp_path: Path, every_n_steps: int) -> None:
    watch = Diagnostics(run_dir=tmp_path / "run", every_n_steps=every_n_steps)
    fit(TwoLosses(), [watch], tmp_path, steps=-1, max_epochs=2, train=loader(size=256), val=loader(train=False))
    shares = [r.scalar("data/duplicate_frac") for r in load(tmp_path / "run").readings() if "data/duplicate_frac" in r]
    assert shares and set(shares) == {0.0}
    assert "data/duplicates" not in {finding.rule for finding in watch.findings}
