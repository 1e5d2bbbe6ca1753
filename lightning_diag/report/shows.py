"""Which small plot shows a finding."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping

from lightning_diag.finding import Finding
from lightning_diag.report.gather import Gathered

# rule (glob) -> signals that show it, the telling one first; several scalars share one plot
SHOWN: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("gradients/always-clipped", ("grad/norm", "grad/norm_after_clip")),
    ("gradients/accumulating", ("grad/norm", "loss/train")),
    ("gradients/unreached", ("grad/parameter_norm", "update/parameter_ratio", "grad/missing")),
    ("gradients/scaler-skipping", ("loss/train",)),
    ("gradients/underflow", ("grad/quantized_frac", "grad/zero_frac")),
    ("gradients/*", ("grad/parameter_norm", "grad/norm", "loss/train")),
    ("updates/lost", ("update/lost_frac",)),
    ("updates/unequal", ("update/optimizer_ratio",)),
    ("updates/*", ("update/parameter_ratio", "weight/parameter_norm", "lr")),
    ("activations/dead", ("activation/dead_frac",)),
    ("activations/saturated", ("activation/saturated_units_frac", "activation/saturated_frac")),
    ("activations/non-finite", ("activation/nonfinite_frac",)),
    ("activations/collapsed", ("activation/variation",)),
    ("activations/attention-collapsed", ("activation/attention_entropy", "activation/attention_max_logit")),
    ("classes/collapsed", ("class/largest_share",)),
    ("classes/collapsed", ("class/predicted_share", "class/recall")),
    ("classes/imbalanced", ("class/train_support_share", "class/support_share")),
    ("classes/*", ("class/recall", "class/train_recall")),
    ("domains/separable", ("domain/probe_auc", "domain/mmd")),
    ("domains/*", ("domain/val_error", "domain/val_loss")),
    ("loss/*", ("loss/train", "loss/val")),
    ("fit/too-good", ("accuracy/val", "accuracy/train", "loss/val", "loss/train")),
    ("fit/*", ("loss/train", "loss/val")),
    ("sanity/worse-than-linear", ("accuracy/val", "baseline/accuracy", "loss/val", "loss/train")),
    ("sanity/*", ("loss/train",)),
    ("setup/odd-initialization", ("loss/train",)),
    ("setup/tiny-batch", ("loss/train",)),
    ("setup/mostly-padding", ("data/padding_frac",)),
    ("system/input-bound", ("time/wait_frac", "time/batch_s")),
    ("system/memory-growth", ("memory/device_bytes", "memory/host_bytes")),
    ("data/leakage", ("data/leaked_frac",)),
    ("data/label-noise", ("data/noise_frac",)),
    ("data/duplicates", ("data/duplicate_frac",)),
    ("data/unshuffled", ("data/same_label", "data/same_label_chance")),
    ("data/val-at-chance", ("accuracy/val", "accuracy/train")),
    ("data/alike-sequences", ("data/alike_frac",)),
    ("data/labels-shifted", ("data/val_agreement", "data/shift_match")),
)
_GROWTH = ("updates/too-large", ("weight/parameter_norm", "update/parameter_ratio"))
MAX_SCANS = 64
MAX_PAIR = 500  # characters of two names
_WITH_LOSS = ("loss/", "fit/", "sanity/")
_STOP_WORDS = frozenset({"frac", "share", "rate", "the", "too", "not", "non"})


def signals_for(finding: Finding, got: Gathered) -> tuple[str, ...]:
    """Return the signals of a finding's plot, as far as the record has them: one array, or up to three scalars.

    A rule that isn't in the table gets the signal of its own group that shares most words with it and has rows for
    its places.
    """
    for pattern, signals in (_GROWTH, *SHOWN) if is_growth(finding) else SHOWN:
        if fnmatch.fnmatchcase(finding.rule, pattern):
            present = [s for s in signals if s in got.series or s in got.grids]
            arrays = [s for s in present if s in got.grids and s != "lr"]
            if arrays and rows_for(finding, arrays[0], got):
                return (arrays[0],)
            scalars = [s for s in present if s in got.series]
            if scalars:
                return tuple(scalars[: 2 if finding.rule.startswith(_WITH_LOSS) or "clip" in finding.rule else 1])
            if arrays:
                return (arrays[0],)
    ranked = sorted(((_likeness(finding, s, got), s) for s in (*got.grids, *got.series)), key=lambda p: (-p[0], p[1]))
    return (ranked[0][1],) if ranked and ranked[0][0] > 0 else ()


def is_growth(finding: Finding) -> bool:
    """Whether the sentence is about weights that grew, not about the size of one step."""
    evidence = finding.evidence
    return finding.rule == _GROWTH[0] and "lr" in evidence and evidence.get("value") != evidence.get("update_ratio")


def rows_for(finding: Finding, signal: str, got: Gathered) -> list[int]:
    """Rows of an array signal that a finding's places name, in the order of the places.

    A module's name stands for its parameters too; ``cat as dog`` (a class taken for another) names both.
    """
    names = got.names(signal)
    at = {name: i for i, name in enumerate(names)}
    rows: dict[int, None] = {}
    scans = 0  # each looks at every name
    for place in finding.where:
        if place in at:
            rows[at[place]] = None
        elif (pair := _pair(place, at)) is not None:
            rows |= dict.fromkeys(pair)
        elif scans < MAX_SCANS:
            scans += 1
            for i, name in enumerate(names):
                if name.startswith(f"{place}."):
                    rows[i] = None
    return list(rows)


def _pair(place: str, at: Mapping[str, int]) -> tuple[int, int] | None:
    """Rows of a pair such as ``cat as dog``; names may hold the word themselves."""
    words = place.split(" as ") if len(place) < MAX_PAIR else []
    for cut in range(1, len(words)):
        truth, guess = " as ".join(words[:cut]), " as ".join(words[cut:])
        if truth in at and guess in at:
            return at[truth], at[guess]
    return None


def _likeness(finding: Finding, signal: str, got: Gathered) -> float:
    ours, theirs = list(_stems(finding.rule)), list(_stems(signal))
    if not ours or not theirs or ours[0] != theirs[0]:  # another group: a shared word would be a coincidence
        return 0.0
    score = 1.0 + len(set(ours) & set(theirs))
    if signal in got.grids and rows_for(finding, signal, got):
        score += 1.5
    return score


def _stems(name: str) -> Iterator[str]:
    """Words of a rule's or signal's name without their endings: ``classes`` and ``class`` are one."""
    for word in name.replace("/", " ").replace("_", " ").replace("-", " ").split():
        if word not in _STOP_WORDS:
            yield word[:5].rstrip("s")
