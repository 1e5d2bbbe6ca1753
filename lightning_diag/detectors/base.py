"""The base of all detectors. One detector = one rule = one file."""

from __future__ import annotations

import inspect
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from lightning_diag.finding import Evidence, Finding, Severity
from lightning_diag.reading import Reading
from lightning_diag.streaming.state import restore, snapshot

NEVER = sys.maxsize  # a rest that only another reading than a quiet one ends


class Detector(ABC):
    """Streaming, pure host code that eats :class:`Reading` s and says what holds now.

    A subclass names its ``rule``, the signals it ``reads`` and its worst ``severity``; its constructor validates and
    keeps each argument under its own name; ``_reset`` holds *all* changing state (numbers, strings, lists, dicts, NumPy
    arrays or objects with ``state_dict``/``load_state_dict``); ``update`` is the one verb.

    ``update`` is called for every reading that holds *any* of ``reads``. It returns

    - a :class:`Finding` when the rule holds at this reading (again and again while it holds: deduplication, cool-down
      and resolution are not the detector's business),
    - ``None`` when it was judged and doesn't hold,

    and raises :class:`~lightning_diag.errors.NotMeasurable` with the reason when it can't be judged (warming up, a
    signal is absent, an assumption doesn't hold). It never fires on NaN, inf, an empty or a constant stream unless that
    is what it looks for, and fires on a real fault after one.

    Attributes:
        rule: public name ``group/name``.
        code: short code that never changes, such as ``G001``.
        reads: signals that wake it up.
        severity: worst severity it can give.
        title: a few words for headings.
        refresh: whether a finding that goes on shows its newest places and numbers; else those of its worst state,
            of which the first places lead.
        by_optimizer: whether several optimizers are judged apart: it then sees parameters, gradient norm and learning
            rates of one of them only.
        every_step: whether it needs the loss of every step: it isn't judged over a log that holds every 50th.
        resolve_after: evaluations without the finding after which it counts as resolved; None = never resolves.
        rests_until: step before which it need not be asked at a *quiet* reading: the next step's finite loss, nothing
            beside it and nothing new known of the run. It says so itself where it would only repeat why it can't judge,
            or None while it has found nothing: :meth:`take` is called instead then. All other readings are shown to
            it, so are quiet ones where a judge likes to.
    """

    rule: ClassVar[str]
    code: ClassVar[str]
    reads: ClassVar[tuple[str, ...]]
    severity: ClassVar[Severity]
    title: ClassVar[str]
    refresh: ClassVar[bool] = False
    by_optimizer: ClassVar[bool] = False
    every_step: ClassVar[bool] = False
    resolve_after: ClassVar[int | None] = 20
    rests_until: int = 0

    def __init__(self) -> None:
        self._reset()

    @abstractmethod
    def _reset(self) -> None:
        """Set all changing state to its start."""

    @abstractmethod
    def update(self, reading: Reading) -> Finding | None:
        """Eat one reading; return what holds now."""

    def take(self, reading: Reading) -> None:  # noqa: B027 - optional
        """Note what it needs of a quiet reading while it rests; nothing is judged."""

    def found(
        self,
        reading: Reading,
        severity: Severity,
        message: str,
        *,
        where: Sequence[str] = (),
        evidence: Mapping[str, Evidence] | None = None,
        advice: Sequence[str] = (),
        step: int | None = None,
    ) -> Finding:
        """Return a finding of this rule at this reading (or at an earlier ``step`` where the trouble began)."""
        return Finding(
            rule=self.rule,
            severity=severity,
            step=reading.step,
            epoch=reading.epoch,
            where=tuple(where),
            message=message,
            evidence=evidence or {},
            advice=tuple(advice),
            first_step=reading.step if step is None else step,
            last_step=reading.step,
        )

    def parameters(self) -> dict[str, Any]:
        """Return the constructor's arguments and their present values (limits, window lengths)."""
        names = inspect.signature(type(self).__init__).parameters
        return {name: getattr(self, name) for name in names if name != "self"}

    def state_dict(self) -> dict[str, Any]:
        """Return the changing state as plain data."""
        return snapshot(self, skip=frozenset(self.parameters()))

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back a :meth:`state_dict`; leaves its argument alone."""
        restore(self, state)
