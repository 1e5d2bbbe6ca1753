"""What a good linter says of each operator: written down before the detectors were scored.

``must``: any one of these rules, at warning or worse, counts as a hit. ``cause``: names (of
:data:`lightning_diag.diagnosis.CAUSES`) accepted as the first cause; one in :data:`PLANNED_CAUSES` has no pattern yet.
``must_not``: rules whose warning would send the user the wrong way. ``deadline``: share of the run, counted from the
onset, by which a hit is on time. ``place``: whether the run knows names that the finding has to name first.
"""

from __future__ import annotations

from dataclasses import dataclass

RULES = frozenset(
    "gradients/" + r
    for r in ("vanishing", "exploding", "non-finite", "unreached", "always-clipped", "accumulating", "underflow",
              "scaler-skipping")
) | frozenset(
    f"{group}/{r}"
    for group, names in {
        "updates": ("too-large", "too-small", "frozen", "lost", "unequal"),
        "activations": ("dead", "saturated", "non-finite", "collapsed", "attention-collapsed"),
        "loss": ("spike", "diverging", "non-finite", "plateau", "oscillating", "not-learning", "bad-start", "too-slow",
                 "mismatched"),
        "fit": ("overfitting", "underfitting", "over-regularized", "too-good"),
        "classes": ("drift", "collapsed", "neglected", "confused", "imbalanced"),
        "domains": ("gap", "gap-widening", "separable", "wrong-target"),
        "setup": ("odd-initialization",),
        "data": ("leakage", "duplicates", "conflicting-labels", "label-noise", "unnormalized", "unshuffled",
                 "constant-feature", "non-finite", "giveaway-feature", "class-never-target", "labels-shifted"),
        "sanity": ("input-ignored", "batch-mixing", "cannot-overfit-batch", "worse-than-linear"),
    }.items()
    for r in names
)  # fmt: skip

PLANNED_CAUSES = frozenset({"bad-batch"})


@dataclass(frozen=True)
class Truth:
    """See the module's text."""

    must: tuple[str, ...]
    cause: tuple[str, ...]
    deadline: float = 0.3
    place: bool = False
    must_not: tuple[str, ...] = ()


# symptoms that are true of any training procedure that does harm: accepted wherever loss/not-learning is, and, as they
# came later than the rest of this table, added before the report set was scored
_BEHIND = ("loss/too-slow", "sanity/worse-than-linear")
_WEIGHTS = "setup/odd-initialization"  # the same: it says what is wrong by its name
_LOSS = "loss/mismatched"  # the same, added after the report set's third look
_LOST = ("loss/not-learning", "classes/collapsed")
_SLOW = ("updates/too-small", "fit/underfitting", "loss/not-learning", "loss/plateau", *_BEHIND)
_HOT = ("updates/too-large", "loss/diverging", "loss/oscillating", "loss/not-learning", "loss/spike",
        "activations/dead", "activations/attention-collapsed", "gradients/exploding", *_BEHIND)  # fmt: skip
_LABELS = ("data/label-noise", "data/conflicting-labels", "fit/overfitting")


_lr_up = Truth(_HOT, ("learning-rate-too-high",), 0.25, must_not=("gradients/vanishing", "updates/too-small"))
_lr_down = Truth(_SLOW, ("learning-rate-too-low",), 0.6, must_not=("gradients/vanishing", "updates/too-large"))
_spike = Truth(("loss/spike", "loss/diverging", "updates/too-large"), ("unstable", "learning-rate-too-high"), 0.1)
_gap = Truth(("domains/gap", "fit/overfitting"), ("domain-shift", "overfitting"), 0.5)
_unfed = Truth(("gradients/unreached", "updates/frozen"), ("disconnected",), 0.3, place=True,
               must_not=("gradients/vanishing", "activations/dead"))  # fmt: skip

