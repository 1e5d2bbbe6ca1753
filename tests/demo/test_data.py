from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lightning_diag.demo.data import REAL, Digits, batches, real_digits

pytest.importorskip("sklearn")


def test_real_digits_are_all_there_once_and_scaled() -> None:
    from sklearn.datasets import load_digits

    parts = real_digits(seed=3)
    everything = parts["train"] + parts["val"] + parts["test"]
    bunch = load_digits()
    assert len(everything) == 1797
    assert (everything.domain == REAL).all()
    assert everything.images.dtype == np.float32
    ours = sorted((int(y), (x * 16).round().astype(int).tobytes()) for x, y in zip(*_pair(everything), strict=True))
    theirs = sorted((int(y), x[None].astype(int).tobytes()) for x, y in zip(bunch.images, bunch.target, strict=True))
    assert ours == theirs


def _pair(digits: Digits) -> tuple[np.ndarray, np.ndarray]:
    return digits.images, digits.labels


def test_the_seed_decides_the_split() -> None:
    assert np.array_equal(real_digits(1)["val"].images, real_digits(1)["val"].images)
    assert not np.array_equal(real_digits(1)["val"].labels, real_digits(2)["val"].labels)


def test_take_refuses_more_than_there_is() -> None:
    val = real_digits()["val"]
    assert np.array_equal(val.take(5).labels, val.labels[:5])
    with pytest.raises(ValueError, match="from 0 to 449"):
        val.take(450)


def test_only_and_repeated_keep_a_samples_parts_together() -> None:
    val = real_digits()["val"]
    chosen = val.only(np.array([7, 3]))
    assert chosen.labels.tolist() == val.labels[[7, 3]].tolist()
    assert np.array_equal(chosen.images, val.images[[7, 3]])
    thrice = chosen.repeated(3)
    assert thrice.labels.tolist() == chosen.labels.tolist() * 3
    assert np.array_equal(thrice.images, np.concatenate([chosen.images] * 3))
    assert thrice.domain.tolist() == [REAL] * 6
    assert len(chosen.repeated(0)) == 0


def test_the_data_set_names_its_classes_and_domains() -> None:
    pytest.importorskip("torch")
    data: Any = batches(real_digits()["val"].take(3)).dataset
    assert data.domain_names[REAL] == "real"
    assert data.classes[4] == "digit 4"


def test_batches_keep_image_label_and_domain_together() -> None:
    torch = pytest.importorskip("torch")
    val = real_digits()["val"]
    tagged = Digits(val.images, val.labels, np.arange(len(val)))  # the domain as a sample's number
    state = torch.random.get_rng_state()
    seen = []
    for batch in batches(tagged, 64, shuffle=True, seed=5):
        for image, label, number in zip(batch["image"], batch["label"], batch["domain"], strict=True):
            assert np.array_equal(image.numpy(), val.images[int(number)])
            assert int(label) == val.labels[int(number)]
            seen.append(int(number))
    assert sorted(seen) == list(range(len(val)))
    assert seen != sorted(seen)
    again = [int(n) for batch in batches(tagged, 64, shuffle=True, seed=5) for n in batch["domain"]]
    assert again == seen
    assert torch.equal(torch.random.get_rng_state(), state)  # the order comes from the loader's own seed
