"""Every example runs as a user would run it, in an empty folder, and says what its docstring promises."""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("lightning")
pytest.importorskip("sklearn")

EXAMPLES = Path(__file__).parents[1] / "examples"
# example -> words that its output must hold
PROMISES = {
    "quickstart.py": ["Healthy", "lightning_diag_runs"],
    "activation_monitor.py": ["activations/dead", "units of the network are dead at second.1"],
    "class_error_monitor.py": ["warning classes/imbalanced ('digit 8',)", "hardly seen in training at digit 8"],
    "data_monitor.py": ["warning: data/leakage validation sample 0"],
    "domain_gap_monitor.py": [
        "warning domains/gap ('real', 'digit",
        "held-out synthetic",
        "does not look like the one",
    ],
    "gradient_monitor.py": ["gradients/vanishing", "net.1.weight", "does not reach the first layers"],
    "throughput_monitor.py": ["warning system/input-bound", "set num_workers=", "comes slower than the model"],
    "stability_monitor.py": ["loss/non-finite", "batch['image'] already held one"],
}


# what Lightning says to anyone who trains a small model with its defaults
LIGHTNING = ("ignore:.*does not have many workers", "ignore:.*tensorboardX.* has been removed")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
    torch.set_num_threads(threads)


@pytest.mark.filterwarnings(*LIGHTNING)
@pytest.mark.parametrize("example", PROMISES)
def test_an_example_keeps_its_promise(
    example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(EXAMPLES / example), run_name="__main__")
    printed = capsys.readouterr().out
    for words in PROMISES[example]:
        assert words in printed


def test_no_example_is_left_out() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(PROMISES)


def test_the_quickstart_is_ten_lines() -> None:
    lines = (EXAMPLES / "quickstart.py").read_text().split('"""')[2].splitlines()
    code = [line for line in lines if line.strip() and not line.startswith(("from", "import"))]
    assert len(code) <= 10
