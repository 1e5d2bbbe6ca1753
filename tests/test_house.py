"""Habits of the house that no linter knows: one idea a file, one door from device to host."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import lightning_diag
from lightning_diag._plugins import shipped

ROOM = Path(lightning_diag.__file__).parent
FILES = {str(path.relative_to(ROOM)): path for path in sorted(ROOM.rglob("*.py"))}
MAX_LINES = 260  # of a file: about 200 is one idea with its docstring
TABLES = ("causes.py", "signals.py")  # grow with every rule and signal, and are read row by row
MAX_BODY = 60  # lines of a function without its docstring: about 40 can be read at once
DOORS = {"cpu", "item", "numpy", "tolist"}


def tree(name: str) -> ast.Module:
    return ast.parse(FILES[name].read_text(encoding="utf-8"))


def imports_torch(module: ast.Module) -> bool:
    names = [
        name
        for node in ast.walk(module)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in ([a.name for a in node.names] if isinstance(node, ast.Import) else [str(node.module)])
    ]
    return any(name.partition(".")[0] == "torch" for name in names)


@pytest.mark.parametrize("name", [name for name in FILES if name not in TABLES])
def test_one_idea_a_file(name: str) -> None:
    assert len(FILES[name].read_text(encoding="utf-8").splitlines()) <= MAX_LINES


@pytest.mark.parametrize("name", FILES)
def test_a_function_can_be_read_at_once(name: str) -> None:
    long = {}
    for node in ast.walk(tree(name)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            body = node.body[1:] if ast.get_docstring(node) is not None and len(node.body) > 1 else node.body
            lines = int(node.end_lineno or 0) - body[0].lineno + 1
            if lines > MAX_BODY:
                long[node.name] = lines
    assert long == {}


@pytest.mark.parametrize("name", [n for n in FILES if n != "_transfer.py" and not n.startswith("demo/")])
def test_one_door_from_device_to_host(name: str) -> None:
    module = tree(name)
    calls = [
        f"line {node.lineno}: .{node.func.attr}()"
        for node in ast.walk(module)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in DOORS
    ]
    assert not (imports_torch(module) and calls), calls


@pytest.mark.parametrize("name", FILES)
def test_a_file_says_what_it_is(name: str) -> None:
    assert ast.get_docstring(tree(name))


def test_codes_of_rules_are_their_own() -> None:
    codes = [cls.code for cls in shipped()]
    assert len(codes) == len(set(codes)), sorted(codes)
