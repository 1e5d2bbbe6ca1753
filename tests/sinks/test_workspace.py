from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from lightning_diag import wandb_workspace
from lightning_diag.errors import ConfigurationError, MissingExtraError
from lightning_diag.sinks._charts import SECTIONS

TYPES = {"line": "Run History Line Plot", "table": "Weave", "page": "Media Browser"}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # pydantic's, of how wandb-workspaces is written
def test_a_workspace_is_built_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb_workspaces", reason="the extra [dashboards] is not installed")
    from wandb_workspaces.workspaces import internal

    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    made = wandb_workspace("my-team", "digits")
    assert (made.entity, made.project, made.name) == ("my-team", "digits", "Training diagnosis")
    text = made._to_model().spec.model_dump_json(by_alias=True, exclude_none=True)
    again = internal.WorkspaceViewspec.model_validate_json(text)
    assert again.model_dump_json(by_alias=True, exclude_none=True) == text
    bank: dict[str, Any] = json.loads(text)["section"]["panelBankConfig"]
    told = {section["name"]: section["panels"] for section in bank["sections"] if section["panels"]}
    assert list(told) == [section.title for section in SECTIONS]
    for section in SECTIONS:
        assert len(told[section.title]) == len(section.panels)
        for panel, spec in zip(section.panels, told[section.title], strict=True):
            assert spec["viewType"] == TYPES[panel.kind]
            assert all(key in json.dumps(spec) for key in panel.keys)
            if panel.kind == "line":
                assert spec["config"]["xAxis"] == "diag/step"
                assert bool(spec["config"].get("yLogScale")) == panel.log_y
    columns = json.dumps(json.loads(text)["section"]["runSets"])
    assert "summary:diag/verdict" in columns and "summary:diag/worst_severity" in columns


@pytest.mark.parametrize("arguments", [("", "p"), ("e", " "), ("e", "p", "")])
def test_names_are_needed(arguments: tuple[str, ...]) -> None:
    with pytest.raises(ConfigurationError, match="must be a name"):
        wandb_workspace(*arguments)


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    monkeypatch.setitem(sys.modules, "wandb_workspaces.reports.v2", None)
    with pytest.raises(MissingExtraError, match=r"lightning-diag\[dashboards\]"):
        wandb_workspace("e", "p")
