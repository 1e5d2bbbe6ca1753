"""What detectors eat: one measured step on the host, as NumPy arrays, and the facts of the run it belongs to."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_diag.streaming.loss_trace import LossTrace

Value = NDArray[np.float64]
NO_LOSSES = LossTrace()
STAGES = ("train", "validation", "end")
LEARNED = (
    "task", "loss_kind", "num_classes", "class_scores", "chance_loss", "chance_source", "loss_floor", "shared_loss",
)  # fmt: skip


@dataclass(frozen=True)
class Facts:
    """What is known about the run beside its signals. ``None`` means not known; nothing here is guessed.

    Attributes:
        planned_steps: optimizer steps the trainer is going to take, if it knows.
        steps_per_epoch: optimizer steps an epoch, if known.
        accumulate: micro-batches an optimizer step (``accumulate_grad_batches``).
        clip_val: gradient clipping limit of the trainer; None = no clipping.
        clip_algorithm: ``norm`` or ``value``.
        precision: Lightning's precision string, such as ``32-true`` or ``bf16-mixed``.
        optimizers: class names, one an optimizer.
        automatic_optimization: whether Lightning drives the optimizer.
        shared_loss: of several optimizers, whether all step on the one loss of a batch; None = not known yet.
        batch_size: samples a micro-batch and process.
        loader: how training batches are loaded: ``num_workers``, ``pin_memory``, ``persistent_workers`` (0 or 1), and
            ``cpus`` this process may use.
        world_size: number of processes.
        strategy: class name of Lightning's strategy.
        sharded: whether parameters are spread over processes.
        replicas: for each process the part of the data it trains on; empty with one process.
        device: device type of the module, such as ``cpu`` or ``cuda``.
        task: ``classification``, ``regression``, ``language-model`` or None.
        loss_kind: ``cross-entropy``, ``mse``, ``l1``, ``bce`` ... when the loss was *recomputed and matched*.
        num_classes: size of the classifier's output.
        class_scores: whether what the module returned are scores of the batch's integer targets: the loss says so, or
            nearly every class there could be was a target; None = not known yet.
        chance_loss: loss of the best constant predictor, in the units of the loss (entropy of the label histogram
            for cross-entropy, variance of the target for MSE).
        chance_source: how ``chance_loss`` is known, in words.
        loss_floor: lowest loss that can be reached (label smoothing's entropy); 0 when nothing is known of one.
        normalized: whether the model has normalization layers.
        input_normalized: whether a normalization or an embedding is among the first two layers.
        names: axis -> names along it (``parameter``, ``module``, ``class``, ``domain``, ``group``).
        parameter_kind: per parameter ``matrix``, ``vector`` (bias), ``norm`` or ``embedding``.
        parameter_numel: per parameter number of elements.
        parameter_fan_in: per parameter inputs of one unit, 0 for what is no matrix.
        parameter_decay: per parameter the weight decay that its optimizer gives it.
        dropout: largest dropout rate of the model's modules; 0 where there is none.
        in_optimizer: per parameter, whether some optimizer of the trainer holds it.
        parameter_optimizer: per parameter the index of the (last) optimizer that holds it, -1 for none.
        group_optimizer: per parameter group the index of its optimizer.
        unmeasured: signal -> reason why it can't be had here.
        target_domain: name of the domain that counts, where the user said so.
        monitored: metric -> who follows it (``ModelCheckpoint``, ``EarlyStopping``, a scheduler), in words.
    """

    planned_steps: int | None = None
    steps_per_epoch: int | None = None
    accumulate: int = 1
    clip_val: float | None = None
    clip_algorithm: str | None = None
    precision: str | None = None
    optimizers: tuple[str, ...] = ()
    automatic_optimization: bool = True
    shared_loss: bool | None = None
    batch_size: int | None = None
    loader: Mapping[str, int] = field(default_factory=dict)
    world_size: int = 1
    strategy: str | None = None
    sharded: bool = False
    replicas: tuple[int, ...] = ()
    device: str | None = None
    task: str | None = None
    loss_kind: str | None = None
    num_classes: int | None = None
    class_scores: bool | None = None
    chance_loss: float | None = None
    chance_source: str | None = None
    loss_floor: float = 0.0
    normalized: bool | None = None
    input_normalized: bool | None = None
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    parameter_kind: tuple[str, ...] = ()
    parameter_numel: tuple[int, ...] = ()
    parameter_fan_in: tuple[int, ...] = ()
    parameter_decay: tuple[float, ...] = ()
    dropout: float | None = None
    in_optimizer: tuple[bool, ...] = ()
    parameter_optimizer: tuple[int, ...] = ()
    group_optimizer: tuple[int, ...] = ()
    unmeasured: Mapping[str, str] = field(default_factory=dict)
    target_domain: str | None = None
    monitored: Mapping[str, str] = field(default_factory=dict)

    @property
    def competing(self) -> bool:
        """Whether losses may pull against each other, as a GAN's or an actor's and a critic's do: they need not fall.

        So it is where several optimizers don't follow one loss, or one of an unknown kind: perhaps a sum of such parts.
        """
        if len(self.optimizers) < 2 and self.shared_loss is not False:
            return False
        as_usual = self.shared_loss and self.chance_loss is not None
        return not as_usual

    @property
    def samples_a_step(self) -> int | None:
        """Samples of an optimizer step, of all its micro-batches and processes; None where it isn't known."""
        return None if self.batch_size is None else self.batch_size * self.accumulate * self.world_size

    @property
    def optimizer_names(self) -> tuple[str, ...]:
        """A name for each optimizer, told apart by its number where nothing better is known."""
        names = self.names.get("optimizer", ())
        if len(names) == len(self.optimizers):
            return names
        return tuple(f"{name} {k}" for k, name in enumerate(self.optimizers))

    def merged(self, learned: Mapping[str, Any]) -> Facts:
        """Return these facts with new ones: names and reasons are added, everything else is replaced."""
        changed: dict[str, Any] = dict(learned)
        for name in ("names", "unmeasured"):
            if name in changed:
                changed[name] = {**getattr(self, name), **changed[name]}
        return replace(self, **changed)

    def learned(self, first: Facts, lost: Collection[str] = ()) -> dict[str, Any]:
        """Return the facts that take steps to know, as a resumed run needs them.

        Args:
            first: what was known before the first step: it will be known again.
            lost: signals of probes that failed: they get another chance.
        """
        made = {name: getattr(self, name) for name in LEARNED}
        for name in ("names", "unmeasured"):
            known, now = getattr(first, name), getattr(self, name)
            made[name] = {key: now[key] for key in now if known.get(key) != now[key] and key not in lost}
        return made

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Facts:
        """Rebuild from :meth:`to_dict`; unknown keys of newer versions are ignored."""
        known = {f.name for f in fields(cls)}
        kept: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items() if k in known}
        kept["names"] = {axis: tuple(names) for axis, names in dict(kept.get("names", {})).items()}
        return cls(**kept)


