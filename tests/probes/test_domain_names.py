from __future__ import annotations

from typing import Any

import pytest
import torch

from lightning_diag.errors import ConfigurationError
from lightning_diag.observation import Observation
from lightning_diag.probes.base import Batch, Loader, Scene
from lightning_diag.probes.domain_names import SLOTS, Domain, DomainNames
from lightning_diag.probes.domain_parts import parts
from lightning_diag.reading import Facts

SEEN = Observation(target=torch.zeros(3, dtype=torch.long), logits=torch.zeros(3, 2))


def names(
    domain: Domain = None, given: tuple[str, ...] = (), train: Any = (), val: Any = (), world: int = 1
) -> DomainNames:
    made = DomainNames(domain, given)
    made.start(Scene(torch.nn.Identity(), [], Facts(world_size=world), loaders=lambda: (tuple(train), tuple(val))))
    return made


def batch(data: Any, loader: int = 0, seen: Observation | None = SEEN) -> Batch:
    return Batch(data, 0, loader, observation=seen)


def test_a_batch_key_with_ids_gets_slots_once_the_host_knows_them() -> None:
    made = names("source")
    ids = made.of(batch({"source": torch.tensor([0, 1, 1])}), "train")
    assert isinstance(ids, torch.Tensor) and ids.tolist() == [0, 1, 1]
    assert not made.names
    made.settle(1)
    assert list(made.names) == ["domain 0", "domain 1"]


def test_ids_beyond_the_slots_share_the_last_and_negative_ones_are_unknown() -> None:
    ids = names().of(batch({"domain": torch.tensor([-7, 3, 99])}), "train")
    assert isinstance(ids, torch.Tensor) and ids.tolist() == [-1, 3, SLOTS - 1]


def test_names_of_ids_given_or_from_the_data_set() -> None:
    made = names(given=("synthetic", "real"))
    made.of(batch({"domain": torch.tensor([0, 1, 1])}), "train")
    assert made.names == ("synthetic", "real")
    made = names(train=[Loader(domain_names=("sim", "real"))])
    made.of(batch({"domain": torch.tensor([0, 0, 0])}), "train")
    made.settle(0)
    assert made.names == ("sim", "real")


def test_a_flag_names_both_sides() -> None:
    made = names()
    ids = made.of(batch({"is_real": torch.tensor([True, False, True])}), "train")
    assert isinstance(ids, torch.Tensor) and ids.tolist() == [1, 0, 1] and made.names == ("synthetic", "real")


def test_names_in_the_batch_one_a_sample_or_one_for_all() -> None:
    made = names()
    ids = made.of(batch({"domain": ["real", "sim", "real"]}), "train")
    assert isinstance(ids, torch.Tensor) and ids.tolist() == [0, 1, 0]
    assert made.of(batch({"domain": "sim"}), "train") == 1 and made.names == ("real", "sim")


def test_a_callable_is_asked_with_the_loader() -> None:
    made = names(lambda data, loader: ("a", "b", None)[int(loader)])
    assert [made.of(batch(None, i), "validation") for i in range(3)] == [0, 1, None]


def test_the_observation_goes_before_the_loader() -> None:
    seen = Observation(target=torch.zeros(1), preds=torch.zeros(1), domain="real")
    made = names(val=[Loader(name="x"), Loader(name="y")])
    made.of(batch(0, 1, seen), "validation")
    assert made.names == ("x", "y", "real")
    assert made.of(batch(0, 1), "validation") == 1


def test_data_set_attribute_then_loader_name_then_index() -> None:
    made = names(val=[Loader(name="a", domain="real"), Loader(name="b")])
    assert [made.of(batch(0, i), "validation") for i in (0, 1)] == [0, 1] and made.names == ("real", "b")
    made = names(val=[Loader(), Loader()])
    made.of(batch(0, 0), "validation")
    made.of(batch(0, 1), "validation")
    assert made.names == ("validation loader 0", "validation loader 1")
    assert names(val=[Loader()]).of(batch(0), "validation") is None, "one loader is no domain"


def test_what_only_looks_like_a_domain_is_left_alone() -> None:
    tokens = torch.zeros(3, 9, dtype=torch.long)
    assert names().of(batch({"domain": tokens}), "train") is None
    assert names().of(batch({"source": torch.zeros(3, dtype=torch.long)}), "train") is None, "not asked for"


@pytest.mark.parametrize(
    ("domain", "data", "words"),
    [
        ("source", {"x": 1}, "no key 'source'"),
        ("source", (1, 2), "no key 'source'"),
        ("source", {"source": torch.zeros(3)}, "float32"),
        ("source", {"source": 7}, "got int"),
    ],
)
def test_a_wish_that_can_not_be_met_has_a_reason(domain: str, data: Any, words: str) -> None:
    made = names(domain)
    assert made.of(batch(data), "train") is None and words in made.reason


def test_ids_beside_names_are_not_mixed_up() -> None:
    made = names()
    made.of(batch({"domain": "real"}), "train")
    assert made.of(batch({"domain": torch.tensor([0, 1, 0])}), "train") is None and "use one of both" in made.reason


def test_many_names_share_the_last_slot() -> None:
    made = names()
    slots = [made.of(batch({"domain": f"site {i}"}), "train") for i in range(12)]
    assert slots[:7] == list(range(7)) and set(slots[7:]) == {7} and made.names[-1] == "other domains"


def test_several_processes_need_names_that_all_of_them_know() -> None:
    made = names(world=2)
    assert made.of(batch({"domain": "real"}), "train") is None and "names=" in made.reason
    made = names(world=2, val=[Loader(name="syn"), Loader(name="real")])
    assert made.of(batch(0, 1), "validation") == 1
    made = names(world=2)
    made.of(batch({"domain": torch.tensor([0, 1, 0])}), "train")
    assert len(made.names) == SLOTS, "the same on every rank whatever it has seen"


@pytest.mark.parametrize("arguments", [{"domain": 3}, {"names": [str(i) for i in range(9)]}])
def test_wrong_arguments(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(arguments))):
        DomainNames(**arguments)


def test_parts_of_a_combined_batch_are_matched_call_by_call() -> None:
    y = {name: torch.randint(0, 3, (n,)) for name, n in (("syn", 4), ("real", 2))}
    data = {name: (torch.zeros(len(t), 5), t) for name, t in y.items()}
    outputs = [torch.randn(2, 3), torch.randn(4, 3)]  # last call first
    found = parts(data, outputs, {"syn", "real"})
    assert [name for name, _, _ in found] == ["syn", "real"]
    for (_, _, seen), output in zip(found, outputs[::-1], strict=True):
        assert seen.logits is not None and torch.equal(seen.logits, output)
    assert parts(data, [torch.randn(6, 3)], {"syn", "real"}) == [], "one call over both is not guessed at"
    assert parts({"x": 1, "y": 2}, outputs, {"syn", "real"}) == []
