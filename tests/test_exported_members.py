"""The public face: flat, sorted, one address a name, and free until it is used."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import lightning_diag


def type_checking_imports() -> dict[str, str]:
    """Name -> module of the imports that only type checkers see."""
    tree = ast.parse(Path(lightning_diag.__file__).read_text(encoding="utf-8"))
    blocks = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    imports = [node for block in blocks for node in block.body if isinstance(node, ast.ImportFrom)]
    return {alias.asname or alias.name: str(node.module) for node in imports for alias in node.names}


def test_all_is_sorted_and_is_the_table() -> None:
    assert lightning_diag.__all__ == sorted(lightning_diag.__all__)
    assert set(lightning_diag.__all__) == {*lightning_diag._HOMES, "__version__"}


def test_type_checkers_see_the_same_names_at_the_same_homes() -> None:
    assert type_checking_imports() == lightning_diag._HOMES


@pytest.mark.parametrize("name", lightning_diag.__all__)
def test_every_name_is_there_and_comes_from_its_home(name: str) -> None:
    value = getattr(lightning_diag, name)
    home = lightning_diag._HOMES.get(name)
    assert home is None or value is getattr(importlib.import_module(home), name)


@pytest.mark.parametrize("name", [n for n in lightning_diag.__all__ if n != "__version__"])
def test_every_name_is_documented(name: str) -> None:
    assert getattr(lightning_diag, name).__doc__


def test_dir_lists_the_names_and_a_typo_is_an_attribute_error() -> None:
    assert set(lightning_diag.__all__) <= set(dir(lightning_diag))
    with pytest.raises(AttributeError, match="no attribute 'Diagnostic'"):
        lightning_diag.Diagnostic  # type: ignore[attr-defined]  # noqa: B018


def loaded_after(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after running the code."""
    script = f"{code}\nimport sys; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    root = Path(lightning_diag.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=root)
    return set(done.stdout.split())


def test_import_loads_nothing_heavy() -> None:
    assert loaded_after("import lightning_diag").isdisjoint({"torch", "lightning", "numpy", "rich", "wandb"})


@pytest.mark.parametrize(
    "module", ["cli", "_replay", "_judge", "diagnosis", "detectors", "sinks", "observation", "logs"]
)
def test_the_host_side_loads_without_torch(module: str) -> None:
    heavy = {"torch", "lightning", "pytorch_lightning", "torchmetrics", "wandb"}
    assert loaded_after(f"import lightning_diag.{module}").isdisjoint(heavy)
