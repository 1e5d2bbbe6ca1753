"""Does one input give the label away? On honest data sets, and on the same with an input that does.

``python -m benchmarks.data_giveaway > benchmarks/results/data_giveaway.md`` (about a minute). No network is trained:
the probe sees the batches of one epoch, the rule what it says after it.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from datetime import datetime, timezone

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from torch import Tensor, nn

from lightning_diag.detectors import DataGiveawayFeature
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding
from lightning_diag.observation import Observation
from lightning_diag.probes.base import Batch, Scene
from lightning_diag.probes.data_features import DataFeatureProbe
from lightning_diag.reading import Facts, Reading

SETS = {"digits": load_digits, "iris": load_iris, "wine": load_wine, "breast cancer": load_breast_cancer}
SEEDS = range(50)
NOISE = (0.02, 0.1, 0.3)  # of the planted input, in differences between neighbouring classes


def loaded(name: str) -> tuple[Tensor, Tensor]:
    """Return the columns and labels of a set; ``outliers``: random numbers with a heavy tail."""
    if name == "outliers":
        rng = np.random.default_rng(0)
        x = rng.standard_t(1, (1500, 20))  # Cauchy: no variance
        return torch.tensor(x, dtype=torch.float32), torch.tensor(rng.integers(0, 4, 1500))
    x, y = SETS[name](return_X_y=True)
    return torch.tensor(x, dtype=torch.float32), torch.tensor(y)


def rare(x: Tensor, y: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """One sample is of a class of its own and far off in one input: all of that input's variance."""
    at = torch.randperm(len(y), generator=generator)[:1]
    x, y = x.clone(), y.clone()
    y[at] = int(y.max()) + 1
    x[at, 0] = 1e4 * x.abs().max()
    return x, y


def told(x: Tensor, y: Tensor, order: Tensor, size: int = 32) -> tuple[Finding | None, float, float] | None:
    """Return the finding, the best input's share and what chance reaches; None where it isn't judged."""
    probe, classes = DataFeatureProbe(), int(y.max()) + 1
    probe.attach(Scene(nn.Linear(1, 1), [], Facts()))
    for at in order.split(size):
        probe.observed(Batch((x[at], y[at]), 0, observation=Observation(y[at], torch.zeros(len(at), classes))))
    values = {name: np.asarray(torch.as_tensor(value)) for name, value in probe.validation_end({})}
    try:
        finding = DataGiveawayFeature().update(Reading(1, 0, values, stage="validation"))
    except NotMeasurable:
        return None
    return finding, float(np.nanmax(values["data/class_r2"])), float(values["data/class_r2_chance"])


def row(name: str, what: str, planted: float | None = None) -> str:
    """One line of the table: the same set in so many orders."""
    found, shares, chances, judged = 0, [], [], 0
    for seed in SEEDS:
        generator = torch.Generator().manual_seed(seed)
        x, y = loaded(name)
        if what == "one of a class":
            x, y = rare(x, y, generator)
        if planted is not None:
            x = torch.cat([x, (y + planted * torch.randn(len(y), generator=generator))[:, None]], 1)
        order = torch.randperm(len(y), generator=generator)
        if what == "sorted":
            order = order[torch.argsort(y[order], stable=True)]
        got = told(x, y, order)
        if got is not None:
            judged += 1
            found += got[0] is not None
            shares.append(got[1])
            chances.append(got[2])
    numbers = f"{np.median(shares):.2f} | {max(chances):.2f}" if judged else "- | -"
    return f"| {name} | {what} | {judged} of {len(SEEDS)} | {found} | {numbers} |"


def report() -> Iterator[str]:
    """The page."""
    yield "# One input that gives the label away\n"
    yield f"{datetime.now(timezone.utc):%Y-%m-%d}, Python {platform.python_version()}, torch {torch.__version__},"
    yield f"NumPy {np.__version__}. One epoch in batches of 32, {len(SEEDS)} orders of each set. `chance`: the largest"
    yield "share of any input where labels are permuted within batches. Made by `python -m benchmarks.data_giveaway`.\n"
    yield "| data | | judged | warned | share of the best input, median | chance, largest |\n|---|---|---|---|---|---|"
    for name in (*SETS, "outliers"):
        for what in ("as it is", "one of a class", "sorted"):
            yield row(name, what)
        if name != "outliers":
            for noise in NOISE:
                yield row(name, f"label beside the inputs, noise {noise:g}", noise)


def main() -> None:
    """Print it."""
    torch.set_num_threads(1)
    for line in report():
        print(line, flush=True)


if __name__ == "__main__":
    main()
