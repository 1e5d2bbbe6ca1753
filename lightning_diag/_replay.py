"""The detectors over a finished run: a record in, a diagnosis out, without torch, a trainer or a GPU."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from lightning_diag._judge.judge import Judge, chosen
from lightning_diag._plugins import known
from lightning_diag.detectors.base import Detector
from lightning_diag.diagnosis import Diagnosis
from lightning_diag.errors import ConfigurationError
from lightning_diag.logs import Log, open_log
from lightning_diag.reading import Reading
from lightning_diag.record import Record, load
from lightning_diag.record.reader import RUN

log = logging.getLogger("lightning_diag")


def open_run(path: str | os.PathLike[str], names: Mapping[str, str] | None = None) -> Record | Log:
    """Open a run record, or the log of a run that was not watched.

    Args:
        path: the run directory; else a log as :func:`lightning_diag.logs.open_log` takes it.
        names: signal -> column of a log.

    Raises:
        RecordError: there is neither, or it can't be read.
        ConfigurationError: ``names`` names what isn't there, or ``path`` is a record, whose signals have names.
    """
    if Path(path).is_dir() and (Path(path) / RUN).exists():
        if names:
            raise ConfigurationError("names is for logs: the signals of a run record have their names")
        return load(path)
    return open_log(path, names)


def check(
    record: Record | Log | str | os.PathLike[str] | Iterable[Reading],
    *,
    detectors: Iterable[Detector] | None = None,
    select: Sequence[str] | str = ("*",),
    ignore: Sequence[str] | str = (),
    names: Mapping[str, str] | None = None,
) -> Diagnosis:
    """Run detectors over the readings of a run and return what they find, as the run itself would have been told.

    Host signals (the level of the loss, its noise ...) are made again from the recorded losses. A detector that raises
    is left out and stands in the coverage with the reason; the others go on. Over a log that holds every 50th loss,
    rules that need every step are not judged.

    Args:
        record: a run directory; the log of a run that was not watched (Lightning's ``metrics.csv``, W&B's
            ``run-*.wandb``, TensorBoard's event files, or their folder); a record or log that is open; or readings in
            the order of steps.
        detectors: detectors to run, with limits of your choice; every rule with its defaults when None, those of other
            installed packages too.
        select: globs of rules to judge; ``loss`` alone means ``loss/*``.
        ignore: globs of rules to leave out.
        names: signal -> column of a log whose names are not the usual ones, such as ``{"loss/train": "nll"}``.

    Returns:
        The diagnosis; ``coverage.ran`` is empty where nothing could be judged.

    Raises:
        RecordError: the record can't be read.
        ConfigurationError: a pattern matches no rule, or ``names`` names what isn't there.

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
        record = open_run(record, names)
    if detectors is None:
        detectors = [cls() for cls in known()]
    wanted = chosen(detectors, select, ignore)
    judge = Judge(wanted, on_error=_tell, excused=_excused(record, wanted) if isinstance(record, Log) else None)
    for reading in record.readings() if isinstance(record, (Record, Log)) else record:
        judge.update(judge.enrich(reading))
    return judge.diagnosis


def _excused(log: Log, detectors: Iterable[Detector]) -> dict[str, str]:
    """Rules that a log with gaps can't be judged by, with the reason."""
    if log.interval_steps == 1:
        return {}
    reason = f"needs the loss of every step, the {log.table.kind} holds about every {log.interval_steps}th"
    return {detector.rule: reason for detector in detectors if detector.every_step}


def _tell(rule: str, error: Exception) -> None:
    log.warning("%s failed on this record and is left out: %s: %s", rule, type(error).__name__, error)
