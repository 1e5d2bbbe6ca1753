"""What the wiring rules say of healthy trainings (every control of the zoo) and of planted faults in the same networks.

``python -m benchmarks.sanity_rules`` trains the first steps of each and writes ``benchmarks/results/sanity_rules.md``;
``python -m benchmarks.sanity_rules full`` does the same for what ``sanity="full"`` adds, in ``sanity_full.md``.
"""

from __future__ import annotations

import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.zoo.grid import CONTROLS, Config
from benchmarks.zoo.train import _loaders, _quiet, _trainer, prepare
from lightning_diag import Diagnostics, SanityMonitor
from lightning_diag.diagnosis import Diagnosis

STEPS = 165  # past the last look
RESULTS = Path(__file__).parent / "results"
RULES = ("sanity/input-ignored", "sanity/batch-mixing")
FULL = (
    "sanity/cannot-overfit-batch", "sanity/train-eval-gap", "sanity/wrong-gradient", "sanity/random-labels-as-easy",
)  # fmt: skip


class Broken(nn.Module):
    """A network with a fault in front of its last layer, or around it."""

    def __init__(self, net: nn.Module, before: Callable[[Tensor], Tensor], after: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.net, self.before, self.after = net, before, after

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of the network."""
        return self.after(self.net(self.before(x)))


def _same(x: Tensor) -> Tensor:
    return x


def _transposed(x: Tensor) -> Tensor:
    """Dimension 0 and the rest, swapped by a view where a transpose was meant, and back."""
    flat = x.reshape(x.shape[0], -1)
    return flat.view(flat.shape[1], flat.shape[0]).T.reshape(x.shape)


FAULTS: dict[str, tuple[str, Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "inputs through a wrong view": ("sanity/batch-mixing", _transposed, _same),
    "outputs through a wrong view": ("sanity/batch-mixing", _same, _transposed),
    "softmax over the samples": ("sanity/batch-mixing", _same, lambda out: out.softmax(0)),
    "minus the mean over the samples": ("sanity/batch-mixing", _same, lambda out: out - out.mean(0, keepdim=True)),
    "the first sample's input for all": ("sanity/batch-mixing", lambda x: x[:1].expand(x.shape).clone(), _same),
    "inputs replaced by zeros": ("sanity/input-ignored", torch.zeros_like, _same),
    "outputs times zero": ("sanity/input-ignored", _same, lambda out: out * 0 + out.new_ones(out.shape)),
}
FAULTY_TASKS = ("mlp", "cnn", "res", "lstm", "tfm", "ae", "reg")


FULL_FAULTS: list[tuple[str, Config]] = [
    (FULL[0], Config(task, operator, severity, 0))
    for operator, severity, tasks in (
        ("sign-flip", 1.0, ("mlp", "cnn", "res")), ("double-softmax", 1.0, ("mlp", "cnn", "res", "deep")),
        ("sigmoid-depth", 12.0, ("deep",)), ("constant-init", 0.0, ("mlp", "cnn")), ("init-down", 0.01, ("deep",)),
        ("hidden-bias", -3.0, ("mlp", "cnn")), ("dropout", 0.95, ("mlp", "lstm")), ("lr-down", 0.001, ("mlp", "cnn")),
    )
    for task in tasks
]  # fmt: skip
FULL_FAULTS += [(FULL[3], Config(t, "random-labels", 1.0, seed)) for t in ("mlp", "cnn", "res") for seed in (0, 1, 10)]


class Flipped(torch.autograd.Function):
    """The identity, with a gradient of the wrong sign."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Return the same."""
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """Return its opposite."""
        return -gradient


def frozen_statistics(net: nn.Module) -> nn.Module:
    """Batch norm whose running statistics hardly move."""
    for part in net.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.momentum = 1e-5
    return net


CHANGED: list[tuple[str, str, str, float, Callable[[nn.Module], nn.Module]]] = [
    (FULL[1], "res", "healthy", 0.0, frozen_statistics),
    (FULL[1], "mlp", "norm-batch", 1.0, frozen_statistics),
    (FULL[1], "deep", "norm-batch", 1.0, frozen_statistics),
    *((FULL[2], task, "healthy", 0.0, lambda net: Broken(net, _same, Flipped.apply)) for task in FAULTY_TASKS),
]  # fmt: skip


def told(config: Config, change: Callable[[nn.Module], nn.Module] | None = None, *, full: bool = False) -> Diagnosis:
    """Train the first steps of a zoo run and return what was found."""
    torch.set_num_threads(1)
    plan, data, module = prepare(config)
    if change is not None:
        module.net = change(module.get_submodule("net"))
    train, val = _loaders(plan, data, config.seed)
    diag = Diagnostics([SanityMonitor(full=full)], sinks=[])
    with tempfile.TemporaryDirectory() as folder:
        _trainer(plan, 2 if full else min(plan.steps, STEPS), len(train), [diag], Path(folder)).fit(module, train, val)
    return diag.diagnosis


def healthy(*, full: bool) -> list[tuple[str, Diagnosis]]:
    """Every control of the zoo."""
    groups = [(t, o, float(s)) for o, (tasks, severities, _) in CONTROLS.items() for t in tasks for s in severities]
    return [(Config(*group, 0).name, told(Config(*group, 0), full=full)) for group in groups]


def faulty() -> list[tuple[str, str, Diagnosis]]:
    """Every planted fault in every network it fits."""
    made: list[tuple[str, str, Diagnosis]] = []
    for name, (rule, before, after) in FAULTS.items():
        for task in FAULTY_TASKS:
            if task in ("lstm", "tfm") and before is not _same and rule.endswith("ignored"):
                continue  # zeros are tokens, too, but an embedding of them is what it is
            if task == "reg" and "outputs through" in name:
                continue  # one column: nothing to mix
            run = Config(task, "healthy", 0.0, 0)
            made.append((f"{task}, {name}", rule, told(run, lambda net, b=before, a=after: Broken(net, b, a))))  # type: ignore[misc]
    return made


def fully_faulty() -> list[tuple[str, str, Diagnosis]]:
    """Every fault that needs a training on the side."""
    made = [(config.name, rule, told(config, full=True)) for rule, config in FULL_FAULTS]
    for rule, task, operator, severity, change in CHANGED:
        diagnosis = told(Config(task, operator, severity, 0), change, full=True)
        made.append((f"{task}, {operator}, {rule.partition('/')[2]} planted", rule, diagnosis))
    return made


def page(*, full: bool) -> str:
    """The results as Markdown."""
    rules = FULL if full else RULES
    good, bad = healthy(full=full), fully_faulty() if full else faulty()
    versions = f"Python {platform.python_version()}, torch {torch.__version__}, NumPy {np.__version__}"
    which = 'sanity="full": copies trained on the first batch' if full else f"The first {STEPS} steps of each run"
    command = "python -m benchmarks.sanity_rules" + (" full" if full else "")
    lines = [
        "# Wiring rules on small real trainings", "",
        f"{time.strftime('%Y-%m-%d')}, {versions}, one CPU thread, one seed. {which}. `{command}` makes this page.", "",
        "| rule | judged | warnings on healthy runs | any finding on healthy runs | found on planted faults | warned |",
        "| --- | --- | --- | --- | --- | --- |",
    ]  # fmt: skip
    for rule in rules:
        judged = [d for _, d in good if rule in d.coverage.ran]
        said = [f for d in judged for f in d.findings if f.rule == rule]
        planted = [d for _, r, d in bad if r == rule]
        found = [f for d in planted for f in d.findings if f.rule == rule]
        lines.append(
            f"| `{rule}` | {len(judged)} of {len(good)} | {_warned(said)}/{len(judged)} | {len(said)}/{len(judged)} | "
            f"{len(found)}/{len(planted)} | {_warned(found)}/{len(planted)} |"
        )
    lines += ["", "## Healthy runs that were told something", ""]
    lines += [
        f"- {n}: {f.rule}, {f.severity}: {f.message}" for n, d in good for f in d.findings if f.rule in rules
    ] or ["None."]
    lines += ["", "## Healthy runs that were not judged", ""]
    lines += [f"- {n}: {r}: {d.coverage.skipped[r]}" for n, d in good for r in rules if r in d.coverage.skipped] or [
        "None."
    ]
    lines += ["", "## Planted faults", "", "| run | findings |", "| --- | --- |"]
    for name, _, d in bad:
        told_here = "; ".join(
            f"{f.rule} ({f.severity})" + (f" in {', '.join(f.where)}" if f.where else "")
            for f in d.findings
            if f.rule in rules
        )
        lines.append(f"| {name} | {told_here or '-'} |")
    return "\n".join(lines) + "\n"


def _warned(findings: list[Any]) -> int:
    return sum(f.severity >= 1 for f in findings)


if __name__ == "__main__":
    _quiet()
    everything = sys.argv[1:] == ["full"]
    text = page(full=everything)
    (RESULTS / ("sanity_full.md" if everything else "sanity_rules.md")).write_text(text, encoding="utf-8")
    print(text)
