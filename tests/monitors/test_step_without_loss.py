"""A training step that returns no loss, as one does that leaves a bad batch out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lightning_diag import Diagnostics
from lightning_diag.record import load
from tests.training import Classifier, fit


class Skipping(Classifier):
    """Leaves out every ``skip``-th batch and the first, after the network was called."""

    skip = 0

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = super().training_step(batch, batch_idx)
        return None if self.skip and batch_idx % self.skip == 0 else loss


@pytest.mark.filterwarnings("ignore:.training_step. returned .None.")
def test_what_is_measured_does_not_depend_on_a_first_batch_without_a_loss(tmp_path: Path) -> None:
    signals = []
    for skip in (0, 3):
        module = Skipping()
        module.skip = skip
        fit(module, [Diagnostics(every_n_steps=1, run_dir=tmp_path / f"{skip}", strict=True)], tmp_path, steps=30)
        readings = list(load(tmp_path / f"{skip}").readings())
        signals.append({name for reading in readings for name in reading.values})
    assert {"class/train_right", "loss/slip", "chance/error", "sanity/mixing"} <= signals[0]
    assert signals[0] - signals[1] == set()
