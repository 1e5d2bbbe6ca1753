"""Where targets of sequences come from, against loops over positions."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from lightning_diag.probes import sequence_kernels as kernels

G = torch.Generator().manual_seed(3)


def test_shifts_count_what_the_loss_counts() -> None:
    x, y = torch.randint(3, (7, 9), generator=G), torch.randint(-1, 3, (7, 9), generator=G)
    pairs = [[(int(y[i, t]), int(x[i, t + k])) for i in range(7) for t in range(9 - k)] for k in range(3)]
    wanted = [np.mean([a == b for a, b in found if a >= 0]) for found in pairs]
    assert kernels.shifts(x, y).tolist() == pytest.approx(wanted)


def test_shifts_of_targets_that_are_all_left_out() -> None:
    x = torch.randint(3, (2, 9), generator=G)
    assert kernels.shifts(x, torch.full_like(x, -100)).tolist() == [0.0, 0.0, 0.0]


def test_astray_is_the_share_of_the_commonest_target_input_and_position() -> None:
    x, y = torch.randint(4, (7, 9), generator=G), torch.randint(-1, 4, (7, 9), generator=G)
    odd = [
        (int(y[i, t]), int(x[i, t + 1]), t)
        for i in range(7)
        for t in range(8)
        if y[i, t] >= 0 and y[i, t] != x[i, t + 1]
    ]
    wanted = [Counter(values).most_common(1)[0][1] / len(odd) for values in zip(*odd, strict=True)]
    assert kernels.astray(x, y).tolist() == pytest.approx(wanted)


def test_a_special_token_and_an_edge_stand_out_and_corruption_does_not() -> None:
    text = torch.randint(50, (32, 33), generator=G)
    x, y = text[:, :-1].clone(), text[:, 1:].clone()
    assert kernels.astray(x, y).tolist() == [1.0, 1.0, 1.0]  # none is astray
    hit = torch.rand(y.shape, generator=G) < 0.2
    assert kernels.astray(x, torch.where(hit, torch.randint(50, y.shape, generator=G), y)).max() < 0.2
    assert kernels.astray(x, torch.where(hit, 7, y)).max() == 1.0
    assert kernels.astray(torch.where(hit, 7, x), y).max() == 1.0
    edge = y.clone()
    edge[:, 4] = (edge[:, 4] + 1) % 50
    assert kernels.astray(x, edge).max() == 1.0
