"""Padding and likeness of sequences: the kernels against plain loops, and whole trainings on good and bad batches."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.data import DataLoader

from lightning_diag import DataMonitor, Diagnostics, Finding
from lightning_diag.probes import sequence_kernels as kernels
from lightning_diag.probes.base import Batch, Scene
from lightning_diag.probes.data_sequences import DataSequenceProbe
from lightning_diag.reading import Facts
from tests.training import Classifier, fit

PAD, WORDS = 0, 50


def texts(lengths: list[int], seed: int = 0) -> list[Tensor]:
    g = torch.Generator().manual_seed(seed)
    return [torch.randint(1, WORDS, (n,), generator=g) for n in lengths]


def padded(rows: list[Tensor], to: int, *, left: bool = False) -> Tensor:
    return torch.stack([F.pad(row, (to - len(row), 0) if left else (0, to - len(row)), value=PAD) for row in rows])


def measured(batch: Any, module: nn.Module | None = None) -> dict[str, float]:
    probe = DataSequenceProbe()
    probe.attach(Scene(nn.Embedding(WORDS, 4) if module is None else module, [], Facts()))
    probe.loss(Batch(batch, 0))
    return {name.removeprefix("data/"): float(value) for name, value in probe.collect()}


LENGTHS = [3, 9, 4, 4, 7, 1, 12, 5]
FRAC, BEYOND = 1 - sum(LENGTHS) / (8 * 16), 4 / 16


@pytest.mark.parametrize("left", [False, True])
def test_padding_is_told_in_four_ways_and_is_the_same(left: bool) -> None:
    tokens = padded(texts(LENGTHS), 16, left=left)
    mask, expected = tokens != PAD, pytest.approx(FRAC)
    for batch, module, way in [
        ({"input_ids": tokens, "attention_mask": mask.long()}, None, 1),
        ({"x": tokens, "key_padding_mask": ~mask}, None, 1),
        ({"x": torch.randn(8, 16, 3), "attention_mask": mask}, nn.Linear(3, 3), 1),
        ((tokens, torch.zeros(8)), nn.Embedding(WORDS, 4, padding_idx=PAD), 3),
        ((tokens, torch.zeros(8)), None, 4),
    ]:
        got = measured(batch, module)
        assert (got["padding_told_by"], got["padding_beyond_frac"], got["sequence_length"]) == (way, BEYOND, 16)
        assert got["padding_frac"] == expected
    if not left:
        got = measured({"x": tokens, "lengths": torch.tensor(LENGTHS)})
        assert got["padding_told_by"] == 2 and got["padding_frac"] == expected


def test_what_cannot_be_told_is_not_guessed() -> None:
    text, rows = torch.cat(texts([12 * 16])).reshape(12, 16), texts(LENGTHS)
    assert measured((text, None))["padding_frac"] == 0  # a block of text ends in a run hardly ever
    inside = padded(rows, 16)
    inside[6, 5] = PAD  # the same token within a text: blanks, perhaps
    assert np.isnan(measured((inside, None))["padding_frac"])
    alone = padded(rows, 16)
    alone[2] = PAD  # a sample of nothing else
    assert np.isnan(measured((alone, None))["padding_frac"])
    some = text.clone()
    some[:3, -4:] = PAD  # a quarter of the samples
    assert np.isnan(measured((some, None))["padding_frac"])
    samples = {"x": padded(rows, 16), "lengths": torch.tensor(LENGTHS) * 160}  # of the sound, not of its frames
    assert np.isnan(measured(samples)["padding_frac"])


@pytest.mark.parametrize(
    "batch", [(torch.randn(8, 16), None), (torch.arange(8), None), torch.randn(4, 3, 8, 8), {"mask": 3}, (object(), 1)]
)
def test_other_batches_hold_no_sequences(batch: Any) -> None:
    assert measured(batch) == {"padding_told_by": 0}
    assert "padding_frac" not in measured((torch.randint(9, (8, 16)), None), nn.Linear(16, 2)), "whole numbers, no text"


def test_two_padding_indices_are_none() -> None:
    module = nn.ModuleList([nn.Embedding(9, 2, padding_idx=0), nn.Embedding(9, 2, padding_idx=1)])
    assert measured((padded(texts(LENGTHS), 16), None), module)["padding_told_by"] == 4


def alike_by_hand(tokens: Tensor, real: Tensor) -> float:
    """The same with loops."""
    same = 0
    for i in range(len(tokens)):
        a, b = i, i - 1
        both = [t for t in range(tokens.shape[1]) if real[a, t] and real[b, t]]
        empty = not real[a].any() and not real[b].any()
        same += (bool(both) or empty) and all(tokens[a, t] == tokens[b, t] for t in both)
    return same / len(tokens)


def run_by_hand(same: Tensor) -> Tensor:
    """The same with loops."""
    made = torch.zeros_like(same)
    for i in range(len(same)):
        for t in reversed(range(same.shape[1])):
            if not same[i, t]:
                break
            made[i, t] = True
    return made


def test_kernels_agree_with_plain_loops() -> None:
    g = torch.Generator().manual_seed(1)
    for _ in range(20):
        tokens = torch.randint(2, (9, 5), generator=g)
        real = torch.rand(9, 5, generator=g) < 0.4
        assert float(kernels.alike(tokens, real)) == pytest.approx(alike_by_hand(tokens, real))
        assert torch.equal(kernels.run_at_end(tokens == 1), run_by_hand(tokens == 1))
        front = run_by_hand((tokens == 1).flip(1)).flip(1)
        assert torch.equal(kernels.padding_of(tokens, 1), run_by_hand(tokens == 1) | front)


class Reader(Classifier):
    """A bag of words."""

    def __init__(self, padding_idx: int | None) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, 16, padding_idx=padding_idx)
        self.head = nn.Linear(16, 2)

    def step(self, batch: Any) -> Tensor:
        return F.cross_entropy(self.head(self.words(batch[0]).mean(1)), batch[1])

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.step(batch)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.step(batch)


def trained(
    collate: Callable[[list[Tensor]], Tensor], lengths: list[int], root: Path, index: int | None
) -> Diagnostics:
    rows = texts(lengths)
    samples: Any = [(row, int(row.float().mean() > WORDS / 2)) for row in rows]

    def joined(part: list[tuple[Tensor, int]]) -> tuple[Tensor, Tensor]:
        return collate([row for row, _ in part]), torch.tensor([label for _, label in part])

    watch = Diagnostics([DataMonitor()], sinks=[], strict=True, every_n_steps=1)
    train = DataLoader(samples, 16, shuffle=True, drop_last=True, collate_fn=joined)
    val = DataLoader(samples[:16], 16, collate_fn=joined)
    fit(Reader(index), [watch], root, steps=30, train=train, val=val)
    return watch


def of(watch: Diagnostics, rule: str) -> Finding | None:
    return next((f for f in watch.findings if f.rule == rule), None)


def to_longest(rows: list[Tensor]) -> Tensor:
    return padded(rows, max(map(len, rows)))


SHORT = [5 + i % 8 for i in range(512)]
MIXED = [20 + i * 7 % 12 if i % 16 else 160 for i in range(512)]


@pytest.mark.parametrize("index", [PAD, None])
def test_texts_padded_to_a_fixed_length_are_a_note_that_says_what_to_do(tmp_path: Path, index: int | None) -> None:
    watch = trained(lambda rows: padded(rows, 64), SHORT, tmp_path, index)
    found = of(watch, "setup/mostly-padding")
    assert found is not None and str(found.severity) == "info"
    assert found.evidence["value"] == pytest.approx(1 - 8.5 / 64, abs=0.01)
    assert found.evidence["told_by"] == ("the embedding's padding_idx" if index == PAD else "a constant tail")
    assert "longest" in found.advice[0] and "fixed" in found.advice[0]


def test_one_long_text_among_short_ones_asks_for_buckets(tmp_path: Path) -> None:
    found = of(trained(to_longest, MIXED, tmp_path, PAD), "setup/mostly-padding")
    assert found is not None and len(found.advice) == 1 and "buckets" in found.advice[0]


@pytest.mark.parametrize(
    ("collate", "lengths"),
    [(torch.stack, [32] * 512), (to_longest, SHORT), (lambda rows: padded(rows, 14), SHORT)],
    ids=["blocks", "short texts", "short texts to a fixed length"],
)
def test_blocks_and_short_texts_are_fine(collate: Any, lengths: list[int], tmp_path: Path) -> None:
    watch = trained(collate, lengths, tmp_path, None)
    rules = {"setup/mostly-padding", "data/alike-sequences"}
    assert not rules & {f.rule for f in watch.findings}
    assert rules <= set(watch.diagnosis.coverage.ran), watch.diagnosis.coverage.skipped


def unknown(rows: list[Tensor]) -> Tensor:
    return padded([torch.full_like(row, 7) for row in rows], 16)


def one_text(rows: list[Tensor]) -> Tensor:
    return torch.arange(1, 17).expand(len(rows), 16).clone()


@pytest.mark.parametrize("collate", [unknown, one_text])
def test_a_collapsed_tokenizer_or_loader_is_found(collate: Any, tmp_path: Path) -> None:
    found = of(trained(collate, SHORT, tmp_path, PAD), "data/alike-sequences")
    assert found is not None and str(found.severity) == "warning" and found.evidence["value"] == 1


def test_without_sequences_both_rules_say_so(tmp_path: Path) -> None:
    watch = Diagnostics([DataMonitor()], sinks=[], strict=True, every_n_steps=1)
    fit(Classifier(), [watch], tmp_path, steps=5)
    skipped = watch.diagnosis.coverage.skipped
    assert all("for an embedding" in skipped[rule] for rule in ("setup/mostly-padding", "data/alike-sequences"))
