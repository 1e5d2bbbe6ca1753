"""The nets that are trained, and the user's module around them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.data import DataLoader, TensorDataset


class Block(nn.Module):
    """Basic residual block of ResNet-18 (He et al. 2016)."""

    def __init__(self, cin: int, cout: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(cout), nn.BatchNorm2d(cout)
        self.conv2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False)
        self.relu = nn.ReLU(inplace=True)
        self.short = nn.Sequential()
        if stride != 1 or cin != cout:
            self.short = nn.Sequential(nn.Conv2d(cin, cout, 1, stride, bias=False), nn.BatchNorm2d(cout))

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores."""
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(out + self.short(x))


def resnet18() -> nn.Module:
    """ResNet-18 for 32 x 32 images: 62 parameter tensors, 11.2 M parameters."""
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True)]
    for cin, cout, stride in ((64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2)):
        layers += [Block(cin, cout, stride), Block(cout, cout, 1)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


class Transformer(nn.Module):
    """A small GPT: 5 M parameters, width 256, 6 layers, 4 heads, context 128, vocabulary 512."""

    def __init__(
        self, width: int = 256, layers: int = 6, vocabulary: int = 512, context: int = 128, heads: int = 4
    ) -> None:
        super().__init__()
        self.token, self.position = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
        layer = nn.TransformerEncoderLayer(width, heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(context))

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores."""
        h = self.token(x) + self.position.weight[: x.shape[1]]
        return self.head(self.norm(self.body(h, mask=self.mask, is_causal=True)))


def mlp200() -> nn.Module:
    """100 layers of width 128: 200 parameter tensors, a step of a few milliseconds."""
    layers: list[nn.Module] = []
    for _ in range(99):
        layers += [nn.Linear(128, 128), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(128, 10))


class Bottleneck(nn.Module):
    """Bottleneck block of ResNet-50 (He et al. 2016)."""

    def __init__(self, cin: int, mid: int, stride: int) -> None:
        super().__init__()
        cout = 4 * mid
        self.body = nn.Sequential(
            nn.Conv2d(cin, mid, 1, bias=False), nn.BatchNorm2d(mid), nn.ReLU(inplace=True),
            nn.Conv2d(mid, mid, 3, stride, 1, bias=False), nn.BatchNorm2d(mid), nn.ReLU(inplace=True),
            nn.Conv2d(mid, cout, 1, bias=False), nn.BatchNorm2d(cout),
        )  # fmt: skip
        self.relu = nn.ReLU(inplace=True)
        self.short = nn.Sequential()
        if stride != 1 or cin != cout:
            self.short = nn.Sequential(nn.Conv2d(cin, cout, 1, stride, bias=False), nn.BatchNorm2d(cout))

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores."""
        return self.relu(self.body(x) + self.short(x))


def resnet50() -> nn.Module:
    """ResNet-50 for 224 x 224 images, channels last: 161 parameter tensors, 25.6 M parameters."""
    layers: list[nn.Module] = [
        nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1),
    ]  # fmt: skip
    cin = 64
    for mid, count, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for i in range(count):
            layers.append(Bottleneck(cin, mid, stride if i == 0 else 1))
            cin = 4 * mid
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 1000))
    return net.to(memory_format=torch.channels_last)


def gpt2() -> nn.Module:
    """GPT-2's sizes: 124 M parameters, width 768, 12 layers, 12 heads, context 1024, vocabulary 50,304."""
    return Transformer(768, 12, 50_304, 1024, heads=12)


def gpt2_compiled() -> nn.Module:
    """The same, compiled."""
    net = gpt2()
    net.compile()
    return net


def stack1b() -> nn.Module:
    """A stack of 1 B parameters: width 2048, 20 layers, 16 heads."""
    return Transformer(2048, 20, 4096, 1024, heads=16)


class Task(pl.LightningModule):
    """A user's module: a net, cross-entropy, AdamW."""

    def __init__(self, net: nn.Module, text: bool) -> None:
        super().__init__()
        self.net, self.text = net, text

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return the loss."""
        x, y = batch
        out = self.net(x)
        return F.cross_entropy(out.movedim(-1, 1) if self.text else out, y)

    def configure_optimizers(self) -> Any:
        """AdamW, small steps."""
        return torch.optim.AdamW(self.parameters(), lr=1e-4)


def images(count: int, side: int, classes: int) -> TensorDataset:
    """Random images and labels."""
    g = torch.Generator().manual_seed(0)
    return TensorDataset(torch.randn(count, 3, side, side, generator=g), torch.randint(classes, (count,), generator=g))


def text(count: int, length: int, vocabulary: int) -> TensorDataset:
    """Random sequences and the next token at each position."""
    ids = torch.randint(vocabulary, (count, length + 1), generator=torch.Generator().manual_seed(0))
    return TensorDataset(ids[:, :-1], ids[:, 1:])


def vectors() -> TensorDataset:
    """Random vectors and labels."""
    g = torch.Generator().manual_seed(0)
    return TensorDataset(torch.randn(2048, 128, generator=g), torch.randint(10, (2048,), generator=g))


@dataclass(frozen=True)
class Net:
    """One line of the benchmark.

    Attributes:
        make: builds the network.
        data: builds the data set.
        batch: samples a batch.
        steps: measured steps of a block.
        warmup: steps before them, so that the denser start of a run is over.
        precision: Lightning's.
        gpu: whether it is meant for a GPU.
    """

    make: Callable[[], nn.Module]
    data: Callable[[], TensorDataset]
    batch: int
    steps: int
    warmup: int
    precision: Any = "32-true"
    gpu: bool = False

    @property
    def text(self) -> bool:
        """Whether each position has a label."""
        return self.make in (Transformer, gpt2, gpt2_compiled, stack1b)

    def loader(self) -> DataLoader[Any]:
        """Return the batches."""
        return DataLoader(self.data(), batch_size=self.batch)


NETS: dict[str, Net] = {
    "cnn": Net(resnet18, lambda: images(256, 32, 10), 64, 8, 4),
    "gpt": Net(Transformer, lambda: text(64, 128, 512), 8, 20, 10),
    "mlp": Net(mlp200, vectors, 64, 300, 60),
    "resnet50": Net(resnet50, lambda: images(512, 224, 1000), 256, 100, 100, "bf16-mixed", True),
    "gpt2": Net(gpt2, lambda: text(64, 1024, 50_304), 8, 100, 100, "bf16-mixed", True),
    "gpt2-compiled": Net(gpt2_compiled, lambda: text(64, 1024, 50_304), 8, 100, 100, "bf16-mixed", True),
    "stack1b": Net(stack1b, lambda: text(32, 1024, 4096), 4, 50, 50, "bf16-mixed", True),
}


def train(name: str, callbacks: list[Any], steps: int, device: str = "cpu") -> None:
    """Train a net for so many steps with these callbacks and nothing else that costs."""
    net = NETS[name]
    pl.seed_everything(0, verbose=False)
    with tempfile.TemporaryDirectory() as folder:
        trainer = pl.Trainer(
            max_steps=steps, max_epochs=-1, accelerator=device, devices=1, logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder,
            precision=net.precision if device == "cuda" else "32-true", callbacks=callbacks,
        )  # fmt: skip
        trainer.fit(Task(net.make(), net.text), net.loader())
