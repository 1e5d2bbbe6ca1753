"""Data sets with one planted fault each, and healthy twins that look a little like it.

Handwritten digits of scikit-learn (1,797 of 8 x 8), its breast-cancer table, and synthetic tables: no download.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from sklearn.datasets import load_breast_cancer, load_digits, make_classification
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset, WeightedRandomSampler

from lightning_diag.probes.data_keys import sample_keys

DATA = ("digits", "images", "table", "cancer")


@dataclass
class Case:
    """One data set as a training sees it.

    Attributes:
        train: inputs and labels ``(n, ...)`` and ``(n,)``.
        val: the same of validation.
        classes: number of classes.
        shuffle: whether the training loader shuffles.
        weights: of a sampler with replacement, if there is one.
        augment: changes a training input each time it is loaded.
        wrong: content keys of the samples whose label was falsified.
        place: what a finding must name, where there is such a thing.
    """

    train: tuple[Tensor, Tensor]
    val: tuple[Tensor, Tensor]
    classes: int
    shuffle: bool = True
    weights: Tensor | None = None
    augment: Callable[[Tensor], Tensor] | None = None
    wrong: set[int] = field(default_factory=set)
    place: str = ""

    def loaders(self, batch_size: int = 32) -> tuple[DataLoader[Any], DataLoader[Any]]:
        """Return fresh loaders."""
        data: Dataset[Any] = TensorDataset(*self.train)
        if self.augment is not None:
            data = _Augmented(self.train, self.augment)
        if self.weights is not None:
            sampler = WeightedRandomSampler(self.weights.tolist(), len(self.weights))
            train = DataLoader(data, batch_size, sampler=sampler)
        else:
            train = DataLoader(data, batch_size, shuffle=self.shuffle)
        return train, DataLoader(TensorDataset(*self.val), 128)


class _Augmented(Dataset[Any]):
    def __init__(self, data: tuple[Tensor, Tensor], change: Callable[[Tensor], Tensor]) -> None:
        self.inputs, self.labels = data
        self.change = change

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.change(self.inputs[index]), self.labels[index]


def healthy(data: str, seed: int) -> Case:
    """Return one of :data:`DATA`, split at random by ``seed``: standardized, shuffled, nothing planted."""
    if data in ("digits", "images"):
        got = load_digits()
        x, y = torch.tensor(got.data, dtype=torch.float32) / 16, torch.tensor(got.target)
        x = (x - 0.3) / 0.37
        if data == "images":  # three channels that differ a little
            tint = torch.tensor([1.0, 0.8, 0.6]).reshape(1, 3, 1, 1)
            x = x.reshape(-1, 1, 8, 8) * tint
    elif data == "cancer":
        got = load_breast_cancer()
        x, y = torch.tensor(got.data, dtype=torch.float32), torch.tensor(got.target)
        x = (x - x.mean(0)) / x.std(0)
    else:
        made = make_classification(2000, 20, n_informative=10, n_classes=4, class_sep=1.5, flip_y=0, random_state=seed)
        x, y = torch.tensor(made[0], dtype=torch.float32), torch.tensor(made[1])
        x = x / x.std(0)
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))
    x, y = x[order], y[order]
    held = len(y) // 4
    return Case((x[held:], y[held:]), (x[:held], y[:held]), int(y.max()) + 1)


def leakage(case: Case, g: torch.Generator) -> Case:
    """1 % of validation (at least 3 samples) is copied into train."""
    x, y = case.train
    chosen = torch.randperm(len(case.val[1]), generator=g)[: max(3, round(0.01 * len(case.val[1])))]
    case.train = torch.cat([x, case.val[0][chosen]]), torch.cat([y, case.val[1][chosen]])
    case.place = "validation sample"
    return case


def near_leakage(case: Case, g: torch.Generator) -> Case:
    """Five percent of validation stand in train a little brighter and noisier, as if saved again."""
    x, y = case.train
    chosen = torch.randperm(len(case.val[1]), generator=g)[: max(6, round(0.05 * len(case.val[1])))]
    copies = case.val[0][chosen]
    copies = 1.02 * copies + 0.02 * x.std() * torch.randn(copies.shape, generator=g)
    case.train = torch.cat([x, copies]), torch.cat([y, case.val[1][chosen]])
    return case


def label_noise(case: Case, g: torch.Generator, share: float = 0.05) -> Case:
    """A share of the training labels is another class's, drawn evenly."""
    x, y = case.train[0], case.train[1].clone()
    chosen = torch.randperm(len(y), generator=g)[: round(share * len(y))]
    y[chosen] = (y[chosen] + torch.randint(1, case.classes, (len(chosen),), generator=g)) % case.classes
    case.train = x, y
    case.wrong = {int(k) & (2**63 - 1) for k in sample_keys([x[chosen]])}
    case.place = "sample"
    return case


def more_label_noise(case: Case, g: torch.Generator) -> Case:
    """15 % of the training labels are wrong."""
    return label_noise(case, g, 0.15)


def sorted_loader(case: Case, g: torch.Generator) -> Case:
    """The training set is sorted by label and not shuffled."""
    order = torch.argsort(case.train[1], stable=True)
    case.train, case.shuffle = (case.train[0][order], case.train[1][order]), False
    return case


def bytes_and_offset(case: Case, g: torch.Generator) -> Case:
    """Inputs are 0 to 255 and lie 3 standard deviations off."""
    x = torch.cat([case.train[0], case.val[0]])
    low, high = x.min(), x.max()
    std = (255 * (x - low) / (high - low)).std()

    def scaled(part: Tensor) -> Tensor:
        return 255 * (part - low) / (high - low) + 3 * std

    case.train, case.val = (scaled(case.train[0]), case.train[1]), (scaled(case.val[0]), case.val[1])
    return case


