from __future__ import annotations

import ast
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from lightning_diag.demo import module as source  # noqa: E402
from lightning_diag.demo.data import batches, real_digits  # noqa: E402
from lightning_diag.demo.module import DigitClassifier  # noqa: E402


def test_it_knows_nothing_of_us() -> None:
    tree = ast.parse(Path(source.__file__).read_text())
    imported = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    imported |= {alias.name for n in ast.walk(tree) if isinstance(n, ast.Import) for alias in n.names}
    assert "lightning.pytorch" in imported
    assert not [name for name in imported if name and name.startswith("lightning_diag")]


def test_it_learns_real_handwriting_without_a_trainer() -> None:
    pytest.importorskip("sklearn")
    digits = real_digits()
    torch.manual_seed(0)
    model = DigitClassifier()
    optimizer = model.configure_optimizers()
    for epoch in range(4):
        for batch in batches(digits["train"], shuffle=True, seed=epoch):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(batch["image"]), batch["label"]).backward()
            optimizer.step()
    (val,) = batches(digits["val"], 449)
    with torch.no_grad():
        accuracy = (model(val["image"]).argmax(1) == val["label"]).float().mean()
    assert accuracy > 0.85  # chance is 0.1


def test_all_parameters_are_in_the_optimizer() -> None:
    model = DigitClassifier(lr=0.5)
    (group,) = model.configure_optimizers().param_groups
    assert {id(p) for p in group["params"]} == {id(p) for p in model.parameters()}
    assert group["lr"] == 0.5
