"""What the activation probe costs: a training step with it over the same step without it.

``python -m benchmarks.activation_cost`` writes ``benchmarks/results/activation_cost.md`` (1 minute on one core). Pairs
of steps, sampled (or merely hooked) and bare, in alternating order on the same network; the ratio is the median over
pairs of processor times.
"""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.activation_networks import GPT
from benchmarks.activation_rules import table
from benchmarks.gradient_networks import MLP
from lightning_diag.packet import Packet
from lightning_diag.probes.activation import ActivationProbe
from lightning_diag.probes.base import Batch, Scene
from lightning_diag.reading import Facts


class Basic(nn.Module):
    """A basic block of a ResNet with in-place ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.down = (
            nn.Identity()
            if stride == 1 and inputs == outputs
            else nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        )

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102 - what torch expects
        h = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(h + self.down(x))


def resnet18() -> nn.Sequential:
    """ResNet-18 for 32 x 32 images."""
    widths = (64, 64, 128, 256, 512)
    blocks = [
        Basic(widths[i] if k == 0 else widths[i + 1], widths[i + 1], 2 if k == 0 and i else 1)
        for i in range(4)
        for k in range(2)
    ]
    stem = (nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True))
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


def small_cnn() -> nn.Sequential:
    """Three convolutions with batch norm."""
    layers: list[nn.Module] = []
    for inputs, outputs in ((3, 32), (32, 64), (64, 64)):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(1024, 10))


def images(count: int) -> tuple[Tensor, Tensor]:
    """Random images and classes."""
    return torch.randn(count, 3, 32, 32), torch.randint(10, (count,))


def tokens(count: int, length: int) -> tuple[Tensor, Tensor]:
    """Random tokens and their successors."""
    x = torch.randint(256, (count, length + 1))
    return x[:, :-1], x[:, 1:].reshape(-1)


CASES: dict[str, tuple[Callable[[], nn.Module], Callable[[], tuple[Tensor, Tensor]], int]] = {
    "MLP 64-128-128-10, batch 64": (lambda: MLP([64, 128, 128, 10]), lambda: (torch.randn(64, 64), images(64)[1]), 150),
    "CNN of 3 layers, 32x32, batch 64": (small_cnn, lambda: images(64), 40),
    "ResNet-18, 32x32, batch 16": (resnet18, lambda: images(16), 8),
    "GPT of 4 layers, width 128, 8 x 128 tokens": (
        lambda: GPT(128, 4, 4, 256, 128), lambda: tokens(8, 128), 20
    ),
}  # fmt: skip


def step(
    net: nn.Module, optimizer: torch.optim.Optimizer, data: tuple[Tensor, Tensor], probe: ActivationProbe | None
) -> float:
    """One training step, sampled if a probe is given; returns seconds of processor time."""
    start = time.process_time()
    batch = Batch(data, 0)
    if probe is not None:
        probe.batch_start(batch)
    out = net(data[0])
    loss = cross_entropy(out.flatten(0, -2), data[1])
    if probe is not None:
        probe.loss(batch)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if probe is not None:
        Packet.pack(1, 0, 0, "train", probe.collect())
    return time.process_time() - start


def measure(name: str, pairs: int | None = None) -> list[object]:
    """Return a row: modules watched, seconds of a bare step, ratios of a sampled and of a merely hooked step."""
    make, give, many = CASES[name]
    torch.manual_seed(0)
    net, data = make().train(), give()
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-4)
    probe = ActivationProbe()
    times: dict[str, list[float]] = {"bare": [], "hooked": [], "sampled": []}
    for i in range((pairs or many) + 2):
        kinds = ("bare", "hooked", "sampled") if i % 2 else ("sampled", "hooked", "bare")
        for kind in kinds:
            if kind != "bare":
                probe.attach(Scene(net, [optimizer], Facts()))
                if kind == "sampled":
                    step(net, optimizer, data, probe)  # the first sampled step makes the units' memory
            spent = step(net, optimizer, data, probe if kind == "sampled" else None)
            watched = len(probe.sites) or None
            probe.detach()
            if i >= 2:
                times[kind].append(spent)
            if kind == "sampled":
                sites = watched
    ratio = {
        k: statistics.median(a / b for a, b in zip(times[k], times["bare"], strict=True)) for k in ("hooked", "sampled")
    }
    bare = statistics.median(times["bare"])
    extra = 1000 * bare * (ratio["sampled"] - 1)
    return [name, sites, f"{1000 * bare:.1f}", f"{ratio['sampled']:.2f}", f"{extra:.1f}", f"{ratio['hooked']:.2f}"]


def main() -> None:
    """Write the page."""
    torch.set_num_threads(1)
    rows = [measure(name) for name in CASES]
    head = ["training", "places", "bare step (ms)", "sampled over bare", "extra (ms)", "not sampled over bare"]
    lines = [
        "# Cost of the activation probe", "",
        f"{datetime.now(timezone.utc):%Y-%m-%d}, Python {platform.python_version()}, torch {torch.__version__}, CPU, "
        "one thread, processor time, median ratio over pairs of steps in alternating order. Sampled: every step of an "
        "interval of 1; the pack samples as often as its budget allows, so this is the cost of one sample. Not "
        "sampled: hooks that return at once.", "",
        *table(head, rows),
    ]  # fmt: skip
    page = Path(__file__).parent / "results" / "activation_cost.md"
    page.parent.mkdir(exist_ok=True)
    page.write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
