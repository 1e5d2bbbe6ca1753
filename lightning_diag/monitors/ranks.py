"""How the processes of a trainer reach each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore, _get_default_store

from lightning_diag._guard import Guard
from lightning_diag._pipeline.schedule import Schedule
from lightning_diag._ranks.exchange import Exchange

AHEAD_STEPS = 16  # steps ahead at which several processes stop, or sample at another interval, at least


def exchange(trainer: Any, number: int, guard: Guard) -> Exchange | None:
    """Return this process's end of the exchange; None where it trains alone, or can't reach the others.

    Args:
        trainer: the trainer.
        number: of this fit in the process; the same on all ranks.
        guard: told when the others can't be reached.
    """
    world = int(getattr(trainer, "world_size", 1))
    if world < 2:
        return None
    try:
        if not dist.is_initialized():
            raise RuntimeError(f"{type(trainer.strategy).__name__} does not use torch.distributed")
        store = _get_default_store()  # where all processes met; no public way leads there
        clone = getattr(store, "clone", None)  # a connection of our own, never held up by somebody's wait
        own = PrefixStore(f"lightning_diag/{number}", store if clone is None else clone())
        return Exchange(own, int(trainer.global_rank), replicas(trainer, world), guard.tell)
    except Exception as error:
        guard.tell("the exchange between processes", error)
        return None


def replicas(trainer: Any, world: int) -> tuple[int, ...]:
    """Return the part of the data that each rank trains on: neighbours in tensor parallelism share one."""
    sampler = getattr(trainer, "distributed_sampler_kwargs", None) or {}
    parts = int(sampler.get("num_replicas") or world)
    return tuple(rank * parts // world for rank in range(world))


def ahead(schedule: Schedule, step: int) -> int:
    """Return a step that no process can have reached: one that acts on news alone leaves the others waiting."""
    return step + max(2 * schedule.interval, AHEAD_STEPS)


def follow(exchange: Exchange, schedule: Schedule, step: int, *, sampling: bool) -> bool:
    """Do what all processes agreed on; returns whether they stop after this step."""
    if sampling:
        if exchange.rank == 0 and (wanted := schedule.wanted()) is not None:
            exchange.sample(ahead(schedule, step), wanted)
        if exchange.plan is not None:
            schedule.agree(*exchange.plan)
    return exchange.stop_step is not None and step >= exchange.stop_step


def engine_norm(trainer: Any) -> Callable[[], Tensor | float | None] | None:
    """Return what gives the global gradient norm of a DeepSpeed engine; None for other strategies.

    The engine has it once it has stepped, before clipping and without the loss scale; ``None`` before, and where its
    optimizer keeps none (ZeRO off, in float32).
    """
    if type(trainer.strategy).__name__ != "DeepSpeedStrategy":
        return None

    def norm() -> Tensor | float | None:
        ask = getattr(trainer.strategy.model, "get_global_grad_norm", None)
        found: Tensor | float | None = None if ask is None else ask()
        return found

    return norm
