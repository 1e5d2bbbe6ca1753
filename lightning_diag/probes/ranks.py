"""What processes that should agree (or differ) send each other: fingerprints of weights and of the first samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lightning_diag.probes.base import Batch, Probe, Scene, Values
from lightning_diag.probes.data_keys import chunks, hashed_tensors, sample_keys
from lightning_diag.probes.shards import is_distributed
from lightning_diag.probes.strided import strided_view

HALF = 24  # bits of half a hash: a whole number that float32 holds exactly
ELEMENTS = 256  # of a parameter that go into a fingerprint; another choice of them each time
EVERY = 8  # sampled steps from one fingerprint of the weights to the next
SAMPLES = 4  # of a batch whose hashes are compared
_ODD = (0x9E3779B97F4A7C15 - 2**64, 0xC2B2AE3D27D4EB4F - 2**64)  # odd 64-bit constants, from xxHash
_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_ALONE = "one process has nobody to differ from"
_SHARDED = "no parameter lies whole in every process"
_AVERAGED = "the strategy lets the processes' weights differ and averages them now and then"


class RankProbe(Probe):
    """Fingerprints by which processes find out that their weights differ, or that their data doesn't.

    Weights: two 24-bit halves of a hash of the bits of up to 256 elements a parameter (each time others), their L2 norm
    and a fixed +-1 projection, every 8th sampled step. The hash is a sum of integers, so that its order doesn't matter:
    equal weights give equal hashes on whatever device, unequal ones with a probability of ``1 - 2**-48`` others. Only
    parameters that lie whole in every process count. Data: hashes of the first 4 samples of each sampled batch.
    """

    signals = ("rank/weights", "rank/batch_hash", "rank/loss", "rank/grad_norm")
    kept = ("_turn",)

    def attach(self, scene: Scene) -> dict[str, str]:
        self._weights: list[Tensor] = []
        self._hash: Tensor | None = None
        self._turn = 0
        self._size = scene.facts.world_size
        self._on = self._size > 1
        if not self._on:
            return dict.fromkeys((*self.signals, "rank/wait_s", "rank/forward_s"), _ALONE)
        if not scene.replicated:
            return {"rank/weights": _AVERAGED}
        ignored = set(getattr(scene.module, "_ddp_params_and_buffers_to_ignore", ()))
        named = scene.module.named_parameters()
        self._weights = [p for name, p in named if name not in ignored and not is_distributed(p) and p.numel()]
        if scene.facts.strategy in ("FSDPStrategy", "DeepSpeedStrategy"):
            self._weights = []
        return {} if self._weights else {"rank/weights": _SHARDED}

    def facts(self) -> Mapping[str, Any]:
        return {"names": {"rank": tuple(f"rank {r}" for r in range(self._size))}} if self._on else {}

    def batch_start(self, batch: Batch) -> None:
        if not self._on or self._hash is not None:
            return  # the first micro-batch stands for the step
        tensors = [tensor[:SAMPLES] for tensor in hashed_tensors(batch.batch)]
        if not tensors or not tensors[0].shape[0]:
            return
        keys = chunks(sample_keys(tensors))
        missing = keys.new_full((SAMPLES - len(keys), keys.shape[1]), torch.nan)
        self._hash = torch.cat([keys, missing]).reshape(-1)

    def collect(self) -> Values:
        values: Values = [] if self._hash is None else [("rank/batch_hash", self._hash)]
        self._hash = None
        if self._weights and self._turn % EVERY == 0:
            turn = self._turn // EVERY
            mark = fingerprint(self._weights, turn)
            values.append(("rank/weights", torch.cat([mark.new_full((1,), float(turn)), mark])))
        self._turn += 1
        return values

    def detach(self) -> None:
        self._weights = []
        self._hash = None


@torch.no_grad()
def fingerprint(tensors: Sequence[Tensor], turn: int = 0) -> Tensor:
    """Return two halves of a hash, the L2 norm and a +-1 projection of a strided sample, float32 ``(4,)``.

    Args:
        tensors: on one device, none of them empty.
        turn: which elements are taken; the same on every process.
    """
    views = [strided_view(torch.view_as_real(t) if t.is_complex() else t, ELEMENTS, turn) for t in tensors]
    values = torch.cat([view.float() for view in views])
    words = torch.cat([view.contiguous().view(_BITS[view.element_size()]).to(torch.int64) for view in views])
    index = torch.arange(1, len(words) + 1, device=words.device)
    halves = [((words * (index * odd | 1)).sum() >> (64 - HALF)) & (2**HALF - 1) for odd in _ODD]
    signs = ((index * _ODD[0]) >> 63).to(values.dtype) * 2 + 1  # 0 or -1
    return torch.stack([*(half.float() for half in halves), torch.linalg.vector_norm(values), (values * signs).sum()])
