"""Takes packets to the host (and to the other processes) and hands on what arrives, with what is known of the run."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from lightning_diag._judge.teller import Teller
from lightning_diag._pipeline.roster import Roster
from lightning_diag._ranks.merge import Landed
from lightning_diag._transfer import Transfer
from lightning_diag.observation import Observation
from lightning_diag.packet import Packet
from lightning_diag.probes.base import Values
from lightning_diag.reading import Facts, Reading
from lightning_diag.signals import SIGNALS

OF_CLASSES = ("class/", "accuracy/", "data/noise")  # signals that mean something only of scores of classes


class Courier:
    """The way of packets out and of readings in.

    Args:
        transfer: from the device to the host, and through the other processes.
        roster: probes that learn from readings.
        teller: who judges and tells them.
        facts: what is known of the run.

    Attributes:
        arrived: optimizer step of the newest reading.
    """

    def __init__(self, transfer: Transfer, roster: Roster, teller: Teller, facts: Facts) -> None:
        self.transfer = transfer
        self.facts = facts
        self.arrived = 0
        self._roster = roster
        self.teller = teller
        self._pending: dict[str, Any] = {}  # learned here, and not yet told to the other processes

    @property
    def alone(self) -> bool:
        """Whether no other process is told."""
        return self.transfer.exchange is None

    def send(self, step: int, epoch: int, batch_idx: int, stage: str, values: Values, *, urgent: bool = True) -> None:
        """Send a packet, and judge what has arrived."""
        learned, self._pending = self._pending, {}
        packet = Packet.pack(step, epoch, batch_idx, stage, values, learned, sharded=self.facts.sharded)
        self.transfer.submit(packet, urgent=urgent)
        self._take(self.transfer.landed())

    def finish(self, *, failed: bool) -> None:
        """Judge everything that is on its way."""
        self._take(self.transfer.finish(failed=failed))

    def drain(self) -> None:
        """Judge what is on its way from the device: checkpoints wait anyway. Others' are not awaited."""
        if self.alone:
            self._take(self.transfer.finish())

    def hear(self, learned: Mapping[str, Any]) -> None:
        """Take in facts that every process learns by itself."""
        if learned:
            self.facts = self.facts.merged(learned)

    def know(self, learned: Mapping[str, Any]) -> None:
        """Take in facts that were learned here, and let the other processes know."""
        self.hear(learned)
        if self.alone:
            return
        for name, value in learned.items():
            joined = {**self._pending.get(name, {}), **value} if isinstance(value, Mapping) else value
            self._pending[name] = joined

    def trust(self, seen: Observation | None) -> Observation | None:
        """Return what was seen of predictions; what the user gave is taken at its word."""
        if seen is not None and not seen.guessed and not self.facts.class_scores:
            self.know({"class_scores": True})
        return seen

    def _take(self, parts: Iterable[Landed]) -> None:
        for part in parts:
            self.arrived = part.step
            self.hear(part.learned)
            reading = Reading(part.step, part.epoch, part.values, self.facts, part.batch_idx, part.stage)
            self._roster.learn(reading)
            values = self._judged(part.values)
            if values is not part.values or reading.facts is not self.facts:
                reading = dataclasses.replace(reading, facts=self.facts, values=values)
            if values:
                self.teller.take(reading)

    def _judged(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """What is left for detectors and sinks: raw rows give way to what probes made of them.

        What counts classes is left out while outputs may be an embedding or an image beside which labels happen to be.
        """
        made = self._roster.derived()
        if not any(map(self._kept_back, values)) and not made:
            return values
        return {name: value for name, value in {**values, **made}.items() if not self._kept_back(name)}

    def _kept_back(self, signal: str) -> bool:
        return SIGNALS[signal].merge == "rows" or (not self.facts.class_scores and signal.startswith(OF_CLASSES))
