"""The base of all sinks: where readings and findings go."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lightning_diag.diagnosis import Coverage, Diagnosis
from lightning_diag.finding import Finding
from lightning_diag.reading import Reading


def _none(step: int) -> tuple[str, ...]:
    return ()


@dataclass(frozen=True)
class RunInfo:
    """What a sink is told when it opens.

    Attributes:
        run_dir: the run directory; None when it can't be written.
        name: the run's name, made of letters, digits, ``-`` and ``_``.
        meta: plain facts for the head of the record (versions, monitors, detectors and their limits).
        resumed_step: the checkpoint's step when the run goes on from one: readings after it are measured again.
        samples: returns the ids of the samples a recent step was made of; nothing where batches hold none.
    """

    run_dir: Path | None
    name: str
    meta: Mapping[str, object] = field(default_factory=dict)
    resumed_step: int | None = None
    samples: Callable[[int], tuple[str, ...]] = _none


class Sink(ABC):
    """A place readings and findings go to. Runs on rank 0 only; may raise (the caller disables it and tells once).

    Two methods must be written; ``open``, ``close``, ``block`` and ``coverage`` may be. After ``close`` a sink may be
    opened again (a second ``fit`` on the same trainer).

    Attributes:
        broke_off: whether an exception ended the run; set before ``close``.
    """

    broke_off: bool = False

    def open(self, run: RunInfo) -> None:  # noqa: B027 - optional
        """Get ready; called once before the first reading."""

    @abstractmethod
    def reading(self, reading: Reading) -> None:
        """Take one reading (host signals included), in the order of steps."""

    def block(self, readings: Sequence[Reading]) -> None:
        """Take readings that were judged together, in the order of steps; a sink may do so in fewer calls."""
        for reading in readings:
            self.reading(reading)

    @abstractmethod
    def finding(self, finding: Finding) -> None:
        """Take one finding that opened, worsened, came back or resolved, with its whole present state."""

    def coverage(self, coverage: Coverage) -> None:  # noqa: B027 - optional
        """Take which checks have run so far and why the others have not: after the first reading and when it changed.

        The coverage of the whole run comes with the diagnosis.
        """

    def close(self, diagnosis: Diagnosis) -> None:  # noqa: B027 - optional
        """Write what is left; called once at the end, also after an exception in the user's run."""
