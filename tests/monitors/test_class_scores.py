"""Labels that lie beside a network's outputs and are none of its business."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from lightning_diag import Diagnostics, Severity
from lightning_diag._pipeline.courier import Courier
from lightning_diag.reading import Facts
from lightning_diag.record import load
from tests.training import Classifier, fit


class Encoder(Classifier):
    """Its 64 outputs follow noise of their own; the labels are only in the batch."""

    width = 64

    def __init__(self) -> None:
        super().__init__()
        self.net = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, self.width))

    def loss(self, batch: Any) -> Tensor:
        x, _ = batch
        target = torch.cat((x, x), 1)[:, : self.width]
        return F.smooth_l1_loss(self.net(x + 0.1 * torch.randn_like(x)), target, beta=0.2).sqrt()

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return self.loss(batch)

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        self.log("val_loss", self.loss(batch))


class Focal(Classifier):
    """A classifier under a loss that isn't recognized."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        log_p = F.log_softmax(self.net(batch[0]), 1).gather(1, batch[1][:, None])
        return (-((1 - log_p.exp()) ** 2) * log_p).mean()


def watched(module: Classifier, path: Path) -> tuple[Diagnostics, set[str], Any]:
    diag = Diagnostics(every_n_steps=1, run_dir=path / "run", strict=True)
    fit(module, [diag], path, steps=200)
    readings = list(load(path / "run").readings())
    return diag, {name for reading in readings for name in reading.values}, readings[-1].facts


def test_features_beside_labels_are_no_classes(tmp_path: Path) -> None:
    diag, signals, facts = watched(Encoder(), tmp_path)
    assert facts.class_scores is False and facts.num_classes is None and "class" not in facts.names
    assert not {s for s in signals if s.startswith(("class/", "accuracy/", "data/noise"))}
    assert not [f for f in diag.findings if f.severity >= Severity.WARNING and not f.rule.startswith("system/")]
    assert not [f for f in diag.findings if f.rule.startswith(("classes/", "data/class"))]


def test_a_classifier_under_a_loss_of_its_own_is_counted(tmp_path: Path) -> None:
    _, signals, facts = watched(Focal(), tmp_path)
    assert facts.loss_kind is None and facts.class_scores is True
    assert {"class/support", "accuracy/val", "accuracy/train"} <= signals


def test_what_probes_make_of_classes_is_kept_back_as_well() -> None:
    class Made:
        def derived(self) -> dict[str, float]:
            return {"data/noise_frac": 0.1, "data/leaked_frac": 0.2}

    def judged(facts: Facts) -> set[str]:
        nothing: Any = None
        roster: Any = Made()
        return set(Courier(nothing, roster, nothing, facts)._judged({"accuracy/train": 0.5, "loss/train": 1.0}))

    assert judged(Facts()) == {"data/leaked_frac", "loss/train"}
    assert judged(Facts(class_scores=True)) == {"data/leaked_frac", "loss/train", "data/noise_frac", "accuracy/train"}
