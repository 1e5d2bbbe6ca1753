"""A network from its name and sizes, and its weight matrices."""

from __future__ import annotations

from typing import Any

from torch import nn

from benchmarks.zoo.nets import first, former, last, previous, report

BUILDERS: dict[str, Any] = {
    "mlp": first.mlp, "cnn": first.cnn, "resnet": first.resnet, "recurrent": first.Recurrent,
    "transformer": first.Transformer, "autoencoder": first.autoencoder,
    "vit": former.VisionTransformer, "normed-cnn": former.normed_cnn, "row-reader": former.RowReader,
    "convolutional-autoencoder": former.convolutional_autoencoder,
    "causal-convolutions": former.CausalConvolutions,
    "mixer": previous.Mixer, "squeeze-excite": previous.squeeze_excite,
    "separable-cnn": previous.separable_cnn, "rotary": previous.RotaryTransformer, "unet": previous.UNet,
    "residual-mlp": previous.ResidualMlp,
    "point-net": last.PointNet, "dense-net": last.dense_net, "column-reader": last.ColumnReader,
    "tied-recurrence": last.TiedRecurrence, "masked-autoencoder": last.MaskedAutoencoder,
    "turn-reader": last.turn_reader, "siamese": last.Siamese,
    "conv-next": report.conv_next, "class-token": report.ClassToken, "line-reader": report.LineReader,
    "inception": report.inception, "stacked-gru": report.StackedGru, "forecaster": report.Forecaster,
    "segmenting-unet": report.SegmentingUNet,
}  # fmt: skip


def build(net: str, **arch: Any) -> nn.Module:
    """Build the network ``net`` of :data:`BUILDERS`."""
    module: nn.Module = BUILDERS[net](**arch)
    return module


def matrices(net: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """Weights of two and more dimensions, in order, with the names the LightningModule gives them."""
    return [(f"net.{name}", p) for name, p in net.named_parameters() if p.ndim >= 2 and "position" not in name]