@dataclass(frozen=True, slots=True)
class Reading:
    """One measured step.

    Args:
        step: optimizer step that was measured (1 = the first), not the step at which it was read.
        epoch: epoch of that step, from 0.
        values: signal name -> float64 array; ``()`` for a scalar, else ``(len(names(axis)),)`` or more dimensions as
            the signal's table entry says.
        facts: what is known of the run.
        batch_idx: index of the (last micro-)batch of the step in its epoch.
        stage: ``train``, ``validation`` or ``end`` (the one reading after the last step).
        curve: the finite losses of all steps up to this one; empty where the reading holds no finite loss, unless the
            run ended. It is one object for all readings and grows: look at it while the reading is judged.

    >>> r = Reading(3, 0, {"loss/train": np.float64(2.5)})
    >>> r.scalar("loss/train"), r.scalar("grad/norm"), "grad/norm" in r
    (2.5, None, False)
    """

    step: int
    epoch: int
    values: Mapping[str, Any]
    facts: Facts = field(default_factory=Facts)
    batch_idx: int = -1
    stage: str = "train"
    curve: LossTrace = field(default=NO_LOSSES, compare=False, repr=False)

    def __contains__(self, signal: object) -> bool:
        return signal in self.values

    def scalar(self, signal: str) -> float | None:
        """Return a scalar signal as a float, or None where it was not measured."""
        value = self.values.get(signal)
        return None if value is None else float(value)

    def vector(self, signal: str) -> Value | None:
        """Return an array signal as float64, or None where it was not measured."""
        value = self.values.get(signal)
        return None if value is None else np.asarray(value, dtype=np.float64)

    def names(self, axis: str) -> tuple[str, ...]:
        """Return the names along an axis; empty when the run has none."""
        return self.facts.names.get(axis, ())

    @property
    def progress(self) -> float | None:
        """Share of the planned steps done (0 to 1), or None when the plan is not known."""
        planned = self.facts.planned_steps
        return None if not planned else min(1.0, self.step / planned)
