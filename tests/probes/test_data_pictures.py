from __future__ import annotations

import torch

from lightning_diag.probes.data_pictures import HEAD, SIDE, SLOTS, Pictures

KEYS = torch.tensor([[1.0, 0, 0], [2, 0, 0], [3, 0, 0]])


def test_pictures_stay_until_others_are_looked_for() -> None:
    pictures = Pictures()
    pictures.look_for(KEYS[:2])
    first, second = torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8)
    pictures.see((first, torch.zeros(1)), KEYS[1:2])
    pictures.see({"image": second}, KEYS[2:3])
    rows = pictures.take()
    assert rows is not None
    assert torch.isnan(rows[0, HEAD:]).all() and torch.equal(rows[1, HEAD:], first.flatten())
    pictures.look_for(KEYS[2:])
    assert pictures.take() is None


def test_they_are_few_and_small() -> None:
    pictures = Pictures()
    keys = torch.arange(300.0).reshape(100, 3)
    pictures.look_for(keys)
    pictures.see(torch.rand(100, 3, 4 * SIDE + 1, 2 * SIDE), keys)
    rows = pictures.take()
    assert rows is not None and len(rows) == SLOTS and rows.shape[1] <= HEAD + 3 * SIDE * SIDE


def test_what_is_no_picture_is_left_out() -> None:
    pictures = Pictures()
    pictures.see(torch.rand(3, 1, 8, 8), KEYS)
    pictures.look_for(KEYS)
    for inputs in (torch.rand(3, 8), torch.rand(3, 12, 8, 8), torch.rand(3, 1, 2, 8), {"graph": object()}):
        pictures.see(inputs, KEYS)
    assert pictures.take() is None
    pictures.look_for(KEYS[:0])
    pictures.see(torch.rand(3, 1, 8, 8), KEYS)
    assert pictures.take() is None
