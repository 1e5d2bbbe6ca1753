from __future__ import annotations

import torch

from lightning_diag._transfer import Transfer, is_finite_now, wait_for
from lightning_diag.packet import Packet


def packet(step: int, *values: float) -> Packet:
    return Packet.pack(step, 0, 0, "train", [("grad/parameter_norm", torch.tensor(values))])


def test_cpu_packets_land_at_once_and_in_order() -> None:
    transfer = Transfer()
    transfer.submit(packet(1, 1.0, 2.0), urgent=False)
    transfer.submit(packet(2, 3.0))
    got = [(p.step, p.values["grad/parameter_norm"].tolist()) for p in transfer.landed()]
    assert got == [(1, [1.0, 2.0]), (2, [3.0])]
    assert list(transfer.landed()) == []


def test_finish_gives_what_waits() -> None:
    transfer = Transfer()
    transfer._waiting.append(packet(1, 1.0))
    assert [p.step for p in transfer.finish()] == [1]


def test_questions_to_a_tensor() -> None:
    assert is_finite_now(torch.tensor([1.0, float("inf")])) is False
    assert is_finite_now(torch.ones(2)) is True
    assert is_finite_now(torch.ones(2, device="meta")) is None
    assert wait_for(torch.tensor([1, 2])).tolist() == [1.0, 2.0]