TRUTH: dict[str, Truth] = {
    "lr-up": _lr_up,
    "sgd-lr-up": _lr_up,
    "lr-down": _lr_down,
    "sgd-lr-down": _lr_down,
    "lr-spike": _spike,
    "lr-burst": _spike,
    "bad-batch": Truth(("loss/spike", "data/unnormalized"), ("unstable", "bad-batch"), 0.1),
    "label-noise": Truth(_LABELS, ("bad-labels", "overfitting"), 0.6, must_not=("updates/too-large",)),
    "random-labels": Truth((*_LABELS, *_LOST), ("not-learning", "bad-labels", "overfitting"), 0.6),
    "labels-to-zero": Truth(
        ("classes/collapsed", "classes/imbalanced", "classes/neglected", "data/label-noise", "data/conflicting-labels"),
        ("class-imbalance", "bad-labels"), 0.4, must_not=("updates/too-large",)),
    "class-imbalance": Truth(("classes/imbalanced", "classes/neglected"), ("class-imbalance",), 0.5, place=True),
    "class-drift": Truth(
        ("classes/drift", "classes/confused", "classes/neglected"), ("bad-labels", "class-drift"), 0.4, place=True),
    "init-up": Truth(
        (_WEIGHTS, "loss/bad-start", "gradients/exploding", "activations/saturated", "loss/not-learning", *_BEHIND),
        ("bad-initialization",), 0.2, must_not=("gradients/vanishing",)),
    "init-down": Truth(
        (_WEIGHTS, "gradients/vanishing", "loss/not-learning", "activations/collapsed", "classes/collapsed",
         "loss/plateau", *_BEHIND),
        ("bad-initialization", "vanishing-gradient"), 0.3, must_not=("updates/too-large",)),
    "head-gain": Truth((_WEIGHTS, "loss/bad-start", "gradients/exploding"), ("bad-initialization",), 0.2),
    "constant-init": Truth(
        (_WEIGHTS, "gradients/vanishing", "loss/not-learning", "activations/collapsed", "activations/dead",
         "loss/plateau", "classes/collapsed", "updates/frozen", *_BEHIND),
        ("bad-initialization", "not-learning", "dead-units"), 0.3, must_not=("updates/too-large",)),
    "hidden-bias": Truth(
        ("activations/dead", "loss/not-learning", "activations/collapsed", *_BEHIND),
        ("dead-units", "bad-initialization"), 0.3),
    "sigmoid-depth": Truth(("gradients/vanishing", "loss/not-learning", "loss/plateau", "fit/underfitting", *_BEHIND),
                           ("vanishing-gradient",), 0.3, place=True),
    "tanh-init": Truth((_WEIGHTS, "activations/saturated", "loss/bad-start"),
                       ("saturated-units", "bad-initialization"), 0.3),
    "not-in-optimizer": _unfed,
    "detached": _unfed,
    "stop-training-layer": _unfed,
    "input-scale": Truth(("data/unnormalized", "loss/bad-start", "gradients/exploding", *_BEHIND),
                         ("unnormalized-input", "bad-initialization"), 0.2),
    "input-offset": Truth(("data/unnormalized", "loss/bad-start", "gradients/exploding", *_BEHIND),
                          ("unnormalized-input", "bad-initialization"), 0.2),
    "no-shuffle": Truth(("data/unshuffled",), ("unshuffled-data",), 0.2),
    "no-zero-grad": Truth(("gradients/accumulating",), ("accumulating-gradients",), 0.3),
    "sign-flip": Truth((_LOSS, "loss/diverging", "sanity/cannot-overfit-batch"),
                       ("wrong-loss", "learning-rate-too-high"), 0.3),
    "double-softmax": Truth((_LOSS, "loss/plateau", "fit/underfitting", "sanity/cannot-overfit-batch", *_BEHIND),
                            ("wrong-loss",), 0.6),
    "weight-decay": Truth(("fit/over-regularized", "fit/underfitting", *_LOST, *_BEHIND),
                          ("over-regularized", "underfitting"), 0.5),
    "dropout": Truth(("fit/over-regularized", "fit/underfitting", *_BEHIND), ("over-regularized", "underfitting"), 0.5),
    # loss/not-learning: added before the set ``previous`` was trained; it is accepted of any other bad procedure
    "batch-size": Truth(("loss/oscillating", "updates/too-large", "fit/underfitting", "loss/not-learning", *_BEHIND),
                        ("unstable", "learning-rate-too-high", "batch-too-small"), 0.6),
    "clip-sgd": Truth(("gradients/always-clipped", "updates/too-small", "fit/underfitting", "loss/not-learning",
                       *_BEHIND), ("clipping-too-tight",), 0.5, must_not=("gradients/vanishing",)),
    "adam-eps": Truth(_SLOW, ("learning-rate-too-low",), 0.6, must_not=("gradients/vanishing",)),
    "fp16-grads": Truth(("gradients/underflow", "gradients/vanishing", "updates/too-small", "loss/not-learning",
                         *_BEHIND), ("low-precision",), 0.4),
    "bf16-pure": Truth(("updates/lost", "updates/too-small", "fit/underfitting", *_BEHIND),
                       ("low-precision", "learning-rate-too-low"), 0.5),
    "qk-gain": Truth(("activations/attention-collapsed", "loss/bad-start"),
                     ("attention-collapsed", "bad-initialization"), 0.3),
    "nan-input": Truth(("loss/non-finite", "data/non-finite", "gradients/non-finite", "activations/non-finite"),
                       ("non-finite",), 0.02, must_not=("gradients/exploding", "updates/too-large", "loss/diverging")),
    "small-train-set": Truth(("fit/overfitting",), ("overfitting",), 0.7, must_not=("classes/drift",)),
    "synthetic-contrast": _gap,
    "synthetic-noise": _gap,
    "synthetic-shift": _gap,
    "leakage": Truth(("data/leakage", "fit/too-good", "data/duplicates"), ("leakage", "too-good"), 0.5),
    "giveaway": Truth(("data/giveaway-feature", "fit/too-good"), ("leakage", "too-good"), 0.5),
    # updates/unequal and its cause, planned as "gan-imbalance": written before the set ``previous`` was scored
    "d-lr-down": Truth(("updates/unequal", "loss/not-learning", "gradients/vanishing"),
                       ("unequal-optimizers", "not-learning"), 0.6),
    "g-lr-up": Truth(("updates/unequal", "updates/too-large", "loss/oscillating", "loss/diverging"),
                     ("unequal-optimizers", "learning-rate-too-high"), 0.6),
    "d-steps": Truth(("updates/unequal", "gradients/vanishing", "loss/oscillating"), ("unequal-optimizers",), 0.6),
}  # fmt: skip

LEAKS = frozenset({"leakage", "giveaway"})  # harm is a validation score that promises too much
