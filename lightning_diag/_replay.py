"""The detectors over a finished run: a record in, a diagnosis out, without torch, a trainer or a GPU."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence

from lightning_diag import detectors as room
from lightning_diag._judge import Judge, chosen
from lightning_diag.detectors.base import Detector
from lightning_diag.diagnosis import Diagnosis
from lightning_diag.reading import Reading
from lightning_diag.record import Record, load

log = logging.getLogger("lightning_diag")


def shipped() -> list[type[Detector]]:
    """Return the classes of all rules this package ships, by rule."""
    named = (getattr(room, name) for name in room.__all__)
    classes = [item for item in named if isinstance(item, type) and issubclass(item, Detector) and item is not Detector]
    return sorted(classes, key=lambda cls: cls.rule)


def check(
    record: Record | str | os.PathLike[str] | Iterable[Reading],
    *,
    detectors: Iterable[Detector] | None = None,
    select: Sequence[str] | str = ("*",),
    ignore: Sequence[str] | str = (),
) -> Diagnosis:
    """Run detectors over the readings of a run and return what they find, as the run itself would have been told.

    Host signals (the level of the loss, its noise ...) are made again from the recorded losses. A detector that raises
    is left out and stands in the coverage with the reason; the others go on.

    Args:
        record: a run directory, an open :class:`~lightning_diag.record.Record`, or readings in the order of steps.
        detectors: detectors to run, with limits of your choice; every shipped one with its defaults when None.
        select: globs of rules to judge; ``loss`` alone means ``loss/*``.
        ignore: globs of rules to leave out.

    Returns:
        The diagnosis; ``coverage.ran`` is empty where nothing could be judged.

    Raises:
        RecordError: the record can't be read.
        ConfigurationError: a pattern matches no rule.

    Examples:
        >>> import numpy as np
        >>> noise = np.random.default_rng(0).normal(0, 0.02, 400)
        >>> losses = 2.0 * np.exp(-np.arange(400) / 150 + noise)
        >>> losses[300:] = np.nan
        >>> diagnosis = check([Reading(i + 1, 0, {"loss/train": loss}) for i, loss in enumerate(losses)])
        >>> diagnosis.causes[0].findings[0].rule, diagnosis.causes[0].first_step
        ('loss/non-finite', 301)
    """
    if isinstance(record, (str, os.PathLike)):
        record = load(record)
    if detectors is None:
        detectors = [cls() for cls in shipped()]
    judge = Judge(chosen(detectors, select, ignore), on_error=_tell)
    for reading in record.readings() if isinstance(record, Record) else record:
        judge.update(judge.enrich(reading))
    return judge.diagnosis


def _tell(rule: str, error: Exception) -> None:
    log.warning("%s failed on this record and is left out: %s: %s", rule, type(error).__name__, error)
