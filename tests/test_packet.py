from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from lightning_diag.packet import Packet


def test_pack_and_unpack_is_the_identity_on_float32() -> None:
    norms = torch.randn(3, 2)
    values: list[tuple[str, torch.Tensor | np.ndarray[Any, Any]]] = [
        ("loss/train", torch.tensor(2.5, dtype=torch.float64)),
        ("grad/parameter_norm", norms),
        ("lr", np.array([1e-3])),
    ]
    packet = Packet.pack(7, 1, 3, "train", values)
    got = packet.unpack(packet.flat.numpy())
    assert got["loss/train"].shape == () and float(got["loss/train"]) == 2.5
    assert got["grad/parameter_norm"].tolist() == norms.tolist()
    assert got["lr"].tolist() == [float(np.float32(1e-3))]  # rounded like all that travels
    assert all(v.dtype == np.float64 for v in got.values())


def test_a_packet_of_host_values_alone_and_an_unknown_signal() -> None:
    packet = Packet.pack(1, 0, 0, "train", [("lr", np.array([0.1, 0.2]))])
    assert packet.flat.numel() == 0
    assert packet.unpack(packet.flat.numpy())["lr"].shape == (2,)
    with pytest.raises(KeyError, match="no/such"):
        Packet.pack(1, 0, 0, "train", [("no/such", torch.ones(()))])


def test_the_packet_is_a_copy_of_what_was_measured() -> None:
    value = torch.ones(2)
    packet = Packet.pack(1, 0, 0, "train", [("grad/parameter_norm", value), ("loss/train", torch.ones(()))])
    value.zero_()
    assert packet.flat.tolist() == [1.0, 1.0, 1.0]
