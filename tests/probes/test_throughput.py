from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from lightning_diag.probes import memory
from lightning_diag.probes.base import Batch, Scene
from lightning_diag.probes.clock import Clock
from lightning_diag.probes.throughput import ThroughputProbe
from lightning_diag.reading import Facts


def attached(clock: Clock, **facts: Any) -> tuple[ThroughputProbe, dict[str, str]]:
    probe = ThroughputProbe()
    reasons = probe.attach(Scene(nn.Linear(2, 2), [], Facts(device="cpu", **facts), clock=clock))
    return probe, reasons


def test_a_lap_is_told_a_batch() -> None:
    now = iter(float(t) for t in range(100))
    clock = Clock(lambda: next(now))
    clock.running = True
    probe, reasons = attached(clock)
    assert [name for name in reasons if name.startswith("time/")] == []
    for _ in range(3):
        clock.fetch()
        clock.fetched()
    values = dict(probe.collect())
    assert values["time/batches"] == 3.0 and values["time/wait_s"] == 1.0
    assert values["time/batch_s"] == pytest.approx(7 / 3) and values["time/wait_frac"] == pytest.approx(3 / 7)
    assert "time/batches" not in dict(probe.collect())  # nothing was fetched since
    assert "rank/wait_s" not in values


def test_a_clock_that_nobody_presses_is_not_measurable() -> None:
    probe, reasons = attached(Clock())
    assert "Lightning" in reasons["time/batch_s"]
    assert not [name for name, _ in probe.collect() if name.startswith("time/")]


def test_each_process_tells_its_own_times() -> None:
    clock = Clock()
    clock.running = True
    probe, _ = attached(clock, world_size=2)
    clock.fetch()
    clock.fetched()
    probe.batch_start(Batch(None, 0))
    probe.loss(Batch(None, 0))
    values = dict(probe.collect())
    assert {"rank/wait_s", "rank/forward_s"} <= values.keys()
    probe.validation_start()
    assert dict(probe.validation_end({})).keys() == {"time/validation_s", "time/elapsed_s"}


def test_memory_of_a_process_is_what_it_holds_alone() -> None:
    before = memory.host_bytes()
    held = mmap.mmap(
        -1, 32 * 2**20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    )  # the allocator would hand out memory that this process had before
    for page in range(0, len(held), mmap.PAGESIZE):
        held[page] = 1
    after = memory.host_bytes()
    assert before is not None and after is not None and 25 * 2**20 < after - before < 64 * 2**20
    assert (memory.free_bytes() or 0) > 0 and len(held)


def test_a_system_that_does_not_say_is_not_measurable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(memory, "_STATM", tmp_path / "none")
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "none")
    assert memory.host_bytes() is None and memory.free_bytes() is None
    _, reasons = attached(Clock())
    assert "Linux" in reasons["memory/host_bytes"]
