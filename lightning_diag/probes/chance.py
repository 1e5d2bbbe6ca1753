"""What the loss of the best constant predictor is, where the loss function can be recognized."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the usual name

from lightning_diag.observation import Observation
from lightning_diag.probes.base import Batch, Probe, Scene, Values
from lightning_diag.probes.batch_fields import find_input
from lightning_diag.probes.constants import constant
from lightning_diag.probes.observer import are_tokens
from lightning_diag.reading import Reading

CANDIDATES = ("cross-entropy", "cross-entropy (sum)", "bce", "mse", "l1", "mse (one-hot)", "reconstruction mse")
TOLERANCE = 1e-4  # relative: the recomputed loss is the same arithmetic, in float32
TOLERANCE_HALF = 1e-2  # a bfloat16 loss is rounded to 4e-3
MATCHES = 3  # batches in a row that must match before the loss counts as recognized
REFINE = 0.02  # relative change of the chance level that is worth telling
DENSE = 64  # sampled batches that are all recomputed; by then the loss is recognized or isn't one of the candidates
SPARSE = 10  # afterwards every so many of them refine the chance level
MAX_CLASSES = 65_536
MAX_SMOOTHING = 0.5
COVERED = 0.9  # share of the classes which outputs could stand for that were targets: then they stand for them
LABELS = 10  # labels a class from which it is known that they don't
ASTRAY = 0.2  # share of targets beyond the last class (one value may mean "ignore")
SOURCES = {"c": "entropy of the labels", "b": "entropy of the labels", "m": "variance of the target"}  # by first letter


class ChanceProbe(Probe):
    """Recomputes the batch's loss from captured outputs and targets; what matches tells the chance level.

    - cross-entropy (mean or sum; with label smoothing, whose strength is solved for): entropy of the labels seen so
      far, and for smoothing the entropy of the smoothed labels;
    - binary cross-entropy with logits: mean entropy of the label frequencies per output;
    - mean squared error on the target, on one-hot labels, or on the input (autoencoders): variance per element;
    - mean absolute error: mean absolute deviation (from the running mean, an upper bound within a few percent).

    Also tells whether outputs of a fitting shape are scores of the classes at all: where the loss is recognized as one
    of them, where input and target are tokens, or where nine of ten classes were targets. An encoder's 64 features
    beside labels of ten classes are none.

    Formulas: the constant that minimizes the expected loss is the label distribution, the mean, or the median (Hastie,
    Tibshirani & Friedman, *The Elements of Statistical Learning*, section 2.4). Nothing is assumed: where no candidate
    matches three batches in a row (within 1e-4, in half precision 1e-2), chance stays unknown. The first 64 sampled
    batches are recomputed, afterwards every 10th of them.
    """

    kept = ("_seen", "_sums", "_matched", "_smoothings", "_known", "_classes")
    signals = ("chance/error", "chance/loss", "chance/smoothing", "chance/floor", "chance/coverage")

    def attach(self, scene: Scene) -> dict[str, str]:
        self._seen = 0
        self._sums: dict[str, Tensor] = {}
        self._errors: Tensor | None = None
        self._levels: Tensor | None = None
        self._smoothing: list[Tensor] = []
        self._matched = [0] * len(CANDIDATES)
        self._smoothings: list[float] = []
        self._known: tuple[str, float] = ("", math.nan)
        half = "16" in (scene.facts.precision or "")
        self._tolerance = TOLERANCE_HALF if half else TOLERANCE
        self._classes: int | None = None
        self._tokens = False
        self._coverage: Tensor | None = None
        return {}

    def facts(self) -> Mapping[str, Any]:
        return {"names": {"candidate": CANDIDATES}}

    def observed(self, batch: Batch) -> None:
        if batch.loss is None:
            return
        self._seen += 1
        if self._seen > DENSE and self._seen % SPARSE:
            return
        loss = batch.loss.float().reshape(())
        if not (made := {**self._supervised(batch, loss), **self._reconstruction(batch)}):
            return
        nan = loss.new_full((), math.nan)
        pairs = [made.get(name, (nan, nan)) for name in CANDIDATES]
        losses, self._levels = torch.stack([v for v, _ in pairs]), torch.stack([level for _, level in pairs])
        self._errors = ((losses - loss) / loss.abs().clamp_min(1e-12)).abs()

    def collect(self) -> Values:
        if self._errors is None or self._levels is None:
            return []
        values: Values = [("chance/error", self._errors), ("chance/loss", self._levels)]
        if self._smoothing:
            values += [("chance/smoothing", self._smoothing[0]), ("chance/floor", self._smoothing[1])]
        if self._coverage is not None:
            values.append(("chance/coverage", self._coverage))
        self._errors = self._levels = self._coverage = None
        self._smoothing = []
        return values

    def learn(self, reading: Reading) -> Mapping[str, Any]:
        errors, levels = reading.vector("chance/error"), reading.vector("chance/loss")
        if errors is None or levels is None:
            return {}
        matched = errors <= self._tolerance
        self._matched = [n + 1 if hit else 0 for n, hit in zip(self._matched, matched, strict=True)]
        best = int(np.argmax(self._matched))
        if self._matched[best] >= MATCHES:
            known = self._tell(CANDIDATES[best], float(levels[best]), 0.0)
            new = not reading.facts.class_scores and self._task(CANDIDATES[best]) != "regression"
            return {"class_scores": True, **known} if new else known  # also where all labels are one: no chance level
        return self._learn_smoothing(reading) or self._learn_coverage(reading)

    def detach(self) -> None:
        self._sums.clear()
        self._errors = self._levels = None

    def _learn_smoothing(self, reading: Reading) -> Mapping[str, Any]:
        epsilon, floor = reading.scalar("chance/smoothing"), reading.scalar("chance/floor")
        if epsilon is None or floor is None or not 1e-3 < epsilon < MAX_SMOOTHING:
            self._smoothings.clear()
            return {}
        self._smoothings.append(epsilon)
        recent = self._smoothings[-MATCHES:]
        if len(recent) < MATCHES or max(recent) - min(recent) > 2e-3 or not self._classes:
            return {}
        labels = reading.vector("chance/loss")
        entropy = math.nan if labels is None else float(labels[0])
        # Smoothing moves the label distribution towards uniform; its entropy is bounded by both ends.
        level = (1 - epsilon) * entropy + epsilon * math.log(self._classes)
        known = self._tell(f"cross-entropy (label smoothing {epsilon:.2g})", level, floor)
        return {"class_scores": True, **known} if known else known

    def _learn_coverage(self, reading: Reading) -> Mapping[str, Any]:
        """Whether outputs are scores of classes, where no loss says so."""
        coverage = reading.scalar("chance/coverage")
        if coverage is None or not math.isfinite(coverage) or reading.facts.class_scores is not None:
            return {}
        if coverage >= COVERED:
            return {"class_scores": True}
        return {"class_scores": False} if self._seen >= DENSE else {}

    def _tell(self, kind: str, level: float, floor: float) -> Mapping[str, Any]:
        if not level > 0 or (kind == self._known[0] and abs(level / self._known[1] - 1) < REFINE):
            return {}
        self._known = (kind, level)
        known: dict[str, Any] = {
            "loss_kind": kind,
            "chance_loss": level,
            "loss_floor": floor,
            "task": self._task(kind),
            "chance_source": SOURCES.get(kind[0], "spread of the target"),
        }
        if known["task"] != "regression" and self._classes:
            known["num_classes"] = self._classes
        return known

    def _task(self, kind: str) -> str:
        if self._tokens and kind.startswith("cross"):
            return "language-model"
        return "classification" if kind.startswith(("cross", "bce", "mse (one")) else "regression"

    def _supervised(self, batch: Batch, loss: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """Candidate name -> (loss of this batch, chance level so far), both scalars on the device."""
        seen = batch.observation
        if seen is None or seen.target is None:
            return {}
        if seen.logits is not None and not seen.target.is_floating_point() and seen.logits.ndim == seen.target.ndim + 1:
            self._tokens = are_tokens(find_input(batch.batch), seen.target)
            return self._classification(seen, seen.logits, loss)
        output = seen.logits if seen.logits is not None else seen.preds
        if output is None or output.numel() != seen.target.numel():
            return {}
        return self._elementwise(output.float(), seen.target.float().reshape(output.shape))

    def _classification(self, seen: Observation, logits: Tensor, loss: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        classes = logits.shape[1]
        if classes > MAX_CLASSES:
            return {}
        self._classes = classes
        flat = logits.float().movedim(1, -1).reshape(-1, classes)
        safe, weight = seen.labels.reshape(-1), seen.valid.reshape(-1).float()
        share = self._label_shares(safe, weight, classes)
        self._coverage = self._covered(share, seen, classes)
        entropy = torch.special.entr(share).sum()
        logp = F.log_softmax(flat, dim=1)
        count = weight.sum().clamp_min(1)
        own = torch.stack([logp.gather(1, safe[:, None])[:, 0], logp.mean(1)])
        both = (own * weight).sum(1).neg()
        nll = both[0]
        mean, uniform = (both / count).unbind(0)
        self._smooth(loss, mean, uniform, classes)
        onehot = torch.zeros_like(flat).scatter_(1, safe[:, None], 1.0)  # ``one_hot`` looks at the values on a CPU
        return {
            "cross-entropy": (mean, entropy),
            "cross-entropy (sum)": (nll, entropy * count),
            "mse (one-hot)": (F.mse_loss(flat, onehot), (share * (1 - share)).mean()),
        }

    def _covered(self, share: Tensor, seen: Observation, classes: int) -> Tensor:
        """Share of the classes that were targets; NaN while labels are too few to say that the others never are."""
        if self._tokens:
            return share.new_ones(())
        assert seen.target is not None
        beyond = (seen.target >= classes).mean(dtype=torch.float32)
        covered = (share > 0).mean(dtype=torch.float32) * (beyond <= ASTRAY)
        few = self._labelled < LABELS * classes
        return torch.where((covered < COVERED) & few, constant(math.nan, share.device), covered)

    def _smooth(self, loss: Tensor, mean: Tensor, uniform: Tensor, classes: int) -> None:
        """Solve ``loss = (1 - e) * mean + e * uniform`` for e; the floor is the entropy of a smoothed label."""
        epsilon = (loss - mean) / (uniform - mean)
        rest = epsilon / classes
        shares = torch.stack([1 - epsilon + rest, rest])
        terms = shares * shares.clamp_min(1e-12).log()
        floor = torch.add(terms[0], terms[1], alpha=classes - 1).neg()
        self._smoothing = [epsilon, floor]

    def _elementwise(self, output: Tensor, target: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        rows = target.reshape(target.shape[0], -1)
        mean, variance, deviation = self._moments("target", rows)
        share = mean.clamp(1e-6, 1 - 1e-6)
        entropy = -(share * share.log() + (1 - share) * (1 - share).log()).mean()
        return {
            "bce": (F.binary_cross_entropy_with_logits(output, target), entropy),
            "mse": (F.mse_loss(output, target), variance.mean()),
            "l1": (F.l1_loss(output, target), deviation),
        }

    def _reconstruction(self, batch: Batch) -> dict[str, tuple[Tensor, Tensor]]:
        source = find_input(batch.batch)
        if source is None or not source.is_floating_point():
            return {}
        output = next((o for o in batch.captured if o.numel() == source.numel()), None)
        if output is None:
            return {}
        rows = source.detach().float().reshape(source.shape[0], -1)
        _, variance, _ = self._moments("input", rows)
        return {"reconstruction mse": (F.mse_loss(output.float().reshape(rows.shape), rows), variance.mean())}

    def _label_shares(self, labels: Tensor, weight: Tensor, classes: int) -> Tensor:
        """Running label frequencies ``(K,)``; a scatter, because ``bincount`` would wait for the device."""
        counts = self._sums.get("labels")
        if counts is None or counts.numel() != classes:
            counts = torch.zeros(classes, device=labels.device, dtype=torch.float32)
        counts = self._sums["labels"] = counts.scatter_add(0, labels, weight)
        self._labelled = counts.sum()
        return counts / self._labelled.clamp_min(1)

    def _moments(self, name: str, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Running mean and variance per column ``(D,)`` of rows ``(N, D)``, and the mean absolute deviation."""
        made = torch.stack([torch.ones_like(rows[0]) * rows.shape[0], rows.sum(0), rows.square().sum(0)])
        old = self._sums.get(name)
        sums = made if old is None or old.shape != made.shape else old + made
        self._sums[name] = sums
        mean = sums[1] / sums[0]
        variance = (sums[2] / sums[0] - mean.square()).clamp_min(0)
        return mean, variance, (rows - mean).abs().mean()
