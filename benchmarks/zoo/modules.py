"""The LightningModule of all tasks but the GAN: what a user would write, plus the places where a plan cuts in."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.zoo.plan import SHARES, Plan


def _flat(logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Classes last: ``(b, t, c), (b, t)`` -> ``(b t, c), (b t,)``; leaves ``(b, c), (b,)`` alone."""
    return logits.flatten(0, -2), y.flatten()


def _one_hot_mse(logits: Tensor, y: Tensor) -> Tensor:
    return functional.mse_loss(logits, functional.one_hot(y, logits.shape[-1]).to(logits.dtype))


_two = functional.binary_cross_entropy_with_logits

Loss = Callable[..., Tensor]
# of outputs and targets; those of classes take their weights as well
LOSSES: dict[str, Loss] = {
    "cross-entropy": lambda p, y, **w: functional.cross_entropy(*_flat(p, y), **w),
    "label-smoothing": lambda p, y, **w: functional.cross_entropy(*_flat(p, y), label_smoothing=0.1, **w),
    "sum": lambda p, y, **w: functional.cross_entropy(*_flat(p, y), reduction="sum", **w),
    "double-softmax": lambda p, y, **w: functional.cross_entropy(_flat(p.softmax(-1), y)[0], y.flatten(), **w),
    "negative": lambda p, y, **w: -functional.cross_entropy(*_flat(p, y), **w),
    "mse-one-hot": _one_hot_mse,
    "mse": lambda p, y: functional.mse_loss(p, y),
    "negative-mse": lambda p, y: -functional.mse_loss(p, y),
}
# the same of logits and labels 0 or 1 of one shape
LABELS: dict[str, Loss] = {
    "cross-entropy": _two,
    "label-smoothing": lambda p, y: _two(p, 0.9 * y + 0.05),
    "sum": lambda p, y: _two(p, y, reduction="sum"),
    "double-softmax": lambda p, y: _two(p.sigmoid(), y),
    "negative": lambda p, y: -_two(p, y),
    "mse-one-hot": functional.mse_loss,
}


def _of_one(loss: Loss) -> Loss:
    return lambda p, y: loss(p[:, 0], y.float())


# of one logit ``(b, 1)`` for two classes ``(b,)``; of pixels ``(b, c, h, w)`` and their classes ``(b, h, w)``
BINARY = {name: _of_one(loss) for name, loss in LABELS.items()}
PIXELS: dict[str, Loss] = {
    "cross-entropy": functional.cross_entropy,
    "negative": lambda p, y: -functional.cross_entropy(p, y),
}


def weight_of(plan: Plan) -> Tensor | None:
    """What each class counts in the loss."""
    return torch.tensor(plan.class_weights) if plan.class_weights else None


def loss_of(plan: Plan) -> Loss:
    """The loss that a plan names."""
    if plan.kind == "classification" and plan.arch["outputs"] == 1:
        return BINARY[plan.loss]
    loss = {"multi-label": LABELS, "segmentation": PIXELS}.get(plan.kind, LOSSES)[plan.loss]
    weight = weight_of(plan)
    return loss if weight is None else partial(loss, weight=weight)


def decided(plan: Plan, out: Tensor) -> Tensor:
    """Classes ``(b,)`` from a classifier's outputs ``(b, c)``, or ``(b, 1)`` for two: mse's halfway is 0.5."""
    if out.shape[-1] > 1:
        return out.argmax(-1)
    return (out[:, 0] > (0.5 if plan.loss == "mse-one-hot" else 0)).long()


def optimizer(plan: Plan, parameters: Iterable[nn.Parameter], factor: float = 1.0) -> torch.optim.Optimizer:
    """The optimizer of a plan over these parameters."""
    lr = plan.lr * factor
    if plan.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr=lr, momentum=0.9, weight_decay=plan.weight_decay)
    kind = torch.optim.AdamW if plan.optimizer == "adamw" else torch.optim.Adam
    return kind(parameters, lr=lr, betas=plan.betas, eps=plan.eps, weight_decay=plan.weight_decay)


class Supervised(pl.LightningModule):
    """Classifier, language model, regression or autoencoder."""

    def __init__(self, plan: Plan, net: nn.Module) -> None:
        super().__init__()
        self.plan = plan
        self.net = net
        self.loss = loss_of(plan)
        if plan.on_gradient is not None:
            for p in net.parameters():
                if p.requires_grad:
                    p.register_hook(plan.on_gradient)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of the network."""
        out: Tensor = self.net(x)
        return out

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """One step."""
        x, y = batch
        for change in self.plan.on_batch:
            x, y = change(x, y, self.global_step)
        if y.ndim == 2 and self.plan.kind == "classification":  # mixed or soft targets
            loss = functional.cross_entropy(self(x), y, weight=weight_of(self.plan))
        else:
            loss = self.loss(self(x), y)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Loss and the share that is right, as a user logs them."""
        x, y = batch
        out = self(x)
        self.log("val_loss", self.loss(out, y), prog_bar=True)
        if self.plan.kind in SHARES:
            name = {"multi-label": "val_f1", "segmentation": "val_iou"}.get(self.plan.kind, "val_acc")
            self.log(name, right(self.plan, out, y), prog_bar=True)

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: Any) -> None:
        """Left out where the plan says so."""
        if self.plan.zero_grad:
            optimizer.zero_grad()

    def configure_optimizers(self) -> Any:
        """As the plan says."""
        trained = [p for name, p in self.named_parameters() if p.requires_grad and name not in self.plan.untrained]
        opt = optimizer(self.plan, trained)
        if self.plan.schedule is None:
            return opt
        schedule, steps = self.plan.schedule, self.plan.steps
        rate = torch.optim.lr_scheduler.LambdaLR(opt, lambda step: schedule(step, steps))
        return {"optimizer": opt, "lr_scheduler": {"scheduler": rate, "interval": "step"}}


def right(plan: Plan, out: Tensor, y: Tensor) -> Tensor:
    """Share that is right: accuracy; F1 over all labels; intersection over union, mean of the classes there are."""
    if plan.kind == "classification":
        return (decided(plan, out) == y).float().mean()
    if plan.kind == "multi-label":
        said = (out > (0.5 if plan.loss == "mse-one-hot" else 0)).float()
        return 2 * (said * y).sum() / (said.sum() + y.sum()).clamp(min=1)
    said, classes = out.argmax(1), out.shape[1]
    hits, of_y, of_said = (torch.bincount(z, minlength=classes) for z in (y[said == y], y.flatten(), said.flatten()))
    union = of_y + of_said - hits
    return (hits / union.clamp(min=1))[union > 0].mean()


@torch.no_grad()
def metric(plan: Plan, net: nn.Module, x: Tensor, y: Tensor) -> float:
    """Final score on clean data, higher is better: a share, or minus the loss (nats a character, or MSE)."""
    net.eval().float()
    out = net(x)
    if not bool(torch.isfinite(out).all()):
        return 0.0 if plan.kind in SHARES else float("-inf")
    if plan.kind in SHARES:
        return float(right(plan, out, y))
    return -float(LOSSES["cross-entropy" if plan.kind == "language-model" else "mse"](out, y))
