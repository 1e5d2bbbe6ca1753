"""Every objective by name, and one training of it under the default diagnostics."""

from __future__ import annotations

import logging
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch

from benchmarks.objectives import adaptation, control, generative, probabilistic, similarity, structured
from benchmarks.objectives.base import Objective
from lightning_diag import Diagnostics, Finding

FAMILIES = (generative, similarity, structured, probabilistic, control, adaptation)
OBJECTIVES: dict[str, type[Objective]] = {
    name: found
    for family in FAMILIES
    for name, found in vars(family).items()
    if isinstance(found, type)
    and issubclass(found, Objective)
    and found.loss is not Objective.loss
    and name != "Digits"
}


def train(job: tuple[str, int]) -> dict[str, Any]:
    """Train one objective from one seed; score, seconds and what was found."""
    name, seed = job
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    for logger in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(logger).setLevel(logging.ERROR)
    pl.seed_everything(seed, verbose=False)
    module = OBJECTIVES[name]()
    found: dict[str, Finding] = {}
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        diag = Diagnostics(
            every_n_steps=5, run_dir=Path(folder) / "run", sinks=[], strict=True,
            on_finding=lambda f: found.update({f.rule: max(f, found.get(f.rule, f), key=lambda g: g.severity)}),
        )  # fmt: skip
        trainer = pl.Trainer(
            max_steps=module.steps, accelerator="cpu", logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder, callbacks=[diag],
        )  # fmt: skip
        train_loader, val_loader = module.loaders()
        trainer.fit(module, train_loader, val_loader)
    module.eval()
    with torch.no_grad():
        score = module.score()
    causes = [c.name for c in diag.diagnosis.causes]
    return {
        "name": name, "seed": seed, "score": score, "good": module.good, "steps": module.steps, "causes": causes,
        "seconds": time.monotonic() - start, "findings": [f.to_dict() for f in found.values()],
        "judged": len(diag.diagnosis.coverage.ran),
    }  # fmt: skip
