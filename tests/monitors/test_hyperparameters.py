from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from lightning_diag import Diagnostics, load
from lightning_diag._guard import Guard
from lightning_diag.monitors.hyperparameters import MAX_ENTRIES, hyperparameters
from tests.training import Classifier, fit


class Kept(Classifier):
    def __init__(self, depth: int = 2, api_key: str = "sk-1234", act: str = "relu", root_dir: str = "/home/me") -> None:
        super().__init__()
        self.save_hyperparameters()


class Raising(Mapping[str, Any]):
    def __getitem__(self, key: str) -> Any:
        raise ArithmeticError("oh")

    def __iter__(self) -> Iterator[str]:
        return iter(["a"])

    def __len__(self) -> int:
        return 1


def test_the_record_holds_what_the_user_chose_and_no_secret(tmp_path: Path) -> None:
    diag = Diagnostics(run_dir=tmp_path / "run", strict=True)
    fit(Kept(depth=5), [diag], tmp_path, steps=5)
    kept = load(tmp_path / "run").info["meta"]["hyperparameters"]
    assert (kept["depth"], kept["act"]) == (5, "relu")
    assert (kept["Adam.lr"], kept["Adam.betas"], kept["Adam.amsgrad"]) == (1e-3, [0.9, 0.999], False)
    assert "sk-1234" not in (tmp_path / "run" / "run.json").read_text()
    assert "/home/me" not in str(kept)


def test_only_scalars_and_short_words() -> None:
    module = torch.nn.Linear(1, 1)
    module.hparams = {  # type: ignore[assignment]
        "a": 1, "b": True, "c": None, "d": 0.5, "e": "x" * 33, "f": torch.zeros(1), "g": [1, 2], "h": [1] * 9,
        "i": object(), "j": {"k": {"l": "deep"}}, "m": "two\nlines", "session_token": "t", 7: "seven",
    }  # fmt: skip
    assert hyperparameters(module, [], Guard(strict=True)) == {
        "a": 1, "b": True, "c": None, "d": 0.5, "g": [1, 2], "j.k.l": "deep", "7": "seven",
    }  # fmt: skip


def test_two_optimizers_of_a_class_are_told_apart_and_the_size_is_bounded() -> None:
    module = torch.nn.Linear(1, 1)
    twice = [torch.optim.SGD(module.parameters(), lr=lr) for lr in (0.1, 0.2)]
    found = hyperparameters(module, twice, Guard(strict=True))
    assert (found["SGD.lr"], found["SGD2.lr"]) == (0.1, 0.2)
    module.hparams = {str(i): i for i in range(5000)}  # type: ignore[assignment]
    assert len(hyperparameters(module, twice, Guard())) == MAX_ENTRIES


def test_a_container_that_raises_costs_nothing_but_itself() -> None:
    module = torch.nn.Linear(1, 1)
    module.hparams = Raising()  # type: ignore[assignment]
    guard = Guard()
    assert hyperparameters(module, [torch.optim.SGD(module.parameters(), lr=0.1)], guard)["SGD.lr"] == 0.1
    assert list(guard.failed) == ["the record of hyper-parameters"]
