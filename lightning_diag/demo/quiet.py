"""Silence around a training, for the demo only: what Lightning and W&B would say between our own lines."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

# both packages of Lightning: where both are installed, the one imported last says what either has to say
TALKERS = ("lightning.pytorch", "lightning.fabric", "pytorch_lightning", "lightning_fabric", "wandb")
# WandbLogger(offline=True) itself sets WANDB_MODE for the whole process; it is put back too
ENVIRONMENT = {"WANDB_SILENT": "true", "WANDB_CONSOLE": "off", "WANDB_MODE": "offline"}


@contextmanager
def quiet() -> Iterator[None]:
    """Mute Lightning's and W&B's info lines and warnings; put loggers, filters and environment back afterwards."""
    levels = {name: logging.getLogger(name).level for name in TALKERS}
    before = {name: os.environ.get(name) for name in ENVIRONMENT}
    try:
        for name in TALKERS:
            logging.getLogger(name).setLevel(logging.ERROR)
        os.environ.update(ENVIRONMENT)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
