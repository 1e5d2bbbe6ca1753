"""The content of the samples that pass: who was here before, with which label, and against which odds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from time import get_clock_info, perf_counter, thread_time
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightning_diag._transfer import wait_for_all
from lightning_diag.observation import Observation
from lightning_diag.probes.base import Batch, Probe, Scene, Values, moved
from lightning_diag.probes.data_pictures import Pictures, wanted
from lightning_diag.probes.data_rows import Samples, samples_of, train_rows, val_rows
from lightning_diag.probes.data_waiting import WaitingSamples
from lightning_diag.reading import Reading
from lightning_diag.streaming.sample_tally import VAL_COLUMNS, SampleTally

HASH_FRAC = 0.003  # share of step time that hashing may take on steps that aren't sampled ...
GRACE_S = 0.25  # ... beside this much in all: of the first epoch all is hashed while it lasts ...
START = 0.6  # ... but the rest of it is spread over the plan: late margins tell more of a label than early ones
LOOK_S = 1e-4  # seconds of finding a batch's predictions, which the pipeline does
SHIP = 64  # hashed batches that travel together, where no sampled step takes them along sooner
WAITING = 512  # validation batches that are hashed
PASSES = 2  # validation passes that are hashed: what they hold is remembered
KEPT_SAMPLES = 50_000  # of the ledger (49 bytes each) in a checkpoint: of more samples an even sample of them
# own time, where the system counts it finely: what others take of the core meanwhile is no cost of ours
_clock = thread_time if get_clock_info("thread_time").resolution < 1e-5 else perf_counter
_RAW = ("data/train_rows", "data/val_rows", "data/picture_rows")
_MADE = (
    "data/samples", "data/kept_frac", "data/duplicate_frac", "data/renewed_frac", "data/conflict_frac",
    "data/leaked_frac", "data/leaked_samples", "data/noise_frac", "data/noise_samples", "data/noise_depth",
    "data/noise_margin", "data/noise_seen", "data/noise_rate", "data/noise_error", "data/noise_low", "data/noise_high",
    "data/suspects", "data/suspect_pictures",
)  # fmt: skip


class DataContentProbe(Probe):
    """Hashes samples on the device; a ledger on the host remembers them.

    A 63-bit key of each training sample (see :func:`~.data_keys.sample_keys`) of every batch as long as that takes less
    than 0.3 % of step time and a quarter of a second in all, spread over the plan; else of as many as it may, so that
    samples come again by chance; of every sample of the first two validation passes. Keys travel
    with the packet of the next sampled step, or 64 batches together; what is found leaves as shares. The ledger holds
    at most 4.2 million samples (206 MB, beyond it an even sample of them), is not recorded. A checkpoint keeps at most
    50,000, an even sample of more, with which a resumed run goes on. Margins come with every key where the predictions
    are found by themselves.
    """

    some_steps = True
    kept = ("tally",)
    signals = (*_RAW, *_MADE)

    def attach(self, scene: Scene) -> dict[str, str]:
        self.tally = SampleTally(positions=scene.facts.world_size == 1)
        self._pictures = Pictures()
        self._scene = scene
        self._rows: list[Tensor] = []
        self._waiting = WaitingSamples()
        self._held = 0  # batches in both
        self._val_rows: list[Tensor] = []
        self._val_at: dict[int | str, int] = {}
        self._sampled = self._unhashable = False
        self._given: Batch | None = None
        self._passes = self._epoch = self._batches = 0
        self._left = 1  # steps until the next that is wanted
        self._began: int | None = None  # epoch of the first batch
        self._spent_s, self._cost_s, self._step_s, self._at = 0.0, 0.0, 0.0, 0.0
        self._device: torch.device | None = None
        self._made: dict[str, Any] = {}
        return {}

    def wants(self) -> bool:
        self._batches += 1
        self._left -= 1
        if self._left > 1 or self._unhashable:
            return False
        now = perf_counter()  # what the step before a wanted one takes, stands for all between
        if self._at:
            self._step_s = now - self._at if not self._step_s else 0.9 * self._step_s + 0.1 * (now - self._at)
        self._at = now
        return self._left <= 0

    def batch_start(self, batch: Batch) -> None:
        self._sampled = True

    def loss(self, batch: Batch) -> None:
        if batch.counted:
            return
        batch.counted = True
        if self._began is None:
            self._began = batch.epoch
        if batch.epoch - self._began != self._epoch:
            self._hash_waiting()
            self._epoch = batch.epoch - self._began
        if self._sampled:
            self._given = batch  # ``observed`` adds the margins, if it comes
        elif self._left <= 0:
            start = _clock()
            self._hash(batch, batch.observation, wait=self._epoch > 0)  # near duplicates want keys in the first epoch
            cost_s = _clock() - start + LOOK_S
            self._cost_s = 0.95 * self._cost_s + 0.05 * cost_s if self._cost_s else cost_s
            self._spent_s += cost_s
            self._left = self._stride()
            if self._left > 1:
                self._at = 0.0

    def observed(self, batch: Batch) -> None:
        if self._sampled and (self._given is batch or not batch.counted):
            self._given, batch.counted = None, True
            self._hash(batch, batch.observation)

    def collect(self) -> Values:
        if not self._sampled:
            return self._shipped() if self._held >= SHIP else []
        if self._given is not None:
            self._hash(self._given, self._given.observation)
        self._sampled, self._given, self._at = False, None, 0.0
        return self._shipped()

    def validation_start(self) -> None:
        self._val_rows, self._val_at = [], {}
        self._at = 0.0

    def validation_batch(self, batch: Batch) -> None:
        if self._passes < PASSES and len(self._val_rows) < WAITING:
            first = self._val_at.get(batch.loader, 0)
            rows = val_rows(batch, first)
            if rows is None:
                self._unhashable = True
            else:
                self._val_at[batch.loader] = first + len(rows)
                self._val_rows.append(rows)

    def validation_end(self, metrics: Mapping[str, Tensor]) -> Values:
        self._passes += 1
        rows, self._val_rows = self._val_rows, []
        if rows:
            self._device = rows[0].device
        if self._unhashable or self._device is None:
            return []
        pictures = self._pictures.take()
        return [
            *self._shipped(),
            *([] if pictures is None else [("data/picture_rows", pictures)]),
            ("data/val_rows", torch.cat(rows) if rows else torch.zeros(0, VAL_COLUMNS, device=self._device)),
        ]

    def learn(self, reading: Reading) -> Mapping[str, Any]:
        train, val = reading.values.get("data/train_rows"), reading.values.get("data/val_rows")
        if train is not None and train.size:
            self.tally.train(train)
        if val is not None and val.size:
            self.tally.validation(val)
        shown = reading.vector("data/picture_rows")
        if shown is not None:
            self._made["data/suspect_pictures"] = shown
        if val is None and not self.tally.due:
            return {}
        train_loaders, val_loaders = self._scene.loaders()
        made, names = self.tally.tell(
            replacement=any(loader.replacement for loader in train_loaders),
            borrowed=any(loader.borrowed for loader in val_loaders),
        )
        self._made |= {f"data/{name}": np.float64(np.float32(value)) for name, value in made.items()}
        table = self.tally.suspects.table()
        if len(table):
            self._made["data/suspects"] = table
            self._pictures.look_for(wanted(table))
        return {"names": names} if names else {}

    def derived(self) -> Mapping[str, Any]:
        made, self._made = self._made, {}
        return made

    def state_dict(self) -> dict[str, Any]:
        self._hash_waiting()
        arrays = {n: torch.from_numpy(a.view(np.int64) if a.dtype == np.uint64 else a.copy())
                  for n, a in self.tally.state_dict(KEPT_SAMPLES).items()}  # fmt: skip
        return {
            "epoch": self._epoch, "passes": self._passes, "began": self._began, "batches": self._batches,
            "costs": [self._spent_s, self._cost_s, self._step_s], "tally": arrays,
            "waiting": moved(self._rows, torch.device("cpu")),
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        self._epoch, self._passes, self._device = int(state["epoch"]), int(state["passes"]), device
        if "tally" in state:
            self.tally.load_state_dict(wait_for_all(state["tally"]))
            self._pictures.look_for(wanted(self.tally.suspects.table()))
            self._began = state.get("began", 0)
            self._batches = int(state.get("batches", 0))
            self._spent_s, self._cost_s, self._step_s = state.get("costs", (0.0, 0.0, 0.0))
            self._rows = moved(state["waiting"], device) if self._scene.rank == 0 else []
            self._held = len(self._rows)

    def detach(self) -> None:
        self._rows, self._val_rows, self._given = [], [], None
        self._waiting = WaitingSamples()

    # ------------------------------------------------------------------ inside

    def _shipped(self) -> Values:
        self._hash_waiting()
        rows, self._rows, self._held = self._rows, [], 0
        return [("data/train_rows", torch.cat(rows))] if rows else []

    def _stride(self) -> int:
        """Steps from one hashed batch to the next."""
        left = GRACE_S - self._spent_s
        if not self._step_s or (self._epoch == 0 and left > (1 - START) * GRACE_S):
            return 1
        planned = self._scene.facts.planned_steps
        ahead = planned - self._batches if planned else self._batches  # not known: as many again as there were
        allowed = HASH_FRAC * self._step_s + max(0.0, left) / max(1, ahead)
        return max(1, math.ceil(self._cost_s / allowed))

    def _hash(self, batch: Batch, seen: Observation | None, *, wait: bool = False) -> None:
        samples = samples_of(batch, seen)
        if samples is None:
            self._unhashable = True
            return
        self._held += 1
        if wait and self._waiting.take(samples):
            if self._waiting.full:
                self._hash_waiting()
            return
        if not self._waiting.alike(samples):
            self._hash_waiting()
        rows = self._add(self._waiting.joined(samples) or samples)
        batch.keys = rows[len(rows) - len(samples.inputs[0]) :]

    def _hash_waiting(self) -> None:
        samples = self._waiting.joined()
        if samples is not None:
            self._add(samples)

    def _add(self, samples: Samples) -> Tensor:
        rows = train_rows(samples, self._epoch)
        self._rows.append(rows)
        self._pictures.see(samples.inputs[0], rows[:, :3])
        return rows[:, :3]
