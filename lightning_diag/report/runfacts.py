"""Who ran what: the head line of the page and the facts at its end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from itertools import pairwise
from typing import Any

from lightning_diag.record import Record, has_writer
from lightning_diag.report.gather import Gathered
from lightning_diag.report.verdict import MAX_FINDINGS, STATUS
from lightning_diag.report.words import TEXT_LENGTH, clean, number, percent, plural

SILENT_S = 600.0  # a running run whose record got no line for so long may have been killed ...
LEFT_S = 20.0  # ... and was, if nobody has the record open either
MAX_FACTS = 60
LIMITS, SETTINGS = "detectors", "hyperparameters"  # entries of the record's meta
MAX_LIMITS = 300

LABELS = (
    ("task", "Task"), ("loss_kind", "Loss"), ("num_classes", "Classes"), ("chance_loss", "Loss at chance"),
    ("chance_source", "Known from"), ("optimizers", "Optimizers"), ("batch_size", "Batch a process"),
    ("accumulate", "Batches a step"), ("world_size", "Processes"), ("strategy", "Strategy"), ("device", "Device"),
    ("precision", "Precision"), ("clip_val", "Gradient clipping"), ("clip_algorithm", "Clipping by"),
    ("steps_per_epoch", "Steps an epoch"), ("planned_steps", "Steps planned"), ("normalized", "Has normalization"),
)  # fmt: skip


def status_of(record: Record, now: datetime) -> str:
    """Return the record's status, or ``killed`` where it says that the run goes on and nobody writes to it any more."""
    status: str = record.info["status"]
    if status == "running" and _silent_s(record, now) > LEFT_S and has_writer(record.run_dir) is False:
        return "killed"
    return status


def run_head(record: Record, got: Gathered, now: datetime, status: str) -> dict[str, str]:
    """Return name, status, progress and, while the run goes on, how old the page is."""
    planned = got.facts.planned_steps
    progress = "no step measured"
    if got.readings:
        progress = f"step {got.last_step:,}" + (f" of {planned:,}" if planned else "")
    if len(got.epochs) > 1:
        progress += f", epoch {got.epochs[-1][0]:,}"
    written = now.strftime("%Y-%m-%d %H:%M UTC")
    return {
        "name": clean(record.info["name"]) or "unnamed run",
        "status": STATUS.get(status, clean(status)),
        "status_kind": clean(status),
        "progress": progress,
        "written": written,
        "banner": " ".join(_banner(record, status, now, written, progress)),
        "age": now.isoformat(timespec="seconds") if status == "running" else "",
        "directory": clean(record.run_dir),
    }


def _banner(record: Record, status: str, now: datetime, written: str, progress: str) -> Iterator[str]:
    if status == "killed":
        yield f"The run never came to its end: it was killed, or its machine was. Last seen at {progress}."
    elif status == "running":
        silent = _silent_s(record, now)
        if silent > SILENT_S:
            yield f"The record says the run goes on, but nothing new came for {_span(silent)}: it may have been killed."
        else:
            yield f"Run in progress, {progress}. This page was written at {written}: reload it for what came since."
    if len(record.findings) > MAX_FINDINGS:
        yield f"Only the {MAX_FINDINGS} most severe of {len(record.findings):,} findings are shown."
    if record.thinned:
        yield "Readings were left out to keep the record small: what is drawn may miss some."
    if record.damaged:
        yield f"{plural(record.damaged, 'line')} of the record could not be read."


def run_facts(record: Record, got: Gathered) -> list[tuple[str, str]]:
    """Return label and value of what is known of the run; what isn't known is left out."""
    info = record.info
    rows = [("Created", _time(info["created"])), ("Readings", f"{got.readings:,}")]
    if len(info["sessions"]) > 1:
        rows.append(("Resumed at step", ", ".join(f"{int(step):,}" for step in info["sessions"][1:21])))
    for name, label in LABELS:
        value = getattr(got.facts, name)
        if value not in (None, (), ""):
            rows.append((label, _value(value)))
    parameters = got.facts.names.get("parameter", ())
    if parameters:
        weights = sum(got.facts.parameter_numel)
        known = f", {number(weights)} weights" if weights else ""
        rows.append(("Parameters", f"{len(parameters):,} tensors{known}"))
    rows += list(_times(got))
    rows.append(("Versions", clean(", ".join(f"{k} {v}" for k, v in info["versions"].items()), TEXT_LENGTH)))
    meta = {k: v for k, v in info["meta"].items() if k not in (LIMITS, SETTINGS)}
    rows += [(_label(k), clean(v, TEXT_LENGTH)) for k, v in _flat(meta)]
    settings = info["meta"].get(SETTINGS)
    if isinstance(settings, Mapping):  # of switches those that are on
        rows += [(clean(k), clean(v, TEXT_LENGTH)) for k, v in _flat(settings) if v != "False"]
    return [(label, value) for label, value in rows if value][:MAX_FACTS]


def _times(got: Gathered) -> Iterator[tuple[str, str]]:
    """Where the time went, where it was measured."""
    elapsed = _last(got, "time/elapsed_s")
    if not elapsed:
        return
    yield "Time measured", _span(elapsed)
    for signal, label in (("time/validation_s", "in validation"), ("time/checkpoint_s", "saving checkpoints")):
        spent = _last(got, signal)
        if spent is not None:
            yield f"Time {label}", percent(spent / elapsed)
    if "time/wait_frac" in got.series:
        yield (
            "Time waiting for batches",
            f"{percent(float(got.series['time/wait_frac'].values.mean()))}, mean of samples",
        )


def _last(got: Gathered, signal: str) -> float | None:
    series = got.series.get(signal)
    return None if series is None or not len(series) else float(series.values[-1])


def limits(record: Record) -> list[tuple[str, str]]:
    """Return each check with the limits it ran with."""
    checks = record.info["meta"].get(LIMITS)
    if not isinstance(checks, Mapping):
        return []
    rows = []
    for rule, values in sorted(checks.items()):
        if isinstance(values, Mapping):
            words = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in _flat(values))
            rows.append((clean(rule), clean(words, TEXT_LENGTH) or "none"))
    return rows[:MAX_LIMITS]


def _time(text: str) -> str:
    try:
        return datetime.fromisoformat(text).astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    except ValueError:
        return clean(text)


def _label(key: str) -> str:
    text = clean(key.replace("_", " "))
    return text[:1].upper() + text[1:]


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        return number(value)
    if isinstance(value, tuple):
        return clean(", ".join(str(v) for v in value), TEXT_LENGTH)
    return clean(value)


def _flat(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in data.items():
        if isinstance(value, Mapping) and len(prefix) < 200:
            yield from _flat(value, f"{prefix}{key} ")
        elif isinstance(value, (list, tuple)):
            yield f"{prefix}{key}", ", ".join(str(v) for v in value[:200])
        elif value is not None:
            yield f"{prefix}{key}", number(value) if isinstance(value, float) else str(value)


def _silent_s(record: Record, now: datetime) -> float:
    times = [p.stat().st_mtime for p in record.run_dir.glob("*.json*") if p.is_file()]
    return (now - datetime.fromtimestamp(max(times), timezone.utc)).total_seconds() if times else 0.0


def _span(seconds: float) -> str:
    sizes = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))
    for (size, noun), (part, smaller) in pairwise(sizes):
        if seconds >= size:
            whole, rest = int(seconds // size), int(seconds % size // part)
            exact = whole < 10 and rest > 0  # 1 minute 40 seconds, but 12 minutes
            return plural(whole, noun) + (f" {plural(rest, smaller)}" if exact else "")
    return plural(int(seconds), "second")
