"""Processes tell each other what they measured, through a key-value store and never through a collective.

A collective waits for every process, so one that is missing, late or elsewhere hangs all. Here each process leaves its
packets under keys of its own and goes on; the first one picks up what is there, merges step by step, and leaves the
result for the others. Nobody waits but at the end of the run, and there for a few seconds at most. Packets say what
they hold, so processes whose steps, signals or shapes differ can't mix them up. The store is the one that
``torch.distributed`` met at.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from time import monotonic, sleep
from typing import Any

from lightning_diag._ranks.merge import Landed, merged
from lightning_diag._ranks.wire import Flight, Store, decode, encode

LAG = 64  # flights that one process may be behind another before it is left out: bounds memory and the wait
FEW = 8  # processes that may be asked one by one at every look
SCAN_S = 1.0  # seconds from one time that more are asked one by one to the next
POLL_S = 0.1  # seconds between two looks while nothing is sent
QUIET_S = 2.0  # seconds without news after which the end of a run waits no longer for the others ...
FINISH_S = 10.0  # ... and seconds it waits at the longest; the others may be waiting for this process
FAILED_S = 0.5  # both for a run that broke
STAGES = ("train", "validation")


class _Stream:
    """What one process has sent and nobody has merged yet, in the order of its steps."""

    def __init__(self) -> None:
        self.flights = 0
        self.waiting: deque[tuple[tuple[int, int, int], Landed]] = deque()
        self.ended = False
        self._last = (0, 0, 0)

    def feed(self, flight: Flight) -> None:
        self.flights += 1
        self.ended = flight.end
        for part in flight.parts:
            place = part.step, STAGES.index(part.stage)
            again = self._last[2] + 1 if place == self._last[:2] else 0  # two validation passes at one step
            self._last = (*place, again)
            self.waiting.append((self._last, part))


class Exchange:
    """One process's end of the exchange.

    Args:
        store: the store, with a prefix of this run's own.
        rank: this process, 0 = the one that merges.
        replicas: for each rank the part of the data it trains on.
        tell: told once why the exchange stopped working.

    Attributes:
        stop_step: optimizer step after which all processes are to stop; None = go on.
        plan: optimizer step from which on every how many steps are sampled; None = as it is.
        lost: processes that were left behind, with the reason (known to rank 0).
    """

    def __init__(
        self, store: Store, rank: int, replicas: Sequence[int], tell: Callable[[str, BaseException], None]
    ) -> None:
        self.rank = rank
        self.replicas = tuple(replicas)
        self.stop_step: int | None = None
        self.plan: tuple[int, int] | None = None
        self.lost: dict[int, str] = {}
        self._store = store
        self._tell = tell
        self._works = True
        self._sent = self._read = 0
        self._taken = 0  # own flights that rank 0 says it has
        self._looked = self._scanned = 0.0
        self._over = False
        self._streams = [_Stream() for _ in replicas]
        self._acknowledged: dict[int, int] = dict.fromkeys(range(1, len(replicas)), 0)
        self._kept = 0  # merged flights before this one are deleted

    def send(self, parts: Sequence[Landed], *, end: bool = False) -> None:
        """Leave packets for the others."""
        flight = Flight(tuple(parts), end, read=self._read)
        if self.rank == 0:
            self._streams[0].feed(flight)
        elif self._works and self._sent - self._taken <= 2 * LAG:
            self._guarded(lambda: self._store.set(f"{self.rank}/{self._sent}", encode(flight)))
            self._sent += 1
        elif self._works:
            self._broke(TimeoutError(f"rank 0 took none of the last {2 * LAG} packets of rank {self.rank}"))
        self._looked = 0.0

    def received(self) -> list[Landed]:
        """Return the merged steps that have arrived since; doesn't wait."""
        now = monotonic()
        if not self._works or now - self._looked < POLL_S:
            return []
        self._looked = now
        found: list[Landed] | None = self._guarded(self._merge if self.rank == 0 else self._fetch)
        return found or []

    def finish(self, *, failed: bool = False) -> Iterator[Landed]:
        """Say that nothing more comes, and yield what the others still had: waits a few seconds at most."""
        self.send((), end=True)
        patience, longest = (FAILED_S, FAILED_S) if failed else (QUIET_S, FINISH_S)
        start = news = monotonic()
        while self._works and not self._over:
            self._looked = self._scanned = 0.0
            found = self.received()
            yield from found
            now = monotonic()
            news = now if found else news
            if now - news > patience or now - start > longest:
                break
            sleep(0.002)
        if self._works:
            yield from self._last(patience)

    def stop_at(self, step: int) -> None:
        """Ask all processes to stop after an optimizer step that lies ahead; rank 0 decides, the others hear it."""
        if self.rank == 0 and self.stop_step is None:
            self.stop_step = step
            self._guarded(lambda: self._publish([]))

    def sample(self, step: int, interval: int) -> None:
        """Ask all processes to sample at another interval from a step on that lies ahead; rank 0 decides."""
        if self.rank == 0:
            self.plan = (step, interval)
            self._guarded(lambda: self._publish([]))

    # ------------------------------------------------------------------ rank 0

    def _merge(self) -> list[Landed]:
        self._collect()
        front = max(stream.flights for stream in self._streams)
        for rank in self._behind():
            if front - self._streams[rank].flights > LAG:
                self._leave(rank, f"it is {LAG} packets behind")
        ready = list(self._ready())
        done = all(s.ended or r in self.lost for r, s in enumerate(self._streams))
        if ready or (done and not self._over):
            self._over = done
            self._publish(ready)
        return ready

    def _behind(self) -> list[int]:
        return [r for r, stream in enumerate(self._streams) if r and not stream.ended and r not in self.lost]

    def _collect(self) -> None:
        """Take what is there: of all at once where all are through, else one by one (seldom where they are many)."""
        behind = self._behind()
        keys = {rank: f"{rank}/{self._streams[rank].flights}" for rank in behind}
        if len(behind) > 1 and self._store.check(list(keys.values())):
            for rank, data in zip(keys, self._get(list(keys.values())), strict=True):
                self._take(rank, data)
            return
        now = monotonic()
        if len(behind) > FEW and now - self._scanned < SCAN_S:
            return
        self._scanned = now
        for rank in behind:
            stream = self._streams[rank]
            while not stream.ended and self._store.check([key := f"{rank}/{stream.flights}"]):
                self._take(rank, self._store.get(key))

    def _get(self, keys: list[str]) -> Sequence[bytes]:
        """Values of keys that are there, in one round trip where the store can."""
        extended = getattr(self._store, "has_extended_api", None)
        if extended is None or not extended():
            return [self._store.get(key) for key in keys]
        values: Sequence[bytes] = self._store.multi_get(keys)  # type: ignore[attr-defined]
        return values

    def _take(self, rank: int, data: bytes) -> None:
        flight = decode(data)
        self._acknowledged[rank] = flight.read
        self._streams[rank].feed(flight)

    def _ready(self) -> Iterator[Landed]:
        """Merge the steps that no process can have anything more of, in their order."""
        streams = {r: s for r, s in enumerate(self._streams) if r not in self.lost}
        while True:
            if any(not s.waiting and not s.ended for s in streams.values()):
                return
            heads = {r: s.waiting[0] for r, s in streams.items() if s.waiting}
            if not heads:
                return
            place = min(key for key, _ in heads.values())
            yield merged(
                {r: streams[r].waiting.popleft()[1] for r, (key, _) in heads.items() if key == place}, self.replicas
            )

    def _publish(self, parts: Iterable[Landed]) -> None:
        taken = tuple(stream.flights for stream in self._streams)
        flight = Flight(tuple(parts), self._over, taken=taken, stop=self.stop_step, plan=self.plan)
        self._store.set(f"all/{self._read}", encode(flight))
        self._read += 1
        keep = max(min(self._acknowledged.values(), default=self._read), self._read - 2 * LAG)
        for old in range(self._kept, keep):
            self._store.delete_key(f"all/{old}")
        self._kept = max(self._kept, keep)

    def _leave(self, rank: int, reason: str) -> None:
        self.lost[rank] = reason
        self._tell(f"the exchange with rank {rank}", TimeoutError(reason))

    def _last(self, patience: float) -> list[Landed]:
        """Leave the others: what rank 0 still merges without them, and a word that this process has read the end."""
        if self.rank:
            self._guarded(lambda: self._store.set(f"bye/{self.rank}", b"1"))
            return []
        found: list[Landed] | None = []
        if not self._over:
            for rank in self._behind():
                self._leave(rank, f"it did not end within {patience:g} s of rank 0")
            found = self._guarded(self._merge)
        self._guarded(lambda: self._part(monotonic() + patience))
        return found or []

    def _part(self, limit: float) -> None:
        """The store may live in this process: stay until the others have read the end."""
        left = {f"bye/{r}" for r, s in enumerate(self._streams) if r and s.ended and r not in self.lost}
        while left and monotonic() < limit and not self._store.check(sorted(left)):
            sleep(0.002)

    # ------------------------------------------------------------------ the others

    def _fetch(self) -> list[Landed]:
        found: list[Landed] = []
        while not self._over and self._store.check([key := f"all/{self._read}"]):
            flight = decode(self._store.get(key))
            self._read += 1
            for old in range(self._taken, flight.taken[self.rank]):  # each clears up behind itself
                self._store.delete_key(f"{self.rank}/{old}")
            self._taken = flight.taken[self.rank]
            self._over = flight.end
            self.stop_step, self.plan = flight.stop, flight.plan
            found += flight.parts
        return found

    # ------------------------------------------------------------------ both

    def _guarded(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except Exception as error:
            self._broke(error)
            return None

    def _broke(self, error: BaseException) -> None:
        self._works = False
        self._tell("the exchange between processes", error)
