"""The run record: one directory that holds all that is needed to redraw the report or to run the detectors again.

::

    run.json        {"schema", "name", "created", "status", "versions", "meta", "sessions", "last_step", "facts",
                     "coverage", "diagnosis"}
    readings.jsonl  {"s": step, "e": epoch, "b": batch_idx, "g": stage, "v": {signal: number or list}}   one a reading
                    {"facts": {...}, "session": i}    before the first reading and whenever the facts changed
                    {"thinned": {...}}                first line, once readings were left out to keep the size bounded
    findings.jsonl  Finding.to_dict(), one line an event; the last line of a rule is its present state
                    {"resumed": step}    the run went on from a checkpoint of that step: later findings are made again
    flight.jsonl    {"event": finding}, then the readings of the steps around it in full, with "ids" of their samples;
                    only where something bad happened

Text only, never a pickle. ``status`` is ``running``, ``finished`` or ``failed``; a killed run stays ``running``.
``coverage`` says which checks have run so far, at most a second late; at the end it gives way to that of the
``diagnosis``. ``sessions`` lists the first step of each time the record was opened: a run that went on from a
checkpoint measured some steps twice, and the later reading counts.
"""

from lightning_diag.record.directory import can_resume, has_writer, new_run_dir
from lightning_diag.record.flight import Flight, flights
from lightning_diag.record.reader import Record, load

__all__ = ["Flight", "Record", "can_resume", "flights", "has_writer", "load", "new_run_dir"]
