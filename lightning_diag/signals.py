"""Every series that is measured, in one table: name, unit, axis, how ranks merge it, what leaves to a logger.

A signal that isn't in :data:`SIGNALS` can't be put into a packet. Logger keys are ``diag/<name>`` for a scalar and
``diag/<name>/<statistic>`` for an array, so their number doesn't grow with the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Merge = Literal["mean", "sum", "max", "same", "norm", "ranks", "host", "rows"]
Statistic = Literal["value", "min", "median", "max"]
PREFIX = "diag/"


@dataclass(frozen=True)
class Signal:
    """One row of the table.

    Attributes:
        name: ``group/name``.
        unit: unit in words; ``loss`` means the units of the user's loss.
        axis: what an array's first dimension counts (``parameter``, ``module`` ...); None for a scalar.
        merge: how ranks combine: ``mean``, ``sum``, ``max``, ``same`` (equal on all ranks by construction), ``norm``
            (the same, but root of the sum of squares where parameters are sharded), ``ranks`` (one entry a rank) or
            ``host`` (made on the host, never merged).
        logged: what leaves to loggers; empty = only the record and detectors see it.
        doc: one sentence.
        weight: signal that weighs the ranks in a mean; empty = all count the same.
    """

    name: str
    unit: str
    axis: str | None
    merge: Merge
    logged: tuple[Statistic, ...]
    doc: str
    weight: str = ""


def _table(*rows: Signal) -> dict[str, Signal]:
    table = {row.name: row for row in rows}
    if len(table) != len(rows):
        raise ValueError("a signal is listed twice")
    return table


_V: tuple[Statistic, ...] = ("value",)
_SPREAD: tuple[Statistic, ...] = ("min", "median", "max")

SIGNALS: dict[str, Signal] = _table(
    # every optimizer step
    Signal("loss/train", "loss", None, "mean", _V, "training loss of the step, mean of its micro-batches, undivided"),
    Signal("scaler/scale", "1", None, "same", (), "loss scale after the step, under a gradient scaler (float16)"),
    Signal("scaler/skipped", "0 or 1", None, "same", (), "1 where the scaler skipped the step"),
    # sampled steps: optimization
    Signal("lr", "1", "group", "same", ("max",), "learning rate of each parameter group"),
    Signal("grad/norm", "loss/weight", None, "norm", _V, "L2 norm of all gradients, unscaled, accumulated, pre-clip"),
    Signal("grad/norm_after_clip", "loss/weight", None, "norm", _V, "the same after clipping"),
    Signal("grad/clipped", "0 or 1", None, "same", _V, "whether clipping changed the gradients of this step"),
    Signal("grad/parameter_norm", "loss/weight", "parameter", "norm", _SPREAD, "pre-clip L2 norm per parameter"),
    Signal("grad/optimizer_norm", "loss/weight", "optimizer", "norm", (), "the same for each of several optimizers"),
    Signal("update/optimizer_ratio", "1", "optimizer", "host", (), "norm of each one's step over that of its weights"),
    Signal("optimizer/shared_loss", "0 or 1", None, "same", (), "of several: 1 where all step on the batch's one loss"),
    Signal("grad/carried_norm", "loss/weight", None, "norm", (), "norm of gradients there before the step's backward"),
    Signal(
        "grad/along", "loss", None, "same", (), "inner product of the gradient with the weights' change since a sample"
    ),
    Signal("optimizer/weight_decay", "1", "group", "same", (), "weight decay of each parameter group"),
    Signal("grad/missing", "0 or 1", "parameter", "same", (), "1 where a trainable parameter has no gradient"),
    Signal("weight/parameter_norm", "weight", "parameter", "norm", (), "L2 norm per parameter, from a strided sample"),
    Signal("weight/distance", "weight", "parameter", "norm", (), "L2 norm of its change since the first sample"),
    Signal(
        "weight/kurtosis", "1", "parameter", "same", (), "of its elements at first: 1.8 uniform, 3 normal, 0 all equal"
    ),
    Signal("weight/called", "0 or 1", "parameter", "same", (), "1 where the first sampled step called its module"),
    Signal("mode/dropout", "0 or 1", "dropout", "same", (), "1 where a layer is in evaluation mode in training; once"),
    Signal("mode/batch_norm", "0 to 2", "batch_norm", "same", (), "the same; 2 with statistics as they began"),
    Signal("update/parameter_norm", "weight", "parameter", "norm", (), "norm of the step's change; only if sharded"),
    Signal("update/parameter_ratio", "1", "parameter", "same", _SPREAD, "norm of the step's change over weight norm"),
    Signal("grad/zero_frac", "1", None, "mean", (), "share of gradients that are exactly 0, from a strided sample"),
    Signal("grad/quantized_frac", "1", None, "mean", (), "share of the others that are 1 to 32 times the least"),
    Signal("update/lost_frac", "1", None, "mean", (), "share of weights with a gradient that a step left unchanged"),
    # sampled steps: activations, from a strided sample of rows and units; NaN where a module has no such thing
    Signal("activation/dead_frac", "1", "module", "mean", ("max",), "share of units never active in the window"),
    Signal("activation/window_samples", "rows", "module", "same", (), "rows seen so far: positions of samples"),
    Signal("activation/saturated_frac", "1", "module", "mean", ("max",), "share of values where f is flat: f' < 5 %"),
    Signal("activation/saturated_units_frac", "1", "module", "mean", (), "share of units there for 95 % of their rows"),
    Signal("activation/mean", "activation", "module", "mean", (), "mean of the module's output"),
    Signal("activation/std", "activation", "module", "mean", (), "standard deviation of the module's output"),
    Signal("activation/nonfinite_frac", "1", "module", "mean", ("max",), "share of the output that is NaN or infinite"),
    Signal("activation/variation", "1", "module", "mean", ("min",), "RMS deviation between samples over RMS"),
    Signal("activation/attention_entropy", "1", "module", "mean", ("min",), "entropy over uniform, median head"),
    Signal("activation/attention_entropy_min", "1", "module", "mean", (), "the same of the sharpest head"),
    Signal("activation/attention_max_logit", "1", "module", "mean", (), "largest absolute attention logit"),
    Signal("activation/call_order", "1", "module", "same", (), "rank of the module's first call in the step, from 0"),
    # sampled steps: which loss this is, and what the best constant predictor would reach
    Signal("chance/error", "1", "candidate", "mean", (), "relative difference of the loss to each candidate"),
    Signal("chance/loss", "loss", "candidate", "mean", (), "loss of the best constant predictor under each candidate"),
    Signal("chance/smoothing", "1", None, "mean", (), "label smoothing that would explain the loss"),
    Signal("loss/slip", "1", "slip", "mean", (), "relative difference of the loss to a usual one with this slip in it"),
    Signal("chance/coverage", "1", None, "mean", (), "share of the classes outputs could stand for that were targets"),
    Signal("chance/floor", "loss", None, "mean", (), "lowest loss under that label smoothing"),
    # once, at the first loss that is not finite
    Signal("origin/input", "0 or 1", "input", "mean", (), "1 where an input tensor of the batch held such a value"),
    Signal("origin/weight", "0 or 1", "parameter", "mean", (), "1 where a weight was non-finite before the step"),
    Signal(
        "origin/module",
        "0 or 1",
        "submodule",
        "mean",
        (),
        "the first module with one: 1 made of finite inputs, 0 given",
    ),
    # the data, sampled steps; raw rows become what follows them on the host, and are neither recorded nor judged
    Signal("data/train_rows", "1", "sample", "rows", (), "(n, 9): key in 3 parts, label, margin, other, epoch, id"),
    Signal("data/val_rows", "1", "sample", "rows", (), "(n, 5): key of the content in 3 parts, loader, position"),
    Signal("data/picture_rows", "1", "sample", "rows", (), "key of a suspect in 3 parts, C, H, W, pixels; at most 16"),
    Signal("data/suspects", "1", "suspect", "host", (), "(n, 9) probably wrong labels, see sinks/suspects.py"),
    Signal("data/suspect_pictures", "1", "suspect", "host", (), "pictures of at most 16 of them: never recorded"),
    Signal("data/found", "0 or 1", None, "same", (), "(4,): were input, samples, target, predictions found"),
    Signal("data/train_sketches", "1", "sample", "rows", (), "(n, 8): key in 3 parts, 120 signs of projections in 5"),
    Signal("data/val_sketches", "1", "sample", "rows", (), "the same of validation samples"),
    Signal("data/near_frac", "1", None, "same", (), "share of training samples with a nearly equal one among them"),
    Signal("data/near_leaked_frac", "1", None, "same", _V, "share of validation samples that are nearly training ones"),
    Signal("data/near_leaked_samples", "samples", None, "same", (), "how many these are"),
    Signal("data/samples", "samples", None, "same", (), "different training samples that have passed"),
    Signal("data/kept_frac", "1", None, "same", (), "share of the samples that is remembered"),
    Signal("data/duplicate_frac", "1", None, "same", _V, "share of training rows seen before in the same epoch"),
    Signal("data/renewed_frac", "1", None, "same", (), "share of rows after the first epoch that are new: augmented"),
    Signal("data/conflict_frac", "1", None, "same", (), "share of training samples that came with several labels"),
    Signal("data/leaked_frac", "1", None, "same", _V, "share of validation samples that have passed in training"),
    Signal("data/leaked_samples", "samples", None, "same", (), "how many these are"),
    Signal("data/noise_frac", "1", None, "same", _V, "share of training labels that are probably wrong"),
    Signal("data/noise_samples", "samples", None, "same", (), "samples that estimate is of"),
    Signal("data/noise_depth", "1", None, "same", (), "share of the negative mean margins that are that deep"),
    Signal("data/noise_margin", "logit", None, "same", (), "median mean margin of labels the network agrees with"),
    Signal("data/noise_seen", "margins", None, "same", (), "margins a sample that estimate is of, on average"),
    Signal(
        "data/noise_rate", "1", None, "same", (), "share of labels in the lower of two fitted components of margins"
    ),
    Signal("data/noise_error", "1", None, "same", (), "standard error of that share"),
    Signal("data/noise_low", "1", None, "same", (), "mean of that component over the usual margin"),
    Signal("data/noise_high", "1", None, "same", (), "mean of the other component over the usual margin"),
    Signal("data/feature_mean", "input", "feature", "mean", (), "mean of each input feature so far, (F,)"),
    Signal("data/feature_std", "input", "feature", "mean", (), "standard deviation of each input feature so far, (F,)"),
    Signal("data/feature_min", "input", "feature", "mean", (), "smallest value of each input feature so far, (F,)"),
    Signal("data/feature_max", "input", "feature", "mean", (), "largest value of each input feature so far, (F,)"),
    Signal("data/feature_batches", "batches", None, "same", (), "sampled batches the features were seen in"),
    Signal("data/nonfinite_frac", "1", None, "mean", (), "share of the batch's inputs that is NaN or infinite"),
    Signal("data/same_label", "1", None, "mean", (), "share of a batch's pairs of samples that share a label"),
    Signal("data/same_label_chance", "1", None, "mean", (), "the same over all labels so far: a shuffled batch's"),
    Signal("data/target_mean", "target", None, "mean", (), "mean of a batch's targets, regression"),
    Signal("data/target_std", "target", None, "mean", (), "standard deviation of a batch's targets"),
    Signal("data/shift_match", "1", "shift", "mean", (), "share of targets that are the input 0, 1, 2 positions on"),
    Signal("data/shift_astray", "1", "likeness", "mean", (), "of those that aren't the next: how alike they are, (3,)"),
    Signal("data/class_r2", "1", "feature", "mean", (), "share of each feature's variance between classes, (F,)"),
    Signal("data/class_r2_chance", "1", None, "mean", (), "the largest of these, labels permuted within batches"),
    Signal("data/val_agreement", "1", None, "mean", (), "correlation of classes' mean inputs, train and validation"),
    Signal("data/padding_told_by", "code", None, "max", (), "1 mask, 2 lengths, 3 padding_idx, 4 tail; 0 no sequences"),
    Signal("data/padding_frac", "1", None, "mean", (), "share of a batch's positions that are padding, NaN: unknown"),
    Signal("data/padding_beyond_frac", "1", None, "mean", (), "share of them beyond the batch's longest sample"),
    Signal("data/sequence_length", "positions", None, "mean", (), "positions a sample, padding counted"),
    Signal("data/alike_frac", "1", None, "mean", (), "share of sequences equal to their neighbour in the batch"),
    # one validation pass: a linear model of the raw inputs, fitted on the sampled training batches
    Signal("baseline/accuracy", "1", None, "mean", _V, "validation accuracy of that model", "baseline/samples"),
    Signal("baseline/error", "target^2", None, "mean", _V, "its mean squared validation error", "baseline/samples"),
    Signal("baseline/samples", "samples", None, "sum", (), "validation samples it answered"),
    # the first sampled step, and a few later ones while something is odd: calls made again with changed samples
    Signal("sanity/input_effect", "1", "call", "same", (), "change of a call's output for other inputs, over its RMS"),
    Signal(
        "sanity/mixing", "1", "call", "same", (), "change of other samples' outputs over the changed one's, inf: random"
    ),
    Signal("sanity/looks", "looks", None, "same", (), "looks taken so far; other values are the last look's"),
    Signal("sanity/lost_at", "code", "layer", "same", (), "1 inputs change, outputs don't; 2 neither; 0 both do"),
    Signal("sanity/mixed_at", "code", "layer", "same", (), "1 samples mix in it (3 a norm), 2 before it, 0 neither"),
    # once, with sanity="full": copies of the module, trained on the first batch
    Signal("sanity/fit_loss", "loss", "curve", "same", (), "loss of each step on that batch, one row a way, (C, S)"),
    Signal("sanity/fit_accuracy", "1", None, "same", (), "accuracy on it in training mode, after the best of these"),
    Signal("sanity/fit_chance", "1", None, "same", (), "share of its most frequent target"),
    Signal("sanity/eval_loss", "loss", None, "same", (), "its loss in evaluation mode, after the best of these"),
    Signal(
        "sanity/step_ratio", "1", "try", "same", (), "fall of its loss in one short step over the gradient's promise"
    ),
    # validation and run
    Signal("loss/val", "loss", None, "mean", _V, "mean validation loss of one validation pass", "val/samples"),
    Signal("accuracy/train", "1", None, "mean", _V, "running train accuracy, exponential mean over batches"),
    Signal("accuracy/val", "1", None, "mean", _V, "accuracy of one validation pass", "val/samples"),
    Signal("val/samples", "samples", None, "sum", (), "samples seen in one validation pass"),
    Signal("val/alike", "0 or 1", None, "mean", (), "1 where training and validation ran alike since the pass before"),
    # one validation pass, and the sampled training batches since the pass before; K classes
    Signal("class/support", "samples", "class", "sum", (), "validation samples (pixels, tokens) of each class, (K,)"),
    Signal("class/right", "samples", "class", "sum", (), "of these, how many were predicted as that class, (K,)"),
    Signal("class/predicted", "samples", "class", "sum", (), "samples predicted as each class, (K,)"),
    Signal("class/confusion", "samples", "class", "sum", (), "true x predicted counts, (K, K), up to 64 classes"),
    Signal("class/error", "1", "class", "host", _SPREAD, "validation error of each class, NaN without samples, (K,)"),
    Signal("class/train_support", "samples", "class", "sum", (), "training samples of each class as the loss saw them"),
    Signal("class/train_right", "samples", "class", "sum", (), "of these, how many were predicted as that class, (K,)"),
    # one validation pass, and the sampled training batches since the pass before; D domains, K classes
    Signal("domain/named", "0 or 1", None, "host", (), "whether any sample's domain was known"),
    Signal("domain/val_samples", "samples", "domain", "sum", (), "validation samples of each domain, (D,)"),
    Signal("domain/val_sums", "1", "domain", "sum", (), "(D, 6): n, sum, squares of errors, the same of losses"),
    Signal("domain/val_class_support", "samples", "domain", "sum", (), "samples of each class, (D, K)"),
    Signal("domain/val_class_right", "samples", "domain", "sum", (), "of these, predicted as that class, (D, K)"),
    Signal("domain/train_samples", "samples", "domain", "sum", (), "training samples seen of each domain, (D,)"),
    Signal("domain/train_sums", "1", "domain", "sum", (), "(D, 6): as of validation, in training mode"),
    Signal("domain/train_class_support", "samples", "domain", "sum", (), "training samples of each class, (D, K)"),
    Signal("domain/train_class_right", "samples", "domain", "sum", (), "of these, predicted as that class, (D, K)"),
    Signal("domain/loader_samples", "samples", "domain", "sum", (), "validation samples by loader, (D, loaders)"),
    Signal("domain/input_sums", "1", "domain", "sum", (), "(D, 9): n, sum, squares of mean, contrast, roughness"),
    # now and then after a validation pass: each domain against the rest; NaN where it can't be compared
    Signal("domain/probe_auc", "1", "domain", "mean", ("max",), "how well a linear probe on features tells it"),
    Signal("domain/probe_p", "1", "domain", "mean", (), "share of 199 permutations that are told at least as well"),
    Signal("domain/probe_error", "1", "domain", "mean", (), "mean of both sides' errors of that probe"),
    Signal("domain/mmd", "1", "domain", "mean", ("max",), "squared maximum mean discrepancy of features, unbiased"),
    Signal("domain/mmd_p", "1", "domain", "mean", (), "share of permutations with at least as large a discrepancy"),
    # sampled steps
    Signal("domain/gradient_cosine", "1", "domain", "mean", (), "(D, D): between gradients of the last layer"),
    Signal("run/ended", "0 or 1", None, "host", (), "present in the one reading after the last step"),
    # made on the host from loss/train, at every step
    Signal("loss/level", "loss", None, "host", _V, "median of the last 32 training losses"),
    Signal("loss/noise", "1", None, "host", (), "robust standard deviation of the detrended log loss over 64 steps"),
    Signal("loss/z", "1", None, "host", (), "deviation of this loss from the level before it, in units of its noise"),
    Signal("loss/best", "loss", None, "host", (), "lowest level so far"),
    Signal("loss/relative", "1", None, "host", _V, "level over chance level (over the first losses if unknown)"),
    # sampled steps: the host's time since the sample before, and memory
    Signal("time/batch_s", "s", None, "mean", _V, "seconds a batch, validation and checkpoints left out"),
    Signal("time/wait_s", "s", None, "mean", (), "seconds of waiting for a batch, the first of an epoch left out"),
    Signal("time/first_wait_s", "s", None, "mean", (), "seconds of waiting for first batches of epochs, summed"),
    Signal("time/batches", "batches", None, "same", (), "batches these are of"),
    Signal("time/wait_frac", "1", None, "mean", _V, "share of the time that was spent waiting for batches"),
    Signal("time/idle_s", "s", None, "mean", (), "seconds the device had nothing to do while a batch was fetched"),
    Signal("time/elapsed_s", "s", None, "max", (), "seconds since the start"),
    Signal("time/validation_s", "s", None, "max", (), "of these in validation"),
    Signal("time/checkpoint_s", "s", None, "max", (), "of these saving checkpoints"),
    Signal("memory/host_bytes", "bytes", None, "max", _V, "resident memory of the process, without pages of files"),
    Signal("memory/free_bytes", "bytes", None, "mean", (), "memory that programs on this machine can still get"),
    Signal("memory/device_bytes", "bytes", None, "max", _V, "memory that tensors hold on the device"),
    # several processes: one entry each
    Signal("rank/wait_s", "s", "rank", "ranks", (), "seconds of waiting for a batch in each process, (R,)"),
    Signal("rank/forward_s", "s", "rank", "ranks", (), "seconds from the batch to its loss in each process, (R,)"),
    Signal("rank/weights", "1", "rank", "ranks", (), "(R, 5): turn, halves of a hash, norm, +-1 projection of weights"),
    Signal("rank/batch_hash", "1", "rank", "ranks", (), "(R, 8): halves of hashes of a batch's first 4 samples"),
    Signal(
        "rank/grad_norm", "loss/weight", "rank", "ranks", (), "gradient norm each process has after reduction, (R,)"
    ),
    Signal("rank/loss", "loss", "rank", "ranks", (), "training loss of each process, (R,)"),
    # the pack itself
    Signal("system/overhead_frac", "1", None, "host", _V, "own host time over step time since the start"),
    Signal("system/interval_steps", "steps", None, "host", _V, "steps from one sampled step to the next"),
)


def logged_keys(names: tuple[str, ...] | None = None) -> dict[str, Signal]:
    """Return every logger key that these signals (default: all) can produce, with its signal.

    >>> sorted(logged_keys(("lr", "grad/norm")))
    ['diag/grad/norm', 'diag/lr/max']
    """
    keys: dict[str, Signal] = {}
    for signal in SIGNALS.values() if names is None else (SIGNALS[n] for n in names):
        for statistic in signal.logged:
            suffix = "" if statistic == "value" else f"/{statistic}"
            keys[f"{PREFIX}{signal.name}{suffix}"] = signal
    return keys
