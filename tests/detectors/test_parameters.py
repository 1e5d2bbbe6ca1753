from __future__ import annotations

import numpy as np
import pytest

from lightning_diag.detectors._parameters import arrays, listed, matrices, named, places, scale_free
from lightning_diag.errors import NotMeasurable
from lightning_diag.reading import Facts, Reading

NAMES = (
    "enc.l1.conv.weight",
    "enc.l1.conv.bias",
    "enc.l1.bn.weight",
    "enc.l2.weight",
    "enc.l2.bias",
    "head.weight",
    "scale",
)
NUMEL = (90, 10, 10, 900, 10, 50, 1)


def reading(**changes: object) -> Reading:
    known = {"names": {"parameter": NAMES}, "parameter_kind": ("matrix",) * 7, "parameter_numel": NUMEL, **changes}
    return Reading(1, 0, {"grad/norm": np.float64(1), "grad/parameter_norm": np.ones(7)}, Facts(**known))  # type: ignore[arg-type]


def folded(*concerned: int) -> list[tuple[str, int]]:
    mask = np.isin(np.arange(7), concerned)
    return [(place.name, place.parameters) for place in places(reading(), mask)]


def test_folds_into_the_largest_modules_that_are_wholly_concerned() -> None:
    assert folded(0, 1) == [("enc.l1.conv", 2)]
    assert folded(0, 1, 2) == [("enc.l1", 3)]
    assert folded(0, 1, 2, 3, 4) == [("enc", 5)]
    assert folded(0, 2, 3) == [("enc.l2.weight", 1), ("enc.l1.conv.weight", 1), ("enc.l1.bn.weight", 1)]


def test_a_module_of_one_parameter_is_named_by_it() -> None:
    assert folded(5, 6) == [("head.weight", 1), ("scale", 1)]


def test_all_and_none() -> None:
    assert folded(*range(7)) == []
    assert folded() == []


def test_works_without_names_and_sizes() -> None:
    bare = reading(names={}, parameter_numel=())
    assert [p.name for p in places(bare, np.arange(7) == 3)] == ["parameter 3"]
    assert named(bare, 3) == "parameter 3"


def test_listed_is_short() -> None:
    found = places(reading(), np.isin(np.arange(7), (0, 2, 3, 5, 6)))
    assert listed(found) == "enc.l2.weight, enc.l1.conv.weight, head.weight and 2 more"


def test_matrices_of_an_optimizer() -> None:
    kinds = ("matrix", "vector", "norm", "embedding", "matrix")
    assert matrices(Facts(parameter_kind=kinds)).tolist() == [0, 4]
    assert matrices(Facts(parameter_kind=kinds, in_optimizer=(True,) * 4 + (False,))).tolist() == [0]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ((), False),
        (("SGD",), False),
        (("Adam",), True),
        (("LION", "Adafactor"), True),
        (("Adam", "SGD"), False),
        (("LBFGS",), False),
    ],
)
def test_scale_free(names: tuple[str, ...], expected: bool) -> None:
    assert scale_free(Facts(optimizers=names)) is expected


def test_arrays_say_what_is_absent() -> None:
    (found,) = arrays(reading(), "grad/parameter_norm")
    assert found.shape == (7,)
    with pytest.raises(NotMeasurable, match="sharded"):
        arrays(reading(unmeasured={"grad/missing": "parameters are sharded"}), "grad/missing")
    with pytest.raises(NotMeasurable, match="grad/missing is not measured"):
        arrays(reading(), "grad/missing")
    with pytest.raises(NotMeasurable, match="has 7 entries for 2 parameters"):
        arrays(reading(parameter_kind=("matrix",) * 2), "grad/parameter_norm")
