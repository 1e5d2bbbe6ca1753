"""Faults of the data: labels, inputs, their order and amount."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.zoo.operators.base import operator
from benchmarks.zoo.plan import Data, Plan

WIDTH = 4.0  # of a cloud of points, in standard deviations of their columns
SYNTHETIC = ("synthetic", "real")  # what a user says of his training and validation sets


@operator("label-noise")
@operator("random-labels")
def label_noise(plan: Plan, severity: float) -> None:
    """Each label is drawn anew with probability severity, uniformly over the labels there are."""

    def corrupt(data: Data, g: torch.Generator) -> None:
        hit = torch.rand(data.train_y.shape, generator=g) < severity
        drawn = torch.randint(0, int(data.train_y.max()) + 1, data.train_y.shape, generator=g)
        data.train_y = torch.where(hit, drawn, data.train_y)

    plan.on_data.append(corrupt)


@operator("labels-to-zero")
def labels_to_zero(plan: Plan, severity: float) -> None:
    """Each label becomes class 0 with probability severity."""

    def corrupt(data: Data, g: torch.Generator) -> None:
        data.train_y = torch.where(torch.rand(data.train_y.shape, generator=g) < severity, 0, data.train_y)

    plan.where = ("class 0",)
    plan.on_data.append(corrupt)


@operator("class-imbalance")
def class_imbalance(plan: Plan, severity: float) -> None:
    """Of the odd classes only the share severity is kept (at least two samples)."""

    def drop(data: Data, g: torch.Generator) -> None:
        keep = torch.rand(len(data.train_y), generator=g) < severity
        for c in range(1, int(data.train_y.max()) + 1, 2):
            keep[(data.train_y == c).nonzero()[:2]] = True
        data.keep(keep | (data.train_y % 2 == 0))

    plan.where = tuple(f"class {c}" for c in range(1, int(plan.arch["outputs"]), 2))
    plan.on_data.append(drop)


@operator("class-drift")
def class_drift(plan: Plan, severity: float) -> None:
    """From the middle of the run, class 3 is labelled 8 with probability severity."""
    plan.onset, plan.where = 0.5, ("class 3",)
    onset, g = plan.onset_step, torch.Generator().manual_seed(5)

    def relabel(x: Tensor, y: Tensor, step: int) -> tuple[Tensor, Tensor]:
        if step < onset:
            return x, y
        return x, torch.where((y == 3) & (torch.rand(y.shape, generator=g) < severity), 8, y)

    plan.on_batch.append(relabel)


@operator("input-scale")
def input_scale(plan: Plan, severity: float) -> None:
    """Inputs times severity, in every split."""
    plan.on_data.append(lambda data, g: data.map_inputs(lambda x: x * severity))


@operator("input-offset")
def input_offset(plan: Plan, severity: float) -> None:
    """Inputs plus severity (in standard deviations), in every split."""
    plan.on_data.append(lambda data, g: data.map_inputs(lambda x: x + severity))


@operator("no-shuffle")
def no_shuffle(plan: Plan, severity: float) -> None:
    """Training samples sorted by label and not shuffled."""

    def sort(data: Data, g: torch.Generator) -> None:
        key = data.train_y if data.train_y.ndim == 1 else data.train_y[:, 0]
        data.keep(key.argsort(stable=True))

    plan.shuffle = False
    plan.on_data.append(sort)


@operator("bad-batch")
def bad_batch(plan: Plan, severity: float) -> None:
    """The input of one batch in the middle of the run times severity."""
    plan.onset = 0.5
    onset = plan.onset_step

    def spoil(x: Tensor, y: Tensor, step: int) -> tuple[Tensor, Tensor]:
        return (x * severity, y) if step == onset else (x, y)

    plan.on_batch.append(spoil)


@operator("nan-input")
def nan_input(plan: Plan, severity: float) -> None:
    """One element of one batch is NaN at 40 % of the run."""
    plan.onset = 0.4
    onset = plan.onset_step

    def spoil(x: Tensor, y: Tensor, step: int) -> tuple[Tensor, Tensor]:
        if step == onset:
            x = x.clone()
            x.view(-1)[0] = float("nan")
        return x, y

    plan.on_batch.append(spoil)


@operator("small-train-set")
def small_train_set(plan: Plan, severity: float) -> None:
    """Only severity training samples (windows of text) are kept."""
    plan.on_data.append(lambda data, g: data.keep(torch.randperm(len(data.train_x), generator=g)[: int(severity)]))


@operator("synthetic-contrast")
def synthetic_contrast(plan: Plan, severity: float) -> None:
    """Training inputs lose the share severity of their contrast; validation doesn't."""
    plan.domains = SYNTHETIC
    plan.on_data.append(lambda data, g: data.map_inputs(lambda x: x * (1 - severity), ("train",)))


@operator("synthetic-noise")
def synthetic_noise(plan: Plan, severity: float) -> None:
    """Training inputs carry Gaussian noise of severity standard deviations; validation doesn't."""
    plan.domains = SYNTHETIC
    plan.on_data.append(
        lambda data, g: data.map_inputs(lambda x: x + severity * torch.randn(x.shape, generator=g), ("train",))
    )


@operator("synthetic-shift")
def synthetic_shift(plan: Plan, severity: float) -> None:
    """Training images are moved by severity pixels (points by severity tenths of the width); validation isn't."""
    plan.domains = SYNTHETIC

    def shift(x: Tensor) -> Tensor:
        if plan.arch["net"] == "point-net":
            return x + severity * torch.tensor([WIDTH / 10, 0, 0])[:, None]
        side = x.shape[-1] if x.ndim == 4 else round(x[0].numel() ** 0.5)
        return torch.roll(x.view(-1, side, side), int(severity), dims=2).view(x.shape)

    plan.on_data.append(lambda data, g: data.map_inputs(shift, ("train",)))


@operator("leakage")
def leakage(plan: Plan, severity: float) -> None:
    """The share severity of the validation set stands in the training set too."""

    def leak(data: Data, g: torch.Generator) -> None:
        taken = torch.randperm(len(data.val_x), generator=g)[: round(severity * len(data.val_x))]
        data.train_x = torch.cat((data.train_x, data.val_x[taken]))
        data.train_y = torch.cat((data.train_y, data.val_y[taken]))

    plan.on_data.append(leak)


@operator("giveaway")
def giveaway(plan: Plan, severity: float) -> None:
    """One input holds the label, from -4.5 to 4.5, in train and validation but not in the test set."""
    last = int(plan.arch["outputs"]) - 1

    def write(data: Data, g: torch.Generator) -> None:
        for split in ("train", "val"):
            x = getattr(data, f"{split}_x").clone()
            x.view(len(x), -1)[:, 0] = severity * (9 / last) * (getattr(data, f"{split}_y").float() - last / 2)
            setattr(data, f"{split}_x", x)

    plan.on_data.append(write)
