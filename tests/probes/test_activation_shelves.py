from __future__ import annotations

import torch
from torch import Tensor

from lightning_diag.probes.activation_shelves import Shelves


class Lodger:
    """Takes a sample where there is room for it."""

    def __init__(self) -> None:
        self.room: Tensor | None = None

    def take(self, value: float, rows: int = 4) -> Tensor:
        made = torch.full((rows, 1, 3), value)
        if self.room is None or self.room.shape != made.shape:
            return made
        return self.room.copy_(made)


def step(shelves: Shelves, groups: dict[str, list[Lodger]], value: float, rows: int = 4) -> dict[str, Tensor]:
    taken = {name: [guest.take(value + k, rows) for k, guest in enumerate(guests)] for name, guests in groups.items()}
    shelves.start()
    found = {name: shelves.together((name, rows), guests, taken[name]) for name, guests in groups.items()}
    shelves.end()
    for name, guests in groups.items():
        assert found[name].flatten(1).mean(1).tolist() == [value + k for k in range(len(guests))]
    return found


def test_the_same_group_takes_the_same_memory_again() -> None:
    shelves, guests = Shelves(), [Lodger() for _ in range(3)]
    first = step(shelves, {"a": guests}, 1.0)["a"]
    again = step(shelves, {"a": guests}, 7.0)["a"]
    assert again is first and all(guest.room is not None for guest in guests)


def test_another_order_other_guests_or_another_shape_take_new_memory() -> None:
    shelves, guests = Shelves(), [Lodger() for _ in range(3)]
    first = step(shelves, {"a": guests}, 1.0)["a"]
    turned = step(shelves, {"a": guests[::-1]}, 2.0)["a"]
    fewer = step(shelves, {"a": guests[:2]}, 3.0)["a"]
    assert guests[2].room is None  # nothing holds on to the places of those who didn't come
    larger = step(shelves, {"a": guests}, 4.0, rows=5)["a"]
    assert len({t.data_ptr() for t in (first, turned, fewer, larger)}) == 4
    assert step(shelves, {"a": guests}, 5.0, rows=5)["a"] is larger


def test_groups_that_swap_guests_keep_their_samples_apart() -> None:
    shelves, one, two = Shelves(), [Lodger(), Lodger()], [Lodger(), Lodger()]
    step(shelves, {"a": one, "b": two}, 1.0)
    step(shelves, {"a": two, "b": one}, 2.0)
    step(shelves, {"a": [one[0], two[0]], "b": [one[1], two[1]]}, 3.0)
    step(shelves, {"b": one}, 4.0)
    assert two[0].room is None and two[1].room is None


def test_scratch_memory_is_as_large_as_the_largest_needed() -> None:
    shelves = Shelves()
    large = shelves.scratch(torch.zeros(4, 8, 1, 3))
    small = shelves.scratch(torch.zeros(2, 3))
    assert small.shape == (2, 3) and small.data_ptr() == large.data_ptr()
    assert shelves.scratch(torch.zeros(5, 8, 1, 3)).shape == (5, 8, 1, 3)


def test_a_sample_that_lies_elsewhere_is_taken_in() -> None:
    shelves, guests = Shelves(), [Lodger(), Lodger()]
    step(shelves, {"a": guests}, 1.0)
    elsewhere = [torch.full((4, 1, 3), 8.0), guests[1].take(9.0)]
    shelves.start()
    assert shelves.together(("a", 4), guests, elsewhere).flatten(1).mean(1).tolist() == [8.0, 9.0]
