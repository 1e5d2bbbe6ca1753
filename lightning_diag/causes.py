"""The causes a training can suffer from, as a table: what points to each, what follows from it, how to test it.

The first row outranks all others when it came first: from a value that isn't finite everything else follows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Pattern:
    """One cause.

    Attributes:
        name: stable name, such as ``learning-rate-too-high``.
        title: the same in words.
        points: rule -> weight of the evidence it is for this cause.
        explains: rules that follow from it and point nowhere by themselves; so do all of :data:`CONSEQUENCES`.
        given: findings, of any severity, of which one makes all it explains point to it: what is odd from the first
            step on is the root.
        noted: the same for notes that came before everything that is left: what they tell of is over soon.
        later: rule -> weight in place of that in ``points`` when it was not there at the start: training made it so.
        harmless: whether a training it is in goes on as well as without: none of :data:`CONSEQUENCES` follows from it.
        experiment: the smallest experiment that tells it from its nearest rival.
    """

    name: str
    title: str
    points: Mapping[str, float]
    explains: tuple[str, ...]
    experiment: str
    given: tuple[str, ...] = ()
    noted: tuple[str, ...] = ()
    later: Mapping[str, float] = field(default_factory=dict)
    harmless: bool = False


# what follows from nearly every fault: folded under whatever cause leads, and no reason to look for another one
CONSEQUENCES = (
    "loss/not-learning", "loss/plateau", "loss/too-slow", "fit/underfitting", "sanity/worse-than-linear",
    "classes/collapsed", "classes/neglected", "sanity/cannot-overfit-batch",
)  # fmt: skip

_NUMERIC = (
    "loss/spike", "loss/diverging", "loss/not-learning", "loss/plateau", "loss/oscillating", "loss/bad-start",
    "gradients/exploding", "gradients/vanishing", "gradients/always-clipped", "updates/too-large", "updates/too-small",
    "updates/frozen", "fit/underfitting", "fit/overfitting", "activations/dead", "activations/saturated",
    "activations/collapsed", "activations/non-finite", "gradients/non-finite", "loss/non-finite", "classes/collapsed",
    "classes/drift", "classes/neglected", "sanity/input-ignored",
)  # fmt: skip

CAUSES: tuple[Pattern, ...] = (
    Pattern(
        "non-finite",
        "a value stopped being finite",
        {"loss/non-finite": 3.0, "gradients/non-finite": 3.0, "activations/non-finite": 3.0, "data/non-finite": 3.5},
        (*_NUMERIC, "system/rank-divergence", "data/val-at-chance"),
        "replay the batch named in the finding alone, in float32: if it fails again the data or the operation named is "
        "at fault, if it passes the weights had already blown up, so lower the learning rate",
    ),
    Pattern(
        "disconnected",
        "trainable parameters are not trained",
        {"gradients/unreached": 2.0, "updates/frozen": 1.5},
        ("loss/not-learning", "loss/plateau", "fit/underfitting", "updates/too-small", "classes/collapsed",
         "classes/neglected"),
        "print `parameter.grad` of the first name after one backward and look for it in `optimizer.param_groups`; "
        "a detach(), a torch.no_grad() or a missing parameter group explains either",
    ),
    Pattern(
        "input-ignored",
        "the input does not reach the output",
        {"sanity/input-ignored": 2.4},
        ("loss/not-learning", "loss/plateau", "fit/underfitting", "activations/collapsed", "gradients/unreached",
         "gradients/vanishing", "updates/frozen", "updates/too-small", "classes/collapsed"),
        "train 50 steps with the inputs set to zero: if the loss curve is the same, nothing reads them; then print "
        "what goes into and comes out of the place named for two different samples",
    ),
    Pattern(
        "samples-mixed",
        "samples of a batch are mixed up on their way through the model",
        {"sanity/batch-mixing": 2.4},
        ("loss/not-learning", "loss/plateau", "fit/underfitting", "fit/overfitting", "classes/collapsed",
         "classes/confused", "activations/collapsed"),
        "train 50 steps with batch_size=1: if the loss falls now, samples were mixed; then print the shapes line by "
        "line in the place named, where a view stands for a transpose or an operation runs over dimension 0",
    ),
    Pattern(
        "model-or-loss",
        "the model, its loss or its gradient is wrong",
        {"sanity/wrong-gradient": 2.6, "sanity/cannot-overfit-batch": 0.9},
        ("loss/not-learning", "loss/plateau", "fit/underfitting", "loss/diverging", "classes/collapsed"),
        "give the loss predictions that are right by construction: if it isn't near 0 the loss is wrong; otherwise "
        "train the last layer alone on one batch, and add the others one by one from behind",
    ),
    Pattern(
        "wrong-loss",
        "the loss is not the one the outputs are made for",
        {"loss/mismatched": 3.5},
        (*_NUMERIC, "fit/too-good", "classes/confused", "classes/imbalanced", "data/label-noise",
         "data/class-never-target", "sanity/wrong-gradient"),
        "give the loss predictions that are right by construction: it must come out as the lowest it can be; then "
        "train on one batch: it must get there",
        given=("loss/mismatched",),
    ),
    Pattern(
        "modes-differ",
        "in evaluation mode the model is another one",
        {"sanity/train-eval-gap": 2.6},
        ("fit/overfitting", "fit/over-regularized", "classes/drift", "classes/collapsed", "classes/confused",
         "classes/neglected", "domains/gap"),
        "validate one checkpoint with the model in training mode (no gradients, dropout off): if it is right there, "
        "look at batch norm's running statistics and at what asks for self.training",
    ),
    Pattern(
        "accumulating-gradients",
        "gradients are never cleared",
        {"gradients/accumulating": 4.0},
        (*_NUMERIC, "classes/confused"),
        "call zero_grad() before each backward pass, and repeat the first 200 steps",
    ),
    Pattern(
        "low-precision",
        "the precision is too low for the numbers",
        {"gradients/scaler-skipping": 3.5, "gradients/underflow": 3.5, "updates/lost": 3.0},
        (*_NUMERIC, "classes/confused"),
        'train 200 steps with precision="bf16-mixed", then with "32-true": if the first is well, the range of float16 '
        "was the cause; if only the second is, its precision",
        given=("gradients/underflow", "updates/lost"),
    ),
    Pattern(
        "learning-rate-too-high",
        "the learning rate is too high",
        {"updates/too-large": 2.0, "loss/diverging": 1.2, "loss/oscillating": 0.8, "gradients/exploding": 0.6},
        (*_NUMERIC, "activations/attention-collapsed", "updates/unequal"),
        "repeat the first 200 steps with a tenth of the learning rate: if the loss falls now, that was it",
        noted=("updates/too-large",),
        later={"activations/attention-collapsed": 1.5},
    ),
    Pattern(
        "unequal-optimizers",
        "one of the optimizers outruns the other",
        {"updates/unequal": 1.6},
        ("gradients/vanishing", "gradients/exploding", "updates/too-small", "activations/collapsed"),
        "train 500 steps with the slow optimizer's learning rate raised until both change their weights about equally: "
        "if what is generated gets better, that was it",
    ),
    Pattern(
        "bad-initialization",
        "the initial weights are wrong",
        {"setup/odd-initialization": 3.0, "loss/bad-start": 1.5, "gradients/exploding": 0.7},
        ("loss/spike", "loss/oscillating", "loss/diverging", "gradients/vanishing", "activations/dead",
         "activations/collapsed", "activations/attention-collapsed", "updates/frozen", "updates/too-small",
         "activations/saturated", "loss/not-learning", "gradients/always-clipped", "classes/collapsed",
         "classes/neglected", "loss/plateau", "sanity/input-ignored"),
        "train 50 steps with the layers' default initialization (and inputs scaled to unit variance): if the first "
        "loss falls to chance level, that was it",
        given=("setup/odd-initialization",),
    ),
    Pattern(
        "wrong-mode",
        "the model is trained in evaluation mode",
        {"setup/eval-mode": 1.6},
        ("loss/not-learning", "loss/plateau", "fit/overfitting", "gradients/vanishing", "gradients/exploding"),
        "call self.train() in on_train_start and train 200 steps: if loss and validation get better, that was it",
    ),
    Pattern(
        "dead-units",
        "units of the network are dead",
        {"activations/dead": 2.2, "activations/collapsed": 1.0},
        ("sanity/input-ignored",
         "gradients/vanishing", "updates/frozen", "updates/too-small", "loss/not-learning", "loss/plateau",
         "fit/underfitting", "classes/collapsed", "classes/neglected"),
        "train 50 steps with the biases set to 0 and a tenth of the learning rate: units that stay alive now died of "
        "their start or of the first steps; then tell the two apart by changing back one of them",
    ),
    Pattern(
        "saturated-units",
        "activations sit in their flat region",
        {"activations/saturated": 2.0},
        ("sanity/input-ignored",
         "gradients/vanishing", "updates/too-small", "loss/not-learning", "loss/plateau", "fit/underfitting"),
        "scale the inputs to zero mean and unit variance, and train 50 steps: if the units leave the flat region it "
        "was the inputs, otherwise the initial weights are too large",
    ),
    Pattern(
        "attention-collapsed",
        "attention looks at one position only",
        {"activations/attention-collapsed": 2.0},
        ("loss/not-learning", "loss/plateau", "fit/underfitting", "gradients/vanishing"),
        "normalize queries and keys (QK norm) and train 200 steps: if the loss falls, the logits were too large; if "
        "not, lower the learning rate",
        later={"activations/attention-collapsed": 1.0},
    ),
    Pattern(
        "vanishing-gradient",
        "the gradient does not reach the first layers",
        {"gradients/vanishing": 2.0, "activations/collapsed": 1.0},
        ("sanity/input-ignored",
         "activations/saturated", "loss/not-learning", "loss/plateau", "fit/underfitting", "updates/too-small",
         "updates/frozen", "classes/collapsed"),
        "put a normalization layer or a skip connection around every second layer for 200 steps: if the first layers' "
        "gradient norm comes within two decades of the last ones', depth was the problem",
    ),
    Pattern(
        "learning-rate-too-low",
        "the learning rate is too low",
        {"updates/too-small": 2.0, "loss/too-slow": 1.4},
        ("loss/not-learning", "loss/plateau", "fit/underfitting", "classes/collapsed", "classes/neglected",
         "classes/confused"),
        "print the learning rate over 100 steps: if a schedule has it fall early, step that once an epoch; else repeat "
        "the first 200 steps with 10 times as much: if the loss falls faster without spikes, that was it",
    ),
    Pattern(
        "batch-too-small",
        "each step sees too few samples",
        {"setup/tiny-batch": 0.6},
        ("loss/spike", "loss/oscillating", "loss/diverging", "updates/too-large", "classes/drift", "classes/confused",
         "gradients/exploding", "activations/dead", "fit/overfitting"),
        "repeat a tenth of the plan with accumulate_grad_batches=8 (or a batch 8 times as large), and once with an "
        "eighth of the learning rate: if both fall steadily, it was the noise of the small batch",
        given=("setup/tiny-batch",),
    ),
    Pattern(
        "clipping-too-tight",
        "gradient clipping limits every step",
        {"gradients/always-clipped": 2.2},
        ("loss/plateau", "fit/underfitting", "updates/too-small", "loss/not-learning", "classes/collapsed"),
        "raise gradient_clip_val to the 90th percentile of the recorded gradient norm for 200 steps and compare the "
        "loss",
    ),
    Pattern(
        "domain-shift",
        "the training domain does not look like the one that counts",
        {"domains/gap": 2.2, "domains/gap-widening": 1.5, "domains/separable": 0.5},
        ("fit/overfitting", "classes/drift", "classes/confused", "classes/neglected", "classes/collapsed"),
        "put 20 labelled samples of the domain that counts into training, drawn often: if the gap halves, looks are "
        "the cause; if it stays, labels or the task differ between the domains",
    ),
    Pattern(
        "wrong-target",
        "the run is steered by a metric of the wrong domain",
        {"domains/wrong-target": 1.0},
        (),
        "evaluate the kept and the last checkpoint on samples of the domain that counts: if they rank the other way "
        "round than the metric says, it was the wrong one",
        harmless=True,
    ),
    Pattern(
        "bad-labels",
        "part of the training labels is wrong",
        {"data/label-noise": 2.4, "data/conflicting-labels": 2.2, "data/labels-shifted": 2.4,
         "sanity/random-labels-as-easy": 0.8},
        ("fit/overfitting", "classes/drift", "classes/confused", "classes/imbalanced"),
        "look at the 20 most suspicious samples named: if half of their labels are wrong, drop all that were listed "
        "and train again",
    ),
    Pattern(
        "validation-apart",
        "validation asks something else than training",
        {"data/val-at-chance": 2.2, "data/labels-shifted": 0.5},
        ("fit/overfitting", "classes/drift", "classes/confused", "classes/imbalanced"),
        "run the validation code on training samples: if that is at chance, too, the code (evaluation mode, "
        "preprocessing, class order) is at fault, else the validation set's labels",
    ),
    Pattern(
        "leakage",
        "the inputs or the split give the labels away",
        {"data/leakage": 2.4, "data/near-leakage": 2.2, "data/giveaway-feature": 2.4, "fit/too-good": 1.0},
        (),
        "validate the last checkpoint without the samples (or with the input set to 0) that the finding names: the "
        "difference is what leaked",
        harmless=True,
    ),
    Pattern(
        "unnormalized-input",
        "inputs or targets are not normalized",
        {"data/unnormalized": 2.4, "data/constant-feature": 1.0},
        ("sanity/input-ignored",
         "loss/bad-start", "gradients/exploding", "gradients/vanishing", "loss/spike", "loss/diverging",
         "activations/dead", "activations/saturated", "activations/collapsed", "updates/too-small",
         "updates/too-large", "classes/drift", "classes/confused"),
        "subtract the training set's mean, divide by its standard deviation, and train 200 steps: if the loss falls "
        "faster, that was it",
    ),
    Pattern(
        "unshuffled-data",
        "the training set is sorted and not shuffled",
        {"data/unshuffled": 2.4},
        ("loss/oscillating", "loss/spike", "loss/diverging", "fit/overfitting", "classes/drift", "classes/confused",
         "classes/imbalanced"),
        "train one epoch with shuffle=True: if validation comes off chance level, that was it",
    ),
    Pattern(
        "overfitting",
        "the model memorizes the training data",
        {"fit/overfitting": 2.0},
        ("classes/drift", "classes/confused", "classes/neglected"),
        "first get or generate more varied training data (or stronger augmentation), then stop at the best validation "
        "step; shrink the model only if both fail",
    ),
    Pattern(
        "too-good",
        "the result is too good to be true",
        {"fit/too-good": 2.0},
        (),
        "remove the samples that stand in both training and validation set, shuffle the labels of one epoch and see "
        "whether validation falls to chance: if not, labels leak into the inputs",
        harmless=True,
    ),
    Pattern(
        "over-regularized",
        "regularization is too strong",
        {"fit/over-regularized": 2.4},
        ("classes/drift", "classes/confused", "updates/too-large", "activations/dead", "activations/collapsed",
         "gradients/vanishing"),
        "switch dropout and weight decay off for a tenth of the plan: if the training loss falls, it was too much",
    ),
    Pattern(
        "class-imbalance",
        "some classes are hardly seen in training",
        {"classes/imbalanced": 2.0, "classes/neglected": 0.8, "data/class-never-target": 1.5},
        ("classes/confused", "classes/drift", "classes/collapsed", "fit/overfitting"),
        "draw every class equally often for one epoch (a weighted sampler): if the rare classes' recall rises, add "
        "samples of them; if not, look at their labels",
    ),
    Pattern(
        "class-drift",
        "a class is being forgotten",
        {"classes/drift": 1.5},
        ("classes/confused", "classes/neglected", "fit/overfitting", "loss/spike"),
        "look at the samples of the class named that flipped, and at what changed in the data at that epoch; then go "
        "on from the checkpoint before it with the class drawn twice as often",
    ),
    Pattern(
        "class-mix-up",
        "the model does not tell some classes apart",
        {"classes/neglected": 1.0, "classes/confused": 0.8, "classes/collapsed": 0.5},
        (),
        "look at 20 samples of the class named that are taken for another: if their labels are wrong it is the data, "
        "if a person can't tell them apart either it is the inputs, otherwise add samples that differ in just that",
    ),
    Pattern(
        "unstable",
        "training is unstable",
        {"loss/spike": 1.0, "loss/diverging": 0.8, "loss/oscillating": 0.7},
        ("gradients/exploding",),
        "look at the batch named in the spike; train 200 steps from before it with the learning rate halved and with "
        "gradient clipping at the median gradient norm, one at a time",
    ),
    Pattern(
        "not-learning",
        "the model learns nothing, or too little, from the inputs",
        {"loss/not-learning": 1.0, "loss/plateau": 0.6, "sanity/worse-than-linear": 0.7, "classes/collapsed": 0.6},
        ("fit/underfitting", "classes/collapsed", "classes/neglected"),
        "train on one single batch for 100 steps: if that doesn't reach a near-zero loss the fault is in the model or "
        "the loss, otherwise in the data, its labels or their order",
    ),
    Pattern(
        "underfitting",
        "the model is too small, too regularized or trained too shortly",
        {"fit/underfitting": 1.0},
        (),
        "train twice as long with regularization off: if the training loss falls, it was time or regularization, "
        "otherwise widen the model",
    ),
    Pattern(
        "input-pipeline",
        "the data comes slower than the model takes it",
        {"system/input-bound": 1.5},
        (),
        "train 100 steps with overfit_batches=1 (one batch again and again) and compare the speed: what is won is what "
        "loading costs; then raise num_workers until nothing is won any more",
        harmless=True,
    ),
    Pattern(
        "ranks-disagree",
        "the processes don't train one model on one set of data",
        {"system/rank-divergence": 2.5, "system/same-data-on-ranks": 1.5},
        ("loss/spike", "loss/diverging", "loss/oscillating", "loss/plateau"),
        "train 50 steps in one process with the same global batch: if the loss now does what it should, compare on "
        "each process the first sample's id and one weight's sum before and after a step",
    ),
    Pattern(
        "slow-process",
        "one process keeps the others waiting",
        {"system/straggler": 1.5},
        (),
        "start the processes in another order (other ranks on other devices): if another one is late now, it is the "
        "machine or the card, otherwise its part of the data",
        harmless=True,
    ),
    Pattern(
        "memory-leak",
        "something is kept that is not needed any more",
        {"system/memory-growth": 1.5},
        (),
        "train 200 steps with only the model and its optimizer (no loggers, no other callbacks, num_workers=0): if the "
        "growth stops, add them back one by one",
        harmless=True,
    ),
)  # fmt: skip
