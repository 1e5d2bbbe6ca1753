"""Whether the loss is a usual one with a usual slip in it: recomputed from outputs and targets, and compared."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the usual name

from lightning_diag.probes.base import Batch, Probe, Scene, Values
from lightning_diag.reading import Reading

SLIPS = (
    "double softmax", "softmax of probabilities", "softmax of sigmoids", "sigmoids as scores", "likelihood of scores",
    "likelihood of probabilities", "double sigmoid", "sigmoids as logits", "broadcast mse", "softmax over the batch",
)  # fmt: skip
ENOUGH = 24  # sampled batches after which a loss that was recognized as a right one is no longer looked at
MOST = 64  # ... and any loss
LARGEST = 2**22  # scores a batch: more than that would cost too much, and a part can't stand for a mean over all
ROUNDING = 1e-3  # by which a row of probabilities may miss 1
ROUNDING_HALF = 2e-2
APART = 10.0  # a slip counts where the right loss is this many times as far off, or it can't be told from it

Pairs = dict[str, Tensor]


class LossSlipProbe(Probe):
    """Recomputes the batch's loss as it would be with each of :data:`SLIPS`; the relative difference tells.

    What is compared, with scores ``o``, integer targets ``y``, ``ce`` cross-entropy, ``s`` softmax and ``g`` sigmoid:
    ``ce(s(o), y)`` (double softmax), ``ce(o, y)`` where each row of ``o`` already is a distribution (softmax of
    probabilities) or lies strictly between 0 and 1 (sigmoids as scores), ``ce(g(o), y)``, ``-mean o_y`` where ``o`` are
    neither probabilities nor their logarithms (likelihood of scores), ``-mean s(o)_y`` or ``-mean o_y`` of
    probabilities; ``-mean o_y`` where each *column* of ``o`` holds logarithms of a distribution, and ``ce(o, y)`` where
    it is one (softmax over the batch). With targets 0 and 1 the same of binary cross-entropy; with numbers the squared
    error of every output against every target, which is what ``(B, 1)`` against ``(B,)`` broadcasts to.

    NaN where it doesn't apply, and where the right loss can't be told from it (all scores equal). The first sampled
    batches alone: 24 where the loss is a right one, else 64.
    """

    signals = ("loss/slip",)
    kept = ("_seen", "_right")

    def attach(self, scene: Scene) -> dict[str, str]:
        self._half = "16" in (scene.facts.precision or "")
        self._seen = 0
        self._right = False
        self._errors: Tensor | None = None
        return {}

    def facts(self) -> Mapping[str, Any]:
        return {"names": {"slip": SLIPS}}

    def observed(self, batch: Batch) -> None:
        if batch.loss is None or self._seen >= (ENOUGH if self._right else MOST):
            return
        self._seen += 1
        loss = batch.loss.detach().float().reshape(())
        with torch.no_grad():
            made = self._made(batch)
            if not made:
                return
            nan = loss.new_full((), math.nan)
            values = torch.stack([made.get(name, nan).float().reshape(()) for name in SLIPS])
        self._errors = (values - loss).abs() / loss.abs().clamp_min(1e-12)

    def collect(self) -> Values:
        errors, self._errors = self._errors, None
        return [] if errors is None else [("loss/slip", errors)]

    def learn(self, reading: Reading) -> Mapping[str, Any]:
        self._right = reading.facts.loss_kind is not None
        return {}

    def detach(self) -> None:
        self._errors = None

    def _made(self, batch: Batch) -> Pairs:
        """The loss of this batch with each slip that applies, scalars on the device."""
        seen = batch.observation
        if seen is None or seen.target is None:
            return {}
        target, scores = seen.target, seen.logits
        if scores is not None and not target.is_floating_point() and scores.ndim == target.ndim + 1:
            flat = scores.detach().float().movedim(1, -1).reshape(-1, scores.shape[1])
            return {} if flat.numel() > LARGEST else self._classes(flat, target.reshape(-1).long())
        output = scores if scores is not None else seen.preds
        if output is None or output.numel() != target.numel() or output.numel() > LARGEST:
            return {}
        return self._numbers(output.detach().float().reshape(-1), target.float().reshape(-1), len(target))

    def _classes(self, scores: Tensor, target: Tensor) -> Pairs:
        classes = scores.shape[1]
        valid = ((target >= 0) & (target < classes)).float()
        safe, count = target.clamp(0, classes - 1)[:, None], valid.sum().clamp_min(1)

        def mean(of: Tensor) -> Tensor:
            return (of.gather(1, safe)[:, 0] * valid).sum() / count

        logs = F.log_softmax(scores, 1)
        shares = logs.exp()
        right, squashed = -mean(logs), scores.sigmoid()
        inside = ((scores > 0) & (scores < 1)).all()
        ones = (scores.sum(1) - 1).abs().amax() < (ROUNDING_HALF if self._half else ROUNDING)
        rows = ones & ((scores >= 0) & (scores <= 1)).all()
        given = (scores.logsumexp(1).abs() < 0.01).all()  # logarithms of probabilities: then it is the right loss
        across = (scores.logsumexp(0).abs() < 0.01).all() & ~given  # the same of each class, over the samples
        summed = ((scores.sum(0) - 1).abs() < ROUNDING).all() & ((scores >= 0) & (scores <= 1)).all() & ~rows
        twice, sigmoids = -mean(F.log_softmax(shares, 1)), -mean(F.log_softmax(squashed, 1))
        return {
            "double softmax": self._unlike(twice, right),
            "softmax of probabilities": _where(rows, right),
            "softmax of sigmoids": self._unlike(sigmoids, right),
            "sigmoids as scores": _where(inside & ~rows & ~summed, right),
            "likelihood of scores": _where(~given & ~rows & ~across, self._unlike(-mean(scores), right)),
            "likelihood of probabilities": self._unlike(-mean(torch.where(rows, scores, shares)), right),
            "softmax over the batch": _where(across | summed, torch.where(summed, right, -mean(scores))),
        }

    def _numbers(self, output: Tensor, target: Tensor, rows: int) -> Pairs:
        right = F.mse_loss(output, target)
        made: Pairs = {}
        if rows == len(target) and rows > 1:
            every = (output - target.mean()).square().mean() + (target - target.mean()).square().mean()
            made["broadcast mse"] = self._unlike(every, right)
        binary, inside = ((target == 0) | (target == 1)).all(), ((output > 0) & (output < 1)).all()
        logits = F.binary_cross_entropy_with_logits(output, target)
        twice = F.binary_cross_entropy_with_logits(output.sigmoid(), target)
        made["double sigmoid"] = _where(binary, self._unlike(twice, logits))
        made["sigmoids as logits"] = _where(binary & inside, logits)
        return made

    def _unlike(self, slip: Tensor, right: Tensor) -> Tensor:
        """The loss with a slip; NaN where the right one is as good as equal to it."""
        tolerance = APART * (1e-2 if self._half else 1e-4)
        return _where((slip - right).abs() > tolerance * right.abs(), slip)


def _where(holds: Tensor, value: Tensor) -> Tensor:
    return torch.where(holds, value, torch.full_like(value, math.nan))
