"""Which domain each sample of a batch belongs to, by every way a user can say it, as a slot number."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lightning_diag.errors import ConfigurationError
from lightning_diag.probes.base import Batch, Loader, Scene

LOADER = "loader"  # marks a name that all ranks have, from the loaders
ASKED = 3  # times the loaders of a stage are asked while there are none
SLOTS = 8  # domains kept apart; what comes later shares the last slot
KEYS = ("domain", "domains", "domain_id", "is_real", "is_synthetic")  # batch keys looked for without being asked
BOOLEAN = {"is_real": ("synthetic", "real"), "is_synthetic": ("real", "synthetic")}

Domain = str | Callable[[Any, int | str], Any] | None
Slot = int | Tensor


class DomainNames:
    """Turns what a batch says of its domain into slots, and keeps the slots' names.

    Order of the ways, when ``domain`` is None: the observation's own domain, a batch key of :data:`KEYS`, the data
    set's ``domain`` attribute, the loader's name, and last the index of the validation loader where there are several.

    Args:
        domain: a batch key, ``domain(batch, loader) -> Tensor | str | None``, or None = automatic.
        names: names of the slots: of the integer ids, or of all domains there are (needed for names that come with the
            batches under several processes, which could not agree on their order otherwise).
    """

    def __init__(self, domain: Domain = None, names: Sequence[str] = ()) -> None:
        if domain is not None and not isinstance(domain, str) and not callable(domain):
            raise ConfigurationError(f"domain must be a batch key, a callable or None, got {domain!r}")
        if len(names) > SLOTS:
            raise ConfigurationError(f"names must be at most {SLOTS} domains, got {len(names)}")
        self.domain = domain
        self.given = tuple(str(name) for name in names)

    def start(self, scene: Scene) -> None:
        """A run begins."""
        self.slots: dict[str, int] = {name: i for i, name in enumerate(self.given)}
        self.fixed = bool(self.given)
        self.by_id = False
        self.used = len(self.given)  # slots that exist; ids alone don't tell the host
        self.reason = ""
        self._ids: tuple[str, ...] = self.given
        self._together = scene.facts.world_size > 1
        self._scene = scene
        self._loaders: dict[str, tuple[Loader, ...]] = {}
        self._asked = {"train": 0, "validation": 0}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the slots there are."""
        if not self.by_id:
            return tuple(self.slots)
        known = self._ids[: self.used]
        return known + tuple(_numbered(i) for i in range(len(known), self.used))

    def look(self, stage: str) -> None:
        """Ask the loaders of a stage (``train`` or ``validation``) what they say; once they exist."""
        if self._loaders.get(stage) or self._asked[stage] >= ASKED:
            return
        self._asked[stage] += 1
        self._loaders = dict(zip(("train", "validation"), self._scene.loaders(), strict=True))
        for loaders in self._loaders.values():
            for loader in loaders:
                self._ids = self._ids or loader.domain_names[:SLOTS]
                if self.domain is None and (loader.domain or loader.name):
                    self._slot(loader.domain or loader.name, declared=True)

    def loader_names(self, stage: str) -> frozenset[str]:
        """Names of a stage's loaders, where they were given by name."""
        return frozenset(loader.name for loader in self._loaders.get(stage, ()) if loader.name)

    def of(self, batch: Batch, stage: str) -> Slot | None:
        """Return the slot of the whole batch, or one a sample ``(B,)`` on the batch's device; None = not known."""
        self.look(stage)
        value, key = self._value(batch, stage)
        if value is None:
            if isinstance(self.domain, str):
                self.reason = f"the batches have no key {self.domain!r} that names a domain"
            return None
        if isinstance(value, str):
            return self._slot(value, declared=key == LOADER)
        if isinstance(value, Tensor):
            return self._from_ids(value, key)
        if isinstance(value, Sequence) and value and all(isinstance(name, str) for name in value):
            return self._from_names(value, batch)
        self.reason = f"a domain must be a name, a list of names or integer ids (B,), got {type(value).__name__}"
        return None

    def settle(self, highest: int) -> None:
        """The host has learned the highest id that was seen."""
        if self.by_id and not self._together:
            self.used = max(self.used, min(highest + 1, SLOTS), len(self._ids))

    def state_dict(self) -> dict[str, Any]:
        """Return which slot means what."""
        return {
            "given": list(self.given), "slots": dict(self.slots), "by_id": self.by_id, "used": self.used,
            "ids": list(self._ids), "reason": self.reason,
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any]) -> bool:
        """Take it back after :meth:`start`; returns False, and takes nothing, where other names were given."""
        if tuple(state["given"]) != self.given:
            return False
        self.slots, self.by_id, self.used = dict(state["slots"]), bool(state["by_id"]), int(state["used"])
        self._ids, self.reason = tuple(state["ids"]), str(state["reason"])
        return True

    def _value(self, batch: Batch, stage: str) -> tuple[Any, str]:
        data = batch.batch
        if callable(self.domain):
            return self.domain(data, batch.loader), ""
        if self.domain is not None:
            return (data.get(self.domain), self.domain) if isinstance(data, Mapping) else (None, "")
        seen = batch.observation
        if seen is not None and seen.domain is not None:
            return seen.domain, "domain"
        if isinstance(data, Mapping):
            for key in KEYS:
                if _names_domain(data.get(key)):
                    return data[key], key
        return self._of_loader(batch, stage), LOADER

    def _of_loader(self, batch: Batch, stage: str) -> str | None:
        loaders = self._loaders.get(stage, ())
        index = batch.loader if isinstance(batch.loader, int) else 0
        if index >= len(loaders) or (stage == "train" and len(loaders) > 1):
            return None
        loader = loaders[index]
        name = loader.domain or loader.name
        return name or (f"validation loader {index}" if stage == "validation" and len(loaders) > 1 else None)

    def _from_ids(self, ids: Tensor, key: str) -> Tensor | None:
        if ids.is_floating_point() or ids.is_complex():
            self.reason = f"a domain must be a name or integer ids (B,), got a tensor of {ids.dtype}"
            return None
        ids = ids.detach().reshape(-1)
        if not self.by_id:
            if self.slots and not self.fixed and not set(self.slots) <= set(self._ids):
                self.reason = f"integer domain ids beside the names {', '.join(self.slots)}: use one of both"
                return None
            self.by_id = True
            self._ids = self._ids or BOOLEAN.get(key, ())
            self.used = len(self._ids) or (SLOTS if self._together else 0)
        return ids.long().clamp(-1, SLOTS - 1)

    def _from_names(self, names: Sequence[str], batch: Batch) -> Tensor:
        slots = torch.tensor([-1 if (slot := self._slot(name)) is None else slot for name in names])
        seen = batch.observation
        target = None if seen is None else seen.target
        if target is None or not target.is_cuda:
            return slots
        return slots.pin_memory().to(target.device, non_blocking=True)

    def _slot(self, name: str, *, declared: bool = False) -> int | None:
        if self.by_id and name in self._ids:
            return self._ids.index(name)
        if self.by_id:
            self.reason = f"domain {name!r} beside integer domain ids: give their names, DomainGapMonitor(names=[...])"
            return None
        if name in self.slots:
            return self.slots[name]
        if self.fixed or (self._together and not declared):
            self.reason = (
                f"domain {name!r} is none of names={self.given!r}"
                if self.fixed
                else "under several processes the names of the domains must be given: DomainGapMonitor(names=[...])"
            )
            return None
        if len(self.slots) >= SLOTS - 1:
            name = "other domains"
        slot = self.slots.setdefault(name, len(self.slots))
        self.used = max(self.used, len(self.slots))
        return slot


def _names_domain(value: Any) -> bool:
    """Whether a batch's entry can be what says its domain: a name, names, or one integer or boolean a sample."""
    if isinstance(value, Tensor):
        return value.ndim <= 1 and not value.is_floating_point() and not value.is_complex()
    if isinstance(value, str):
        return True
    return isinstance(value, (list, tuple)) and bool(value) and all(isinstance(name, str) for name in value)


def _numbered(i: int) -> str:
    return f"domain {i}" if i < SLOTS - 1 else f"domain {i} and above"
