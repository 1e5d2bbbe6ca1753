"""Every way to train that the tests know: a name and a :class:`Setup`."""

from __future__ import annotations

from functools import partial
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import StochasticWeightAveraging
from lightning.pytorch.plugins import MixedPrecision
from torch import nn

from tests.setups import modules as m
from tests.setups.harness import GRADIENTS, LOSS, Endless, Setup, batches


def scaled(**scaler: Any) -> dict[str, Any]:
    """Return a trainer's arguments for float16 with a gradient scaler, on the CPU."""
    plugin = MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", **scaler))
    return {"plugins": [plugin]}


def averaging() -> dict[str, Any]:
    """Return a trainer's arguments for an exponential moving average of the weights."""
    made = pl.callbacks.WeightAveraging(avg_fn=torch.optim.swa_utils.get_ema_avg_fn(0.9))
    return {"callbacks": [made]}


SETUPS: dict[str, Setup] = {
    # optimization
    "automatic optimization": Setup(m.Plain),
    "a learning rate scheduler": Setup(m.Scheduled),
    "manual optimization, two optimizers, clipped": Setup(m.Two, readings=7),
    "manual optimization, accumulating": Setup(m.ManualWindow, steps=6, readings=12),
    "a GAN with toggle_optimizer": Setup(m.Gan, readings=7),
    "accumulation of 3 batches": Setup(m.Plain, partial(dict, accumulate_grad_batches=3), steps=8),
    "clipping by norm": Setup(m.Plain, partial(dict, gradient_clip_val=0.1)),
    "clipping by value": Setup(m.Plain, partial(dict, gradient_clip_val=0.01, gradient_clip_algorithm="value")),
    "LBFGS": Setup(m.Lbfgs, steps=5),
    "no optimizer": Setup(
        m.NoOptimizer, partial(dict, max_epochs=2), steps=-1, readings=12, measured=("loss/train", "grad/norm")
    ),
    "training_step that returns None": Setup(m.Skips, measured=LOSS, readings=14),
    # precision
    "16-mixed with a gradient scaler": Setup(m.Plain, partial(scaled, init_scale=2.0**30)),
    "16-mixed, fused optimizer": Setup(m.Fused, partial(scaled, init_scale=2.0**10)),
    "bf16-mixed": Setup(lambda: m.Plain(m.convolutional()), partial(dict, precision="bf16-mixed")),
    "bf16-true": Setup(m.Plain, partial(dict, precision="bf16-true")),
    "16-true": Setup(m.Scheduled, partial(dict, precision="16-true")),
    "64-true": Setup(m.Plain, partial(dict, precision="64-true")),
    # models
    "batch norm, operations in place": Setup(lambda: m.Plain(m.convolutional())),
    "an operation in place after a layer": Setup(lambda: m.Plain(m.InPlace())),
    "activation checkpointing, reentrant": Setup(lambda: m.Plain(m.Checkpointed(reentrant=True))),
    "activation checkpointing, not reentrant": Setup(lambda: m.Plain(m.Checkpointed(reentrant=False))),
    "a frozen backbone with its batch norm in eval mode": Setup(m.FrozenBody),
    "adapters on frozen layers": Setup(
        lambda: m.Plain(nn.Sequential(m.Adapter(nn.Linear(64, 16)), nn.ReLU(), m.Adapter(nn.Linear(16, 10))))
    ),
    "a network that remembers its calls": Setup(m.Remembers),
    "tied weights": Setup(lambda: m.Plain(m.Tied())),
    "LSTM": Setup(lambda: m.Plain(m.Recurrent())),
    "GRU": Setup(lambda: m.Plain(m.Recurrent(nn.GRU))),
    # callbacks that own weights
    "SWA": Setup(
        m.Plain, lambda: {"callbacks": [StochasticWeightAveraging(1e-2, 1)], "max_epochs": 4}, steps=-1, readings=24
    ),
    # length and validation
    "overfit_batches": Setup(m.Plain, partial(dict, overfit_batches=2)),
    "fast_dev_run": Setup(m.Plain, partial(dict, fast_dev_run=3), readings=3),
    "limit_train_batches, limit_val_batches": Setup(m.Plain, partial(dict, limit_train_batches=3, limit_val_batches=1)),
    "val_check_interval": Setup(m.Plain, partial(dict, val_check_interval=2), measured=(*GRADIENTS, "loss/val")),
    "no validation": Setup(m.Plain, val=lambda: None),
    "a stream without length": Setup(
        m.Plain, partial(dict, val_check_interval=5, check_val_every_n_epoch=None), partial(batches, Endless())
    ),
    # batches
    **{
        f"batches: {kind}": Setup(m.Unpacks, train=partial(m.Batches, kind))
        for kind in ("dict", "named tuple", "(dict, tuple)", "mapping of its own", "tensor subclass")
    },
    # torch.compile
    "torch.compile of the network": Setup(m.Compiled, slow=True),
    "net.compile()": Setup(partial(m.Compiled, in_place=True), slow=True),
}  # fmt: skip

if hasattr(pl.callbacks, "WeightAveraging"):
    SETUPS["EMA (WeightAveraging)"] = Setup(m.Plain, averaging)
