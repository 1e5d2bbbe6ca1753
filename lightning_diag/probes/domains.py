"""Errors, losses, input statistics and features by domain, and what tells the domains apart."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightning_diag._transfer import wait_for
from lightning_diag.observation import Observation
from lightning_diag.probes import domain_sums as sums
from lightning_diag.probes.base import Batch, Probe, Scene, Values, moved
from lightning_diag.probes.batch_fields import find_input
from lightning_diag.probes.domain_conflict import cosines, head_gradients
from lightning_diag.probes.domain_features import Head, Pool
from lightning_diag.probes.domain_names import SLOTS, Domain, DomainNames, Slot
from lightning_diag.probes.domain_parts import parts
from lightning_diag.probes.domain_separation import compare
from lightning_diag.reading import Reading

MAX_PROBED = 4  # domains: each is compared with the rest
MAX_LOADERS = 16


class DomainProbe(Probe):
    """Sums over the samples of each domain, on the device; a few floats a domain leave after each validation pass.

    Training: sampled batches, in training mode, since the pass before. The linear probe and the MMD look at passes 2,
    3, 5, 8, 12 ... (half as many more each time), so that their cost is nothing over a run; there validation waits once
    for the device.

    Args:
        domain: see :class:`DomainNames`.
        names: see :class:`DomainNames`.
        target: name of the domain that counts, where the user says so.
    """

    signals = (
        "domain/named", "domain/val_samples", "domain/val_sums", "domain/val_class_support", "domain/val_class_right",
        "domain/train_samples", "domain/train_sums", "domain/train_class_support", "domain/train_class_right",
        "domain/loader_samples", "domain/input_sums", "domain/gradient_cosine", "domain/probe_auc", "domain/probe_p",
        "domain/probe_error", "domain/mmd", "domain/mmd_p",
    )  # fmt: skip

    kept = ("names", "_train")

    def __init__(self, domain: Domain = None, names: Sequence[str] = (), target: str | None = None) -> None:
        self.names = DomainNames(domain, names)
        self.target = target
        self.configured = domain is not None or bool(names) or target is not None

    def attach(self, scene: Scene) -> dict[str, str]:
        self.names.start(scene)
        self._scene = scene
        self._together = scene.facts.world_size > 1
        self._head: Head | None = None
        self._pool: Pool | None = None
        self._pass, self._next = 0, 2
        self._kind: str | None = None
        self._told: tuple[str, ...] = ()
        self._train: dict[str, Tensor] = {}
        self._val: dict[str, Tensor] = {}
        self._cosine: Tensor | None = None
        return {}

    def facts(self) -> Mapping[str, Any]:
        return {} if self.target is None else {"target_domain": self.target}

    # ------------------------------------------------------------------ training, sampled steps

    def batch_start(self, batch: Batch) -> None:
        if self._head is not None and self._kind is not None and self._kind.startswith("cross-entropy"):
            self._head.start()

    def observed(self, batch: Batch) -> None:
        if not batch.observed:
            self._see(batch, "train", self._train)

    def collect(self) -> Values:
        if self._head is not None:
            self._head.stop()
        cosine, self._cosine = self._cosine, None
        return [] if cosine is None else [("domain/gradient_cosine", cosine)]

    # ------------------------------------------------------------------ validation

    def validation_start(self) -> None:
        self._pass += 1
        self._val = {}
        domains = self._domains
        due = self._pass >= self._next and 2 <= domains <= MAX_PROBED
        self._pool = Pool(domains, seed=self._pass) if due else None
        if self._pool is not None and self._head is not None:
            self._head.start()

    def validation_batch(self, batch: Batch) -> None:
        self._see(batch, "validation", self._val)
        if self._pool is not None and self._head is not None:
            self._head.start()

    def validation_end(self, metrics: Mapping[str, Tensor]) -> Values:
        val, train = self._val, self._train
        self._val, self._train = {}, {}
        if self._head is not None:
            self._head.stop()
        if not val and not train:
            return [("domain/named", np.float64(0.0))]
        if self.names.by_id:
            self.names.settle(_highest(val, train))
        domains = self._domains
        if self._head is None and domains > 1:
            self._head = Head(self._scene.module)
        values: Values = [("domain/named", np.float64(1.0))]
        for stage, made in (("val", val), ("train", train)):
            leaving = [name for name in made if name not in ("input", "loader")]
            values += [(f"domain/{stage}_{name}", made[name][:domains]) for name in leaving]
        inputs = [made["input"] for made in (val, train) if "input" in made]
        if inputs:
            values.append(("domain/input_sums", torch.stack(inputs).sum(0)[:domains]))
        if "loader" in val:
            values.append(("domain/loader_samples", val["loader"][:domains]))
        return values + self._separations(domains)

    def learn(self, reading: Reading) -> Mapping[str, Any]:
        self._kind = reading.facts.loss_kind
        known: dict[str, Any] = {}
        if self.names.names != self._told:
            self._told = self.names.names
            known["names"] = {"domain": self._told}
        if self.names.reason and reading.scalar("domain/named") == 0:
            known["unmeasured"] = {"domain/val_samples": self.names.reason}
        return known

    def state_dict(self) -> dict[str, Any]:
        found = None if self._head is None else self._head.found
        return {
            "names": self.names.state_dict(), "told": list(self._told), "pass": self._pass, "next": self._next,
            "kind": self._kind, "train": moved(self._train, torch.device("cpu")), "looking": self._head is not None,
            "head": next((name for name, m in self._scene.module.named_modules() if m is found), None),
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        if not self.names.load_state_dict(state["names"]):
            return
        self._told, self._kind = tuple(state["told"]), state["kind"]
        self._pass, self._next = int(state["pass"]), int(state["next"])
        self._train = moved(state["train"], device) if self._scene.rank == 0 else {}
        if state["looking"]:
            self._head = Head(self._scene.module, state["head"])

    def detach(self) -> None:
        if self._head is not None:
            self._head.detach()
        self._head = self._pool = None
        self._train, self._val = {}, {}

    # ------------------------------------------------------------------ inside

    @property
    def _domains(self) -> int:
        """Slots that leave: all of them where ranks must agree and names aren't given."""
        return self.names.used

    def _see(self, batch: Batch, stage: str, into: dict[str, Tensor]) -> None:
        self.names.look(stage)
        for name, part, seen in parts(batch.batch, batch.captured, self.names.loader_names(stage)):
            made = dataclasses.replace(batch, batch=part, observation=seen)
            self._count(made, self.names.slots.get(name), stage, into)
        if batch.observation is not None:
            self._count(batch, self.names.of(batch, stage), stage, into)

    @torch.no_grad()
    def _count(self, batch: Batch, slots: Slot | None, stage: str, into: dict[str, Tensor]) -> None:
        seen = batch.observation
        if slots is None or seen is None:
            return
        known = sums.scores(seen, binary=self._kind == "bce")
        if known is None:
            self.names.reason = "neither errors nor losses of single samples are known"
            return
        error, loss = known
        samples = len(error)
        if isinstance(slots, Tensor) and slots.numel() not in (1, samples):
            self.names.reason = f"{slots.numel()} domains for {samples} samples"
            return
        member = sums.members(slots, samples, SLOTS, error.device)
        count = member.sum(1)
        sums.add(into, "samples", count)
        sums.add(into, "sums", torch.cat([sums.moments(error, member), sums.moments(loss, member)], 1))
        classes = sums.class_counts(seen, member)
        if classes is not None:
            sums.add(into, "class_support", classes[0])
            sums.add(into, "class_right", classes[1])
        source = find_input(batch.batch)
        statistics = None if source is None or len(source) != samples else sums.input_statistics(source)
        if statistics is not None:
            sums.add(into, "input", torch.cat([sums.moments(row.to(member.device), member) for row in statistics], 1))
        if stage == "validation":
            index = min(batch.loader, MAX_LOADERS - 1) if isinstance(batch.loader, int) else 0
            sums.add_column(into, "loader", count, index)
        self._features(seen, member, stage)

    def _features(self, seen: Observation, member: Tensor, stage: str) -> None:
        if self._head is None or not self._head.switch.on or seen.logits is None or seen.target is None:
            return
        features = self._head.take(seen.logits)
        if features is None or len(features) != member.shape[1]:
            return
        domains = self._domains
        if stage == "train":
            made = head_gradients(seen.logits, seen.target, features, member[:domains])
            self._cosine = None if made is None else cosines(made)
        elif self._pool is not None:
            classes = seen.target if seen.target.ndim == 1 and not seen.target.is_floating_point() else None
            self._pool.add(features, member[: self._pool.domains], classes)

    def _separations(self, domains: int) -> Values:
        pool, self._pool = self._pool, None
        if pool is None:
            return []
        self._next = max(self._pass + 1, int(np.ceil(self._pass * 1.5)))
        table = np.full((5, pool.domains), np.nan)
        kept = pool.take()
        if kept is not None:
            table = compare(wait_for(kept), self._pass)
        names = ("probe_auc", "probe_p", "probe_error", "mmd", "mmd_p")
        device = self._scene_device(kept)
        return [(f"domain/{name}", torch.as_tensor(row, device=device)) for name, row in zip(names, table, strict=True)]

    def _scene_device(self, kept: Tensor | None) -> torch.device:
        if kept is not None:
            return kept.device
        return next((p.device for p in self._scene.module.parameters()), torch.device("cpu"))


def _highest(*made: Mapping[str, Tensor]) -> int:
    """Highest slot that holds a sample; waits for the device, once a validation pass."""
    counts = sum((wait_for(sums_of["samples"]) for sums_of in made if "samples" in sums_of), np.zeros(SLOTS))
    return int(np.flatnonzero(counts)[-1]) if np.any(counts) else 0
