"""The content of the samples that pass: who was here before, with which label, and against which odds."""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_diag._transfer import wait_for_all
from lightning_diag.observation import Observation
from lightning_diag.probes import data_kernels as kernels
from lightning_diag.probes.base import Batch, Probe, Scene, Values, moved
from lightning_diag.probes.data_keys import chunks, hashed_tensors, sample_keys
from lightning_diag.probes.observer import find_target
from lightning_diag.reading import Reading
from lightning_diag.streaming.label_suspects import LabelSuspects
from lightning_diag.streaming.sample_ledger import SampleLedger

HASH_FRAC = 0.003  # share of step time that hashing may take on steps that aren't sampled ...
GRACE_S = 0.25  # ... once it has taken this much in all
LOOKING = 1.5  # times that of hashing: finding the predictions beside it
SHIP = 64  # hashed batches that travel together, where no sampled step takes them along sooner
WAITING = 512  # validation batches that are hashed
PASSES = 2  # validation passes that are hashed: what they hold is remembered
KEPT_SAMPLES = 50_000  # of more samples the ledger (33 bytes each) isn't put into checkpoints, and starts anew
TRAIN_EVAL = 0.9  # share of a validation loader's samples, one of several, from which it is training data on purpose
UNHASHABLE = "the batches hold no tensors that can be told sample by sample"
_RAW = ("data/train_rows", "data/val_rows")
_MADE = (
    "data/samples", "data/kept_frac", "data/duplicate_frac", "data/renewed_frac", "data/conflict_frac",
    "data/leaked_frac", "data/leaked_samples", "data/noise_frac", "data/noise_samples", "data/noise_depth",
    "data/noise_margin", "data/noise_seen",
)  # fmt: skip


