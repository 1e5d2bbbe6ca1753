"""``lightning-diag flight RUN``: the steps around the first bad event, one line each."""

from __future__ import annotations

import argparse
import json

import numpy as np

from lightning_diag.cli.base import FINE, Command, add_run, say
from lightning_diag.reading import Reading
from lightning_diag.record import Flight, flights, load
from lightning_diag.record.lines import jsonable
from lightning_diag.sinks._news import clean

COLUMNS = (
    ("loss", "loss/train"), ("z", "loss/z"), ("lr", "lr"), ("gradient", "grad/norm"),
    ("update", "update/parameter_ratio"), ("scale", "scaler/scale"),
)  # fmt: skip
IDS = 4  # sample ids shown of a step
SCHEMA_VERSION = 1


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the run and the form of the output."""
    add_run(parser)
    parser.add_argument("--json", action="store_true", help="print everything as JSON")


def run(options: argparse.Namespace) -> int:
    """Print the recordings of a run."""
    load(options.record)  # says so where it is no record
    found = flights(options.record)
    if options.json:
        say(json.dumps({"schema_version": SCHEMA_VERSION, "flights": [_data(flight) for flight in found]}))
        return FINE
    if not found:
        say("Nothing to show: no finding of warning or worse while the flight recorder was on.")
    for flight in found:
        say(clean(f"{flight.event.severity} {flight.event.rule} at step {flight.event.step}: {flight.event.message}"))
        say("  ".join(["    step", " batch", *(f"{title:>9}" for title, _ in COLUMNS), "samples"]))
        for reading in flight.readings:
            if reading.stage == "train":
                say(_line(flight, reading))
    return FINE


def _line(flight: Flight, reading: Reading) -> str:
    mark = ">" if reading.step == flight.event.step else " "
    ids = flight.samples.get(reading.step, ())
    shown = ", ".join(ids[:IDS]) + (f" and {len(ids) - IDS} more" if len(ids) > IDS else "")
    numbers = "  ".join(f"{_number(reading, signal):>9}" for _, signal in COLUMNS)
    return clean(f"{mark}{reading.step:>7}  {reading.batch_idx:>6}  {numbers}  {shown}").rstrip()


def _number(reading: Reading, signal: str) -> str:
    value = reading.values.get(signal)
    if value is None:
        return ""
    numbers = np.asarray(value, dtype=np.float64).ravel()
    finite = numbers[np.isfinite(numbers)]
    return f"{finite.max():.4g}" if finite.size else str(numbers[0]) if numbers.size else ""


def _data(flight: Flight) -> object:
    steps = [
        {"step": r.step, "epoch": r.epoch, "batch_idx": r.batch_idx, "stage": r.stage, "values": dict(r.values),
         "samples": flight.samples.get(r.step, ())}
        for r in flight.readings
    ]  # fmt: skip
    return jsonable({"event": flight.event.to_dict(), "steps": steps})


COMMAND = Command(
    help="show the steps around the first bad event",
    arguments=arguments,
    run=run,
    description=(
        "Show the steps before and after the first finding of warning or worse (and the first critical one): loss, its "
        "z, learning rate, gradient norm, largest update ratio, loss scale, batch index and sample ids."
    ),
)
