"""Which task x operator x severity is run, and the split into a development and a report set.

The split is by task, by severity and by seed. ``dev`` is what detectors are tuned on; ``seen`` (other tasks, unseen
severities of the development tasks, other seeds) was the report set until it had been looked at five times, and
``former``, eight tasks of its own, after it until it had been looked at twice, then ``previous``, seven of its own, and
``last``, eight, until they had been looked at once; all are tuned on since. ``report`` holds eight tasks of its own,
written before anything was tuned on ``last``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

DEV_TASKS = ("mlp", "deep", "cnn", "lstm", "ae", "reg")
# set -> its own tasks -> the one in whose rows each takes part
LIKE = {
    "former": {"vit": "res", "prints": "cnn", "rows": "res", "cae": "ae", "photo": "reg", "tcn": "lstm",
               "iris": "wine", "square": "gan"},
    "previous": {"mixer": "res", "senet": "res", "letters": "cnn", "rope": "tfm", "holes": "ae", "returns": "bc",
                 "drawn": "gan"},
    "last": {"points": "res", "dense": "res", "scan": "cnn", "words": "lstm", "masked": "ae", "turned": "reg",
             "pairs": "bc", "coins": "gan"},
    "report": {"street": "cnn", "wares": "res", "lines": "lstm", "crowd": "bc", "headers": "lstm", "ahead": "reg",
               "vowels": "ae", "blend": "gan"},
}  # fmt: skip
# each takes every other severity of a fault, from this one on
HALVES = {"mixer": 0, "senet": 1, "points": 0, "dense": 1, "scan": 0, "street": 1, "lines": 0, "headers": 1}
# The first are watched. Of ``former`` 30 to 32 were its first look, and say since what does harm.
SEEDS = {
    "dev": (0, 1, 2), "seen": (20, 21, 22), "former": (33, 34, 35, 30, 31, 32), "previous": (40, 41, 42),
    "last": (50, 51, 52), "report": (60, 61, 62),
}  # fmt: skip
# seeds of the controls that are watched: many clean runs count
WATCHED_CONTROLS = {"dev": 1, "seen": 3, "former": 3, "previous": 3, "last": 3, "report": 3}
INTERVALS = (5, 5, 10, 2, 5)  # every_n_steps by seed % 5


@dataclass(frozen=True, order=True)
class Config:
    """One run to make: the fault ``operator`` at ``severity`` in ``task``, with this seed."""

    task: str
    operator: str
    severity: float
    seed: int = 0

    @property
    def group(self) -> tuple[str, str, float]:
        """Everything but the seed."""
        return (self.task, self.operator, self.severity)

    @property
    def name(self) -> str:
        """Name of its directory."""
        return f"{self.task}__{self.operator}__{self.severity:g}__s{self.seed}"

    @property
    def twin(self) -> Config:
        """The healthy run with the same seed."""
        return Config(self.task, "healthy", 0.0, self.seed)

    @property
    def watched(self) -> bool:
        """Whether the run leaves a record; the other seeds of a fault only say whether it does harm."""
        which = next((name for name, seeds in SEEDS.items() if self.seed in seeds), "dev")
        seeds = SEEDS[which][: WATCHED_CONTROLS[which] if self.operator in CONTROLS else 1]
        return self.seed in seeds

    @property
    def every_n_steps(self) -> int:
        """Sampling interval of the record: fixed, so that runs are deterministic, and not always the same."""
        return INTERVALS[self.seed % len(INTERVALS)]


_IMAGES = ("mlp", "deep", "cnn", "res")
_CLASSES = (*_IMAGES, "bc", "wine")
_LM = ("lstm", "gru", "tfm")
_ALL = (*_CLASSES, *_LM, "ae", "reg")
_MIX = ("mlp", "cnn", "res")

# operator -> (tasks, severities, those between them: ``seen`` alone has them of the development tasks)
Row = tuple[tuple[str, ...], tuple[float, ...], tuple[float, ...]]

FAULTS: dict[str, Row] = {
    "lr-up": (_ALL, (3, 10, 30, 100), (17, 55)),
    "lr-down": (_ALL, (0.3, 0.1, 0.01, 0.001), (0.03,)),
    "sgd-lr-up": (_MIX, (3, 10), (5.5,)),
    "sgd-lr-down": (_MIX, (0.1, 0.01), (0.03,)),
    "lr-spike": (("mlp", "cnn", "lstm", "tfm", "ae"), (10, 100, 1000), (300,)),
    "lr-burst": (("mlp", "cnn", "lstm", "tfm"), (30,), (55,)),
    "bad-batch": (("mlp", "cnn", "res", "ae"), (10, 1000), (100,)),
    "label-noise": ((*_IMAGES, "lstm", "tfm"), (0.02, 0.1, 0.2, 0.4), (0.3, 0.6)),
    "random-labels": (_MIX, (1.0,), ()),
    "labels-to-zero": (_MIX, (0.3, 0.6, 0.9), (0.5,)),
    "class-imbalance": (_MIX, (0.5, 0.2, 0.05, 0.02), (0.03,)),
    "class-drift": (_MIX, (0.3, 1.0), (0.7,)),
    "init-up": (_ALL, (3, 10, 30), (17,)),
    "init-down": (_ALL, (0.3, 0.1, 0.01), (0.03,)),
    "head-gain": (_MIX, (3, 10, 30, 100), (55,)),
    "constant-init": (("mlp", "cnn", "deep", "ae"), (0.0, 0.01), ()),
    "hidden-bias": (("mlp", "deep", "cnn"), (-0.5, -1, -3), (-2,)),
    "sigmoid-depth": (("deep",), (2, 4, 8, 12), (6, 10)),
    "tanh-init": (("mlp", "deep", "cnn"), (3, 10, 30), (17,)),
    "not-in-optimizer": (("mlp", "cnn", "lstm", "ae", "tfm", "res"), (0, -1), (1,)),
    "detached": (("mlp", "cnn", "lstm", "ae", "res"), (0, 1), ()),
    "stop-training-layer": (("mlp", "cnn", "ae"), (0,), (1,)),
    "input-scale": (("mlp", "cnn", "res", "reg"), (10, 100, 0.01), (30, 0.03)),
    "input-offset": (("mlp", "cnn", "res", "reg"), (1, 10, 100), (3,)),
    "no-shuffle": ((*_MIX, "reg"), (1,), ()),
    "no-zero-grad": ((*_MIX, "lstm", "tfm", "ae"), (1,), ()),
    "sign-flip": ((*_MIX, "lstm", "tfm", "ae", "reg"), (1,), ()),
    "double-softmax": ((*_MIX, "deep", "bc"), (1,), ()),
    "weight-decay": ((*_MIX, "lstm", "tfm"), (0.1, 1, 10), (3,)),
    "dropout": (("mlp", "cnn", "lstm"), (0.5, 0.8, 0.95), (0.9,)),
    "batch-size": (_MIX, (1, 2, 4), ()),
    "clip-sgd": ((*_MIX, "lstm"), (1, 0.1, 0.01, 0.001), (0.03,)),
    "adam-eps": (("mlp", "cnn"), (1e-4, 1e-2, 1.0), (0.1,)),
    "fp16-grads": (("mlp", "cnn", "lstm", "deep"), (1, 1e-4, 1e-6), (1e-5,)),
    "bf16-pure": (("mlp", "cnn", "tfm"), (1, 0.1), (0.03,)),
    "qk-gain": (("tfm", "vit", "masked", "wares"), (3, 10, 30), (17,)),
    "nan-input": (("mlp", "cnn", "res", "ae", "reg"), (1,), ()),
    "small-train-set": ((*_MIX, "lstm", "tfm"), (300, 100, 50), (70,)),
    "synthetic-contrast": (_MIX, (0.3, 0.9), (0.6,)),
    "synthetic-noise": (_MIX, (0.3, 1.0), (0.5,)),
    "synthetic-shift": (_MIX, (1, 2), ()),
    "leakage": (_MIX, (0.05, 1.0), (0.5,)),
    "giveaway": (("mlp", "cnn"), (1,), (0.5,)),
    "d-lr-down": (("gan",), (0.01, 0.001), ()),
    "g-lr-up": (("gan",), (10, 30), ()),
    "d-steps": (("gan",), (5,), ()),
}

CONTROLS: dict[str, Row] = {
    "healthy": ((*_ALL, "gan"), (0,), ()),
    "warmup": (_ALL, (0.2,), ()),
    "cosine": (_ALL, (1, 2), ()),
    "step-drops": (_ALL, (0.1,), ()),
    "warm-restarts": (("mlp", "cnn", "lstm", "tfm"), (3,), ()),
    "label-smoothing": (_CLASSES, (0.1,), ()),
    "sum-loss": (("mlp", "cnn", "bc"), (1,), ()),
    "mse-one-hot": (("mlp", "cnn", "bc"), (1,), ()),
    "mixup": (_MIX, (1,), ()),
    "augment-noise": ((*_MIX, "deep"), (0.3,), ()),
    "sgd": ((*_MIX, "deep", "lstm", "ae", "reg", "bc"), (1,), (1.5,)),
    "clip-adam": (_ALL, (0.01, 1), ()),
    "beta2": (("mlp", "cnn", "lstm", "tfm"), (0.9, 0.9999), ()),
    "activation-gelu": (("mlp", "cnn", "ae"), (1,), ()),
    "activation-leaky": (("mlp", "cnn", "ae"), (1,), ()),
    "activation-tanh": (("mlp", "cnn", "ae", "reg", "bc"), (1,), ()),
    "activation-sigmoid": (("mlp", "bc", "wine"), (1,), ()),
    "norm-batch": (("mlp", "deep"), (1,), ()),
    "norm-layer": (("mlp", "deep", "reg"), (1,), ()),
    "long-run": (("mlp", "cnn", "ae", "bc"), (3,), ()),
    "curriculum": (_MIX, (0.3,), ()),
    "frozen-backbone": (("mlp", "cnn", "deep"), (1,), ()),
    "unused-branch": (("mlp", "lstm"), (1,), ()),
    "accumulate": (("mlp", "cnn", "lstm", "tfm"), (4,), ()),
    "autocast": (("mlp", "cnn", "tfm"), (1,), ()),
    "raw-range": (_IMAGES, (1,), ()),
    "resume": (("mlp", "cnn", "lstm", "tfm"), (0.5,), ()),
    "fine-tune": (("mlp", "cnn", "lstm", "tfm"), (400,), ()),
    "wide": (("mlp", "cnn", "ae", "lstm", "reg", "wine"), (0.5, 2), ()),
    "mild-imbalance": (_MIX, (0.5,), ()),
    "big-batch": ((*_CLASSES, "lstm", "tfm"), (128,), ()),
    "batch-8": (("mlp", "cnn", "lstm", "tfm", "ae", "reg", "bc"), (8,), ()),
}
# How much of a fault is worse: more, but for these.
DOWNWARD = frozenset({
    "lr-down", "sgd-lr-down", "class-imbalance", "init-down", "constant-init", "batch-size", "clip-sgd", "fp16-grads",
    "bf16-pure", "small-train-set", "d-lr-down",
})  # fmt: skip
BOTH_WAYS = frozenset({"input-scale"})  # a factor: worse the farther from 1, on either side
LAYERS = frozenset({"not-in-optimizer", "detached", "stop-training-layer"})  # which layer, not how much
SMOKE = (
    Config("mlp", "healthy", 0.0), Config("reg", "healthy", 0.0), Config("ae", "lr-up", 100.0),
    Config("mlp", "nan-input", 1.0), Config("ae", "not-in-optimizer", 0.0), Config("mlp", "lr-down", 0.001),
)  # fmt: skip


def _rows() -> Iterable[tuple[str, Row]]:
    yield from CONTROLS.items()
    yield from FAULTS.items()


def ladders(operator: str, severities: Iterable[float]) -> dict[str, list[float]]:
    """The severities of an operator from harmless to lethal: one ladder, or two where a factor can be too big or small.

    Layers stand from the first to the last (-1).
    """
    found = set(severities)
    if operator in BOTH_WAYS:
        up, down = sorted(s for s in found if s >= 1), sorted((s for s in found if s < 1), reverse=True)
        return {f"{operator}, {way}": rungs for way, rungs in (("up", up), ("down", down)) if rungs}
    if operator in LAYERS:
        return {operator: sorted(found, key=lambda s: (s < 0, s))}
    return {operator: sorted(found, key=abs, reverse=operator in DOWNWARD)}


def groups(which: str) -> list[tuple[str, str, float]]:
    """Task, operator and severity of every group of a set: one of :data:`SEEDS`.

    ``dev`` holds the first severities of the development tasks; ``seen`` the others of those, every severity of the
    tasks that are not for development, and each plain healthy run; ``former`` every severity of the tasks of its own;
    ``previous``, ``last`` and ``report`` of their own all of the controls and the first severities of the faults.
    """
    if which not in SEEDS:
        raise ValueError(f"set must be one of {sorted(SEEDS)}, got {which!r}")
    found = []
    for name, (tasks, seen, unseen) in _rows():
        if which in LIKE:
            chosen = [task for task, like in LIKE[which].items() if like in tasks or task in tasks]
            for task in chosen:
                rungs = (seen[HALVES[task] :: 2] or seen) if task in HALVES else seen
                whole = which == "former" or name in CONTROLS
                found += [(task, name, float(s)) for s in ((*seen, *unseen) if whole else rungs)]
            continue
        for task in tasks:
            if any(task in own for own in LIKE.values()):
                continue
            if which == "dev":
                chosen = seen if task in DEV_TASKS else ()
            else:
                chosen = unseen if task in DEV_TASKS else (*seen, *unseen)
                chosen = chosen or (seen if name == "healthy" else ())
            found += [(task, name, float(s)) for s in chosen]
    return found


def configs(which: str, seeds: Collection[int] | None = None, *, every: bool = False) -> list[Config]:
    """Every run of a set (or of ``smoke``), seed by seed, those with a record first; ``seeds`` picks some of them.

    A control needs no other seeds than those that are watched, but the healthy run is everyone's twin; with ``every``
    they are all there.
    """
    if which == "smoke":
        return list(SMOKE)
    allowed = SEEDS[which]
    chosen = [s for s in allowed if seeds is None or s in seeds]
    found = [Config(*group, seed) for seed in chosen for group in groups(which)]
    needed = [c for c in found if every or c.watched or c.operator == "healthy" or c.operator not in CONTROLS]
    return sorted(needed, key=lambda c: not c.watched)
