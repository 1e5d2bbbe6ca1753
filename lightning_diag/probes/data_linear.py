"""A linear baseline, fitted on the fly: what a linear model reaches on the raw inputs that the network gets."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from lightning_diag.probes.base import Batch, Probe, Scene, Values
from lightning_diag.probes.batch_fields import find_input
from lightning_diag.probes.constants import constant
from lightning_diag.probes.data_inputs import rows_of, sums_of
from lightning_diag.probes.domain_sums import wide

MAX_CLASSES = 100
SHRINKAGE = 0.1  # share of the average variance that is added to each input's: tames few samples and constant inputs
LEAST = 10  # samples an input and class, on average, below which nothing is fitted


class LinearBaselineProbe(Probe):
    """Sums over sampled training batches give a linear model at each validation pass, which is scored on that pass.

    Classes: linear discriminant analysis with a shared covariance; numbers: ridge regression. Both from up to 256
    strided inputs and first and second moments in float64 (one matrix product a sampled batch, one solve a pass, no
    sync). Fitted on what the loss saw, wrong labels and all: what is left to blame is how the network was trained.

    References:
        Hastie, Tibshirani & Friedman, The Elements of Statistical Learning, sections 4.3 and 3.4.
    """

    signals = ("baseline/accuracy", "baseline/error", "baseline/samples")
    kept = ("_moments", "_by_class", "_counts", "_seen")

    def attach(self, scene: Scene) -> dict[str, str]:
        self._moments: Tensor | None = None  # (F + 1, F + 1 [+ targets]): sums of products of inputs, 1 and targets
        self._by_class: Tensor | None = None  # (K, F): sums
        self._counts: Tensor | None = None  # (K,)
        self._scene = scene
        self._seen = 0
        self._model: tuple[Tensor, Tensor] | None = None
        self._scores: Tensor | None = None
        return {}

    def observed(self, batch: Batch) -> None:
        pair = None if batch.observed else _pair(batch)
        if pair is None:
            return
        x, target, classes = pair
        ones = torch.cat([x, constant(1.0, x.device, x.dtype).expand(len(x), 1)], 1)
        right = ones if classes else torch.cat([ones, wide(target).reshape(len(x), -1)], 1)
        made = ones.T @ right
        if self._moments is None or self._moments.shape != made.shape:
            self._moments, self._by_class, self._counts, self._seen = torch.zeros_like(made), None, None, 0
        self._moments = self._moments + made
        self._seen += len(x)
        if classes:
            self._add_classes(sums_of(batch, target, classes))

    def _add_classes(self, made: Tensor | None) -> None:
        assert made is not None
        counts, sums, _ = made.unbind(0)
        if self._by_class is None or self._by_class.shape != sums.shape or self._counts is None:
            self._by_class, self._counts = torch.zeros_like(sums), torch.zeros_like(counts[:, 0])
        self._by_class = self._by_class + sums
        self._counts = self._counts + counts[:, 0]

    def validation_start(self) -> None:
        self._scores, self._model = None, None
        if self._moments is None or any(loader.borrowed for loader in self._scene.loaders()[1]):
            return
        inputs = self._moments.shape[0] - 1
        if self._seen < LEAST * (inputs if self._counts is None else max(len(self._counts), inputs // 4)):
            return
        if self._counts is not None and self._by_class is not None:
            self._model = _discriminant(self._moments, self._by_class, self._counts)
        else:
            self._model = _ridge(self._moments)

    def validation_batch(self, batch: Batch) -> None:
        pair = None if self._model is None else _pair(batch)
        if pair is None or self._model is None:
            return
        x, target, classes = pair
        weight, bias = self._model
        if x.shape[1] != weight.shape[0] or bool(classes) != (self._counts is not None):
            return
        answer = x @ weight + bias
        if classes:
            good = wide((answer.argmax(1) == target) & (target >= 0)).sum()
        else:
            good = (answer - wide(target).reshape(len(x), -1)).square().mean(1).sum()
        made = torch.stack([good, good.new_full((), float(len(x)))])
        self._scores = made if self._scores is None else self._scores + made

    def validation_end(self, metrics: Mapping[str, Tensor]) -> Values:
        scores, self._scores = self._scores, None
        if scores is None:
            return []
        name = "baseline/accuracy" if self._counts is not None else "baseline/error"
        return [(name, scores[0] / scores[1]), ("baseline/samples", scores[1])]

    def detach(self) -> None:
        self._moments = self._by_class = self._counts = self._model = None


def _pair(batch: Batch) -> tuple[Tensor, Tensor, int] | None:
    """Inputs ``(B, F)`` in float64, target, and number of classes (0: numbers); None where it isn't so plain."""
    seen, given = batch.observation, find_input(batch.batch)
    if seen is None or seen.target is None or given is None or given.is_sparse or given.is_nested:
        return None
    x, target = rows_of(batch), seen.target
    if x is None or target.ndim == 0 or target.shape[0] != x.shape[0]:
        return None
    if target.is_floating_point():
        small = target.numel() <= 8 * len(x) and target.numel() < given.numel()  # not an autoencoder's
        return (x, target.detach(), 0) if small else None
    if target.ndim != 1 or seen.logits is None or seen.logits.ndim != 2 or not 1 < seen.logits.shape[1] <= MAX_CLASSES:
        return None
    return x, target.detach(), seen.logits.shape[1]


def _covariance(moments: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Count, mean ``(F,)`` and covariance ``(F, F)``."""
    inputs = moments.shape[0] - 1
    n = moments[inputs, inputs].clamp_min(1)
    mean = moments[:inputs, inputs] / n
    return n, mean, moments[:inputs, :inputs] / n - torch.outer(mean, mean)


def _shrunk(covariance: Tensor) -> Tensor:
    level = covariance.diagonal().mean().clamp_min(1e-12)
    return covariance + torch.eye(len(covariance), dtype=covariance.dtype, device=covariance.device) * SHRINKAGE * level


def _discriminant(moments: Tensor, by_class: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Weight ``(F, K)`` and bias ``(K,)`` of linear discriminant analysis."""
    n, mean, covariance = _covariance(moments)
    share = counts / n
    means = by_class / counts.clamp_min(1)[:, None]
    centred = (means - mean) * (counts > 0)[:, None]
    within = covariance - centred.T @ (centred * share[:, None])
    weight, _ = torch.linalg.solve_ex(_shrunk(within), centred.T)
    bias = -(weight * (centred.T / 2 + mean[:, None])).sum(0) + share.clamp_min(1e-6).log()
    return weight, torch.where(counts > 0, bias, -torch.inf)


def _ridge(moments: Tensor) -> tuple[Tensor, Tensor]:
    """Weight ``(F, T)`` and bias ``(T,)`` of ridge regression."""
    inputs = moments.shape[0] - 1
    n, mean, covariance = _covariance(moments)
    target = moments[inputs, inputs + 1 :] / n
    both = moments[:inputs, inputs + 1 :] / n - torch.outer(mean, target)
    weight, _ = torch.linalg.solve_ex(_shrunk(covariance), both)
    return weight, target - mean @ weight
