"""A network from its name and sizes, and its weight matrices."""

from __future__ import annotations

from typing import Any

from torch import nn

from benchmarks.zoo import nets, nets_report

BUILDERS: dict[str, Any] = {
    "mlp": nets.mlp, "cnn": nets.cnn, "resnet": nets.resnet, "recurrent": nets.Recurrent,
    "transformer": nets.Transformer, "autoencoder": nets.autoencoder,
    "vit": nets_report.VisionTransformer, "normed-cnn": nets_report.normed_cnn, "row-reader": nets_report.RowReader,
    "convolutional-autoencoder": nets_report.convolutional_autoencoder,
    "causal-convolutions": nets_report.CausalConvolutions,
}  # fmt: skip


def build(net: str, **arch: Any) -> nn.Module:
    """Build the network ``net`` of :data:`BUILDERS`."""
    module: nn.Module = BUILDERS[net](**arch)
    return module


def matrices(net: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """Weights of two and more dimensions, in order, with the names the LightningModule gives them."""
    return [(f"net.{name}", p) for name, p in net.named_parameters() if p.ndim >= 2 and "position" not in name]