def constant_channel(case: Case, g: torch.Generator) -> Case:
    """A channel (the second of three, or column 17 of a table) is always 0.7."""
    for x in (case.train[0], case.val[0]):
        x[:, 1 if x.ndim == 4 else 17] = 0.7
    case.place = "channel 1" if case.train[0].ndim == 4 else "feature 17"
    return case


def non_finite(case: Case, g: torch.Generator) -> Case:
    """One training sample in 100 holds a NaN."""
    x = case.train[0].clone()
    chosen = torch.randperm(len(x), generator=g)[: len(x) // 100]
    x.flatten(1)[chosen, 3] = torch.nan
    case.train = x, case.train[1]
    return case


def giveaway(case: Case, g: torch.Generator) -> Case:
    """One input (a column, or a corner pixel of all channels) is the label and a little noise."""
    for x, y in (case.train, case.val):
        told = y.float() / case.classes + 0.01 * torch.randn(len(y), generator=g)
        if x.ndim == 4:
            x[:, :, 0, 0] = told[:, None]
        else:
            x[:, 3] = told
    case.place = "feature"
    return case


def val_labels_elsewhere(case: Case, g: torch.Generator) -> Case:
    """Validation labels stand in another order than their inputs."""
    case.val = case.val[0], case.val[1][torch.randperm(len(case.val[1]), generator=g)]
    return case


def lost_class(case: Case, g: torch.Generator) -> Case:
    """The split lost the last class: validation asks for it, training doesn't have it."""
    stays = case.train[1] != case.classes - 1
    case.train = case.train[0][stays], case.train[1][stays]
    case.place = f"class {case.classes - 1}"
    return case


def copies(case: Case, g: torch.Generator) -> Case:
    """Five percent of the training samples stand in the set twice, a join gone wrong."""
    x, y = case.train
    chosen = torch.randperm(len(y), generator=g)[: len(y) // 20]
    case.train = torch.cat([x, x[chosen]]), torch.cat([y, y[chosen]])
    return case


def conflicting(case: Case, g: torch.Generator) -> Case:
    """Three percent of the training samples stand there a second time, with another label."""
    x, y = case.train
    chosen = torch.randperm(len(y), generator=g)[: round(0.03 * len(y))]
    other = (y[chosen] + torch.randint(1, case.classes, (len(chosen),), generator=g)) % case.classes
    case.train = torch.cat([x, x[chosen]]), torch.cat([y, other])
    return case


def augmented(case: Case, g: torch.Generator) -> Case:
    """Training inputs are shifted or jittered, anew each time."""

    def change(x: Tensor) -> Tensor:
        if x.ndim == 3:
            return torch.roll(x, int(torch.randint(-1, 2, ())), -1)
        return x + 0.1 * torch.randn_like(x)

    case.augment = change
    return case


def shifted_only(case: Case, g: torch.Generator) -> Case:
    """Training inputs are shifted by up to a place: a few different versions of each, which come back."""
    case.augment = lambda x: torch.roll(x, int(torch.randint(-1, 2, ())), -1)
    return case


def blank_images(case: Case, g: torch.Generator) -> Case:
    """Three percent of train and validation are the same empty input, with any label."""
    for x, _ in (case.train, case.val):
        x[torch.randperm(len(x), generator=g)[: max(2, len(x) // 33)]] = x.min()
    return case


def oversampled(case: Case, g: torch.Generator) -> Case:
    """Class 1 is rare, and each of its samples stands in the list five times."""
    x, y = case.train
    rare = torch.nonzero(y == 1)[:, 0]
    rare = rare[: max(4, len(rare) // 5)]
    order = torch.cat([torch.nonzero(y != 1)[:, 0], rare.repeat(5)])
    case.train = x[order], y[order]
    return case


def weighted(case: Case, g: torch.Generator) -> Case:
    """A sampler draws with replacement, each class as often as the others."""
    counts = torch.bincount(case.train[1], minlength=case.classes).float()
    case.weights = (1 / counts)[case.train[1]]
    return case


def as_is(case: Case, g: torch.Generator) -> Case:
    """Nothing is planted."""
    return case


Plant = Callable[[Case, torch.Generator], Case]
FAULTS: dict[str, tuple[str, Plant]] = {
    "leakage": ("data/leakage", leakage),
    "near leakage": ("data/near-leakage", near_leakage),
    "label noise 5 %": ("data/label-noise", label_noise),
    "label noise 15 %": ("data/label-noise", more_label_noise),
    "sorted": ("data/unshuffled", sorted_loader),
    "0 to 255, offset 3": ("data/unnormalized", bytes_and_offset),
    "constant channel": ("data/constant-feature", constant_channel),
    "NaN in 1 %": ("data/non-finite", non_finite),
    "giveaway": ("data/giveaway-feature", giveaway),
    "validation labels elsewhere": ("data/labels-shifted", val_labels_elsewhere),
    "lost class": ("data/class-never-target", lost_class),
    "copies": ("data/duplicates", copies),
    "conflicting labels": ("data/conflicting-labels", conflicting),
}
TWINS: dict[str, Plant] = {
    "as it is": as_is,
    "augmented": augmented,
    "shifted by a place": shifted_only,
    "blank inputs": blank_images,
    "oversampled minority": oversampled,
    "weighted sampler": weighted,
}


def build(name: str, data: str, seed: int) -> Case:
    """Return a case by name."""
    plant = FAULTS[name][1] if name in FAULTS else TWINS[name]
    return plant(healthy(data, seed), torch.Generator().manual_seed(1000 + seed))
