"""The ready-made W&B dashboard."""

from __future__ import annotations

from typing import Any

from lightning_diag.errors import ConfigurationError, MissingExtraError
from lightning_diag.sinks._charts import AXIS, SECTIONS, Panel

COLUMNS = ("diag/verdict", "diag/worst_severity", "diag/cause", "diag/overhead_frac")


def wandb_workspace(entity: str, project: str, name: str = "Training diagnosis") -> Any:
    """Build a dashboard of what ``Diagnostics()`` logs: findings first, then loss, gradients, layers, classes, domains.

    Runs are listed with their verdict. It is built on this machine; ``save()`` puts it into the project, beside the
    workspaces that are there.

    Args:
        entity: user or team the project belongs to.
        project: the W&B project.
        name: what the dashboard is called.

    Returns:
        A ``wandb_workspaces.workspaces.Workspace``: change it as you like, then ``save()`` it.

    Raises:
        MissingExtraError: wandb-workspaces is not installed.
        ConfigurationError: an argument is empty.

    Example:
        >>> workspace = wandb_workspace("my-team", "digits")  # doctest: +SKIP
        >>> workspace.save()  # doctest: +SKIP
    """
    for argument, value in (("entity", entity), ("project", project), ("name", name)):
        if not value.strip():
            raise ConfigurationError(f"{argument} must be a name, got {value!r}")
    try:
        import wandb_workspaces.reports.v2 as reports  # noqa: PLC0415 - an extra
        import wandb_workspaces.workspaces as workspaces  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtraError("wandb-workspaces", "dashboards") from error
    sections = [
        workspaces.Section(
            name=section.title,
            panels=[_panel(reports, panel) for panel in section.panels],
            is_open=True,
            panel_settings=workspaces.SectionPanelSettings(x_axis=AXIS),
        )
        for section in SECTIONS
    ]
    return workspaces.Workspace(
        entity=entity,
        project=project,
        name=name,
        sections=sections,
        settings=workspaces.WorkspaceSettings(x_axis=AXIS, sort_panels_alphabetically=False),
        runset_settings=workspaces.RunsetSettings(pinned_columns=[f"summary:{column}" for column in COLUMNS]),
    )


def _panel(reports: Any, panel: Panel) -> Any:
    if panel.kind == "table":
        return reports.WeavePanelSummaryTable(table_name=panel.keys[0])
    if panel.kind == "page":
        return reports.MediaBrowser(title=panel.title, media_keys=list(panel.keys), num_columns=1)
    return reports.LinePlot(title=panel.title, x=AXIS, y=list(panel.keys), log_y=panel.log_y or None)
