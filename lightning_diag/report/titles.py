"""What a signal is called on the page."""

from __future__ import annotations

from lightning_diag.report.words import clean
from lightning_diag.signals import SIGNALS

TITLES = {
    "loss/train": "Training loss",
    "loss/val": "Validation loss",
    "lr": "Learning rate",
    "grad/norm": "Gradient norm",
    "grad/norm_after_clip": "Gradient norm after clipping",
    "grad/clipped": "Steps whose gradient was clipped",
    "grad/parameter_norm": "Gradient norm",
    "grad/missing": "No gradient",
    "weight/parameter_norm": "Weight norm",
    "update/parameter_ratio": "Update-to-weight ratio",
    "accuracy/train": "Training accuracy, running mean",
    "accuracy/val": "Validation accuracy",
    "activation/dead_frac": "Share of dead units",
    "activation/saturated_frac": "Share of saturated outputs",
    "activation/saturated_units_frac": "Share of saturated units",
    "activation/nonfinite_frac": "Share of outputs that are not finite",
    "activation/variation": "Variation between samples",
    "activation/mean": "Mean output",
    "activation/std": "Standard deviation of the output",
    "activation/attention_entropy": "Attention entropy",
    "class/recall": "Recall on validation",
    "class/precision": "Precision on validation",
    "class/train_recall": "Recall in training",
    "class/predicted_share": "Share of the predictions",
    "class/largest_share": "Largest share of the predictions that one class gets",
    "class/support_share": "Share of the validation samples",
    "class/train_support_share": "Share of the training samples",
    "domain/val_error": "Validation error",
    "domain/val_loss": "Validation loss",
    "domain/train_error": "Training error",
    "domain/train_loss": "Training loss",
    "domain/probe_auc": "AUC of a probe that tells the domain",
    "domain/probe_error": "Error of the probe that tells the domain",
    "domain/mmd": "Distance of the features (MMD²)",
    "data/leaked_frac": "Validation samples that have passed in training",
    "data/near_leaked_frac": "Validation samples that are nearly training samples",
    "data/noise_frac": "Training labels that are probably wrong",
    "data/duplicate_frac": "Training rows seen before in the same epoch",
    "baseline/accuracy": "Accuracy of a linear model",
    "time/wait_frac": "Time spent waiting for batches",
    "system/overhead_frac": "Overhead of the diagnostics",
    "system/interval_steps": "Steps between two samples",
}
_UNITS = {"s": "_s", "bytes": "_bytes"}
_WORDS = {"frac": "share", "grad": "gradient", "val": "validation", "std": "standard deviation", "acc": "accuracy"}


def title_of(signal: str) -> str:
    """Return a heading for a signal; made from its name where no better one is known.

    >>> title_of("loss/train"), title_of("domain/val_loss_std")
    ('Training loss', 'Domain validation loss standard deviation')
    """
    if signal in TITLES:
        return TITLES[signal]
    words = clean(signal).removesuffix(_UNITS.get(unit_of(signal), "")).replace("/", " ").replace("_", " ").split()
    text = " ".join(_WORDS.get(word, word) for word in words)
    return text[:1].upper() + text[1:]


def unit_of(signal: str) -> str:
    """Return the unit in words; empty for pure numbers and for what isn't in the table."""
    row = SIGNALS.get(signal)
    return "" if row is None or row.unit == "1" else row.unit


def is_share(signal: str) -> bool:
    """Whether a signal is a share of 0 to 1, shown in percent on a linear axis.

    >>> is_share("activation/dead_frac"), is_share("class/recall"), is_share("update/parameter_ratio")
    (True, True, False)
    """
    if signal.startswith("domain/"):
        return signal.endswith("_error")
    return signal.endswith(("_frac", "_share", "/recall", "/train_recall", "/precision")) or "accuracy" in signal


def doc_of(signal: str) -> str:
    """Return the table's sentence on a signal; empty for what isn't in the table."""
    row = SIGNALS.get(signal)
    return "" if row is None else row.doc
