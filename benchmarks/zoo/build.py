"""A network from its name and sizes, and its weight matrices."""

from __future__ import annotations

from typing import Any

from torch import nn

from benchmarks.zoo import nets, nets_former, nets_previous, nets_report

BUILDERS: dict[str, Any] = {
    "mlp": nets.mlp, "cnn": nets.cnn, "resnet": nets.resnet, "recurrent": nets.Recurrent,
    "transformer": nets.Transformer, "autoencoder": nets.autoencoder,
    "vit": nets_former.VisionTransformer, "normed-cnn": nets_former.normed_cnn, "row-reader": nets_former.RowReader,
    "convolutional-autoencoder": nets_former.convolutional_autoencoder,
    "causal-convolutions": nets_former.CausalConvolutions,
    "mixer": nets_previous.Mixer, "squeeze-excite": nets_previous.squeeze_excite,
    "separable-cnn": nets_previous.separable_cnn, "rotary": nets_previous.RotaryTransformer, "unet": nets_previous.UNet,
    "residual-mlp": nets_previous.ResidualMlp,
    "point-net": nets_report.PointNet, "dense-net": nets_report.dense_net, "column-reader": nets_report.ColumnReader,
    "tied-recurrence": nets_report.TiedRecurrence, "masked-autoencoder": nets_report.MaskedAutoencoder,
    "turn-reader": nets_report.turn_reader, "siamese": nets_report.Siamese,
}  # fmt: skip


def build(net: str, **arch: Any) -> nn.Module:
    """Build the network ``net`` of :data:`BUILDERS`."""
    module: nn.Module = BUILDERS[net](**arch)
    return module


def matrices(net: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """Weights of two and more dimensions, in order, with the names the LightningModule gives them."""
    return [(f"net.{name}", p) for name, p in net.named_parameters() if p.ndim >= 2 and "position" not in name]
