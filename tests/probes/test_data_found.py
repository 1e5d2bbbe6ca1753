"""Batches of all kinds: what is found in them, and the words for what isn't. End to end where coverage tells it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from torch.utils.data import DataLoader

from lightning_diag import DataMonitor, Diagnostics
from lightning_diag.monitors.class_error import ClassErrorMonitor
from lightning_diag.probes.batch_fields import described, find_input, find_target
from tests.training import Classifier, digits, fit

X, Y = torch.randn(4, 3), torch.arange(4)


class Pair(NamedTuple):
    x: Tensor
    y: Tensor


@dataclass
class Sample:
    image: Tensor
    label: Tensor
    name: str = ""


@pytest.mark.parametrize(
    "batch",
    [
        (X, Y), [X, Y, {"path": "a"}], (X, Y, Y, "more"), {"X": X, "labels": Y}, {"continuous": X, "target": Y},
        Pair(X, Y), Sample(X, Y), (X, (Y, None)), ([X, X + 1], Y), {"image": X, "other": X, "y": Y, "id": Y},
    ],
)  # fmt: skip
def test_inputs_and_targets_are_found(batch: Any) -> None:
    assert find_input(batch) is X and find_target(batch) is Y


@pytest.mark.parametrize("batch", [None, "text", object(), {}, (), {"a": X, "b": X}, (object(), (Y, Y)), [[], []]])
def test_what_is_ambiguous_or_nothing_is_not_guessed(batch: Any) -> None:
    assert find_input(batch) is None and find_target(batch) is None
    assert described(batch)


class Named(Classifier):
    """As a package of tables does it: a dict, labels in a column, scores in a dict."""

    def forward(self, batch: Any) -> Any:
        return {"logits": self.net(batch["continuous"]), "extra": torch.zeros(3)}

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return F.cross_entropy(self(batch)["logits"], batch["target"].squeeze(-1))

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self(batch)


class Odd(Classifier):
    """Batches of any kind that hold the digits somewhere."""

    def __init__(self, open_it: Callable[[Any], tuple[Tensor, Tensor]]) -> None:
        super().__init__()
        self.open_it = open_it

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return super().training_step(self.open_it(batch), batch_idx)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.net(self.open_it(batch)[0])


class Graph:
    """What no collate function knows."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.nodes, self.label = x, y


def loaders(make: Callable[[Tensor, Tensor], Any], collate: Any = None) -> dict[str, Any]:
    x, y = digits()
    samples: Any = [make(x[i], y[i]) for i in range(600)]
    return {
        "train": DataLoader(samples[:400], 32, shuffle=True, collate_fn=collate),
        "val": DataLoader(samples[400:], 64, collate_fn=collate),
    }


def watched(module: Any, root: Path, data: dict[str, Any]) -> Diagnostics:
    watch = Diagnostics([DataMonitor(), ClassErrorMonitor()], sinks=[], strict=True, every_n_steps=1)
    fit(module, [watch], root, steps=-1, max_epochs=2, **data)
    return watch


def test_a_dict_with_a_column_of_labels_is_measured(tmp_path: Path) -> None:
    watch = watched(Named(), tmp_path, loaders(lambda x, y: {"continuous": x, "target": y[None]}))
    skipped = watch.diagnosis.coverage.skipped
    assert not {"data/leakage", "data/duplicates", "data/unnormalized", "data/unshuffled"} & skipped.keys(), skipped
    assert "80 optimizer steps" in skipped["classes/collapsed"], "found, and only too early to tell"


def test_what_cannot_be_hashed_or_found_is_said_in_words(tmp_path: Path) -> None:
    module = Odd(lambda batch: (torch.stack([g.nodes for g in batch]), torch.stack([g.label for g in batch])))
    watch = watched(module, tmp_path, loaders(Graph, list))
    skipped = watch.diagnosis.coverage.skipped
    for rule in ("data/leakage", "data/duplicates", "data/unnormalized", "data/label-noise", "classes/collapsed"):
        assert "can't be found: batches are a list of Graph" in skipped[rule], (rule, skipped[rule])


def test_ragged_batches_have_words_too(tmp_path: Path) -> None:
    def ragged(samples: list[tuple[Tensor, Tensor]]) -> Any:
        return [x[: 60 + i % 4] for i, (x, _) in enumerate(samples)], torch.stack([y for _, y in samples])

    module = Odd(lambda batch: (torch.stack([F.pad(x, (0, 64 - len(x))) for x in batch[0]]), batch[1]))
    skipped = watched(module, tmp_path, loaders(lambda x, y: (x, y), ragged)).diagnosis.coverage.skipped
    assert "one row a sample can't be found" in skipped["data/leakage"]