class DataContentProbe(Probe):
    """Hashes samples on the device; a ledger on the host remembers them.

    A 63-bit key of each training sample (see :func:`~.data_keys.sample_keys`) of every batch as long as that takes less
    than 0.3 % of step time, else of as many as it may; of every sample of the first two validation passes. Keys travel
    with the packet of the next sampled step, or 64 batches together; what is found leaves as shares. The ledger holds
    at most 4.2 million samples (140 MB, beyond it an even sample of them), is not recorded, and kept in checkpoints up
    to 50,000 samples. Margins come with every key where the predictions are found by themselves.
    """

    every_step = True
    kept = ("ledger",)
    signals = (*_RAW, *_MADE)

    def attach(self, scene: Scene) -> dict[str, str]:
        self.ledger = SampleLedger()
        self.suspects = LabelSuspects()
        self._scene = scene
        self._rows: list[Tensor] = []
        self._val_rows: list[Tensor] = []
        self._val_keys: NDArray[np.float64] = np.empty((0, 4))
        self._sampled = self._wanted = self._unhashable = False
        self._given: Batch | None = None
        self._passes = self._epoch = self._batches = self._told = 0
        self._last_idx = -1
        self._spent_s, self._cost_s, self._step_s, self._at = 0.0, 0.0, 0.0, 0.0
        self._device: torch.device | None = None
        self._made: dict[str, Any] = {}
        return {}

    def wants(self, batch_idx: int) -> bool:
        now = perf_counter()
        if self._at:
            self._step_s = now - self._at if not self._step_s else 0.9 * self._step_s + 0.1 * (now - self._at)
        self._at = now
        self._batches += 1
        self._wanted = not self._unhashable and self._batches % self._stride() == 0
        return self._wanted

    def batch_start(self, batch: Batch) -> None:
        self._sampled = True

    def loss(self, batch: Batch) -> None:
        if batch.counted:
            return
        batch.counted = True
        if batch.batch_idx <= self._last_idx:
            self._epoch += 1
        self._last_idx = batch.batch_idx
        if self._sampled:
            self._given = batch  # ``observed`` adds the margins, if it comes
        elif self._wanted:
            start = perf_counter()
            self._hash(batch, batch.observation)
            self._cost_s = LOOKING * (perf_counter() - start)
            self._spent_s += self._cost_s

    def observed(self, batch: Batch) -> None:
        if self._sampled and (self._given is batch or not batch.counted):
            self._given, batch.counted = None, True
            self._hash(batch, batch.observation)

    def collect(self) -> Values:
        if not self._sampled:
            return self._shipped() if len(self._rows) >= SHIP else []
        if self._given is not None:
            self._hash(self._given, self._given.observation)
        self._sampled, self._given, self._at = False, None, 0.0
        return self._shipped()

    def validation_start(self) -> None:
        self._val_rows = []
        self._at = 0.0

    def validation_batch(self, batch: Batch) -> None:
        if self._passes < PASSES and len(self._val_rows) < WAITING:
            rows = self._content(batch, None)
            if rows is not None:
                place = batch.loader if isinstance(batch.loader, int) else 0
                self._val_rows.append(torch.cat([rows[:, :3], torch.full_like(rows[:, :1], float(place))], 1))

    def validation_end(self, metrics: Mapping[str, Tensor]) -> Values:
        self._passes += 1
        rows, self._val_rows = self._val_rows, []
        if rows:
            self._device = rows[0].device
        if self._unhashable or self._device is None:
            return []
        return [
            *self._shipped(),
            ("data/val_rows", torch.cat(rows) if rows else torch.zeros(0, 4, device=self._device)),
        ]

    def learn(self, reading: Reading) -> Mapping[str, Any]:
        train, val = reading.values.get("data/train_rows"), reading.values.get("data/val_rows")
        if train is not None and train.size:
            for epoch in np.unique(train[:, 5]):
                self.ledger.add(train[train[:, 5] == epoch, :5], int(epoch))
        if val is not None and val.size:
            self._val_keys = np.unique(np.concatenate([self._val_keys, np.asarray(val)]), axis=0)
        if self._unhashable and not self.ledger.rows:
            return {"unmeasured": dict.fromkeys(_MADE, UNHASHABLE)}
        return {} if val is None and self.ledger.rows < 1.5 * self._told + 2000 else self._tell()

    def derived(self) -> Mapping[str, Any]:
        made, self._made = self._made, {}
        return made

    def state_dict(self) -> dict[str, Any]:
        if len(self.ledger) > KEPT_SAMPLES:
            return {"epoch": self._epoch, "passes": 0}
        columns = {n: torch.from_numpy(c.view(np.int64) if c.dtype == np.uint64 else c.copy())
                   for n, c in self.ledger.columns().items()}  # fmt: skip
        return {
            "epoch": self._epoch, "passes": self._passes, "told": self._told, "last": self._last_idx,
            "columns": columns, "waiting": moved(self._rows, torch.device("cpu")),
            "val": torch.from_numpy(self._val_keys.copy()),
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        self._epoch, self._passes, self._device = int(state["epoch"]), int(state["passes"]), device
        if "columns" in state:
            self.ledger.take(wait_for_all(state["columns"]))
            self._val_keys = wait_for_all({"val": state["val"]})["val"]
            self._told, self._last_idx = int(state["told"]), int(state["last"])
            self._rows = moved(state["waiting"], device)

    def detach(self) -> None:
        self._rows, self._val_rows, self._given = [], [], None

    # ------------------------------------------------------------------ inside

    def _shipped(self) -> Values:
        rows, self._rows = self._rows, []
        return [("data/train_rows", torch.cat(rows))] if rows else []

    def _stride(self) -> int:
        if self._spent_s < GRACE_S or not self._step_s:
            return 1
        return max(1, int(self._cost_s / (HASH_FRAC * self._step_s)))

    def _hash(self, batch: Batch, seen: Observation | None) -> None:
        rows = self._content(batch, seen)
        if rows is not None:
            self._rows.append(rows)

    def _content(self, batch: Batch, seen: Observation | None) -> Tensor | None:
        """Rows ``(B, 6)``: key in three parts, label, margin, epoch; None where samples can't be told."""
        with torch.no_grad():
            tensors = hashed_tensors(batch.batch)
            if not tensors:
                self._unhashable = True
                return None
            parts = chunks(sample_keys(tensors))
            label = margin = torch.full_like(parts[:, 0], torch.nan)
            target = find_target(batch.batch) if seen is None else seen.target
            if target is not None and target.shape == label.shape and not target.is_floating_point():
                label = target.detach().to(parts)
                if seen is not None and seen.predicted is not None and seen.logits is not None:
                    margin = kernels.margins(seen.logits, target)
            epoch = torch.full_like(label, float(self._epoch))
            return torch.cat([parts, torch.stack([label, margin, epoch], 1)], 1)

    def _tell(self) -> Mapping[str, Any]:
        ledger = self.ledger
        self._told = ledger.rows
        made = {
            "samples": len(ledger) / ledger.kept_frac, "kept_frac": ledger.kept_frac,
            "renewed_frac": ledger.renewed_frac, "conflict_frac": ledger.conflict_frac,
        }  # fmt: skip
        train, val = self._scene.loaders()
        if not any(loader.replacement for loader in train):
            made["duplicate_frac"] = ledger.repeats_frac
        if not any(loader.borrowed for loader in val):
            made |= self._leaks()
        noise, names = self.suspects.look(ledger)
        if noise is not None:
            made |= {f"noise_{field}": value for field, value in noise._asdict().items()}
        self._made = {f"data/{name}": np.float64(np.float32(value)) for name, value in made.items()}
        return {"names": {"suspect": names}} if names else {}

    def _leaks(self) -> dict[str, float]:
        """Of the validation loader that leaks most; one of several that is all training data is meant to be."""
        ledger, worst = self.ledger, (-1.0, 0.0)
        keys = self._val_keys[ledger.kept(self._val_keys)]
        places = np.unique(keys[:, 3])
        for place in places:
            leaked = ledger.holds(keys[keys[:, 3] == place], rare=True)
            share = float(leaked.mean())
            if share <= TRAIN_EVAL or len(places) == 1:
                worst = max(worst, (share, float(leaked.sum())))
        if worst[0] < 0:
            return {}
        return {"leaked_frac": worst[0], "leaked_samples": worst[1] / ledger.kept_frac}
