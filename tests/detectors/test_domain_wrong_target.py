from __future__ import annotations

import numpy as np
import pytest

from lightning_diag.detectors.domain_wrong_target import DomainWrongTarget
from lightning_diag.errors import ConfigurationError
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Facts, Reading
from tests.detectors.domain_stream import FACTS, run

BY_LOADER = np.array([[300.0, 0.0], [0.0, 400.0]])  # loader 0 is synthetic, loader 1 real


def judged(
    metric: str | None, loaders: np.ndarray = BY_LOADER, train: tuple[float, float] = (900, 0)
) -> Finding | str | None:
    monitored = {} if metric is None else {metric: "ModelCheckpoint"}
    facts = Facts(names=FACTS.names, monitored=monitored)
    values = {
        "domain/val_samples": loaders.sum(1),
        "domain/loader_samples": loaders,
        "domain/train_samples": np.array(train),
    }
    return run(DomainWrongTarget(), [Reading(100, 0, values, facts, stage="validation")])[0]


@pytest.mark.parametrize("metric", ["val_loss/dataloader_idx_0", "val_synthetic_acc", "train_loss"])
def test_a_metric_without_a_real_sample_is_a_warning(metric: str) -> None:
    finding = judged(metric)
    assert isinstance(finding, Finding) and finding.severity == Severity.WARNING
    assert finding.where == (metric, "synthetic") and "ModelCheckpoint" in finding.message


def test_a_mixed_metric_is_info() -> None:
    finding = judged("val_loss")
    assert isinstance(finding, Finding) and finding.severity == Severity.INFO and "57 %" in finding.message


def test_the_only_loader_is_synthetic_while_real_is_trained_on() -> None:
    finding = judged("val_loss", np.array([[300.0], [0.0]]), train=(900, 50))
    assert isinstance(finding, Finding) and finding.severity == Severity.WARNING


@pytest.mark.parametrize("metric", ["val_loss/dataloader_idx_1", "val_real/acc", "epoch"])
def test_the_right_metric_is_left_alone(metric: str) -> None:
    assert judged(metric) is None


def test_a_hint_of_synthetic_samples_in_a_real_metric_is_left_alone() -> None:
    assert judged("val_loss", np.array([[30.0], [400.0]])) is None


def test_what_can_not_be_judged_has_a_sentence() -> None:
    assert "follows a metric" in str(judged(None))
    assert "one domain only: synthetic" in str(judged("val_loss", np.array([[300.0], [0.0]])))


def test_a_synthetic_metric_beside_a_real_one_is_told() -> None:
    facts = Facts(names=FACTS.names, monitored={"val/real": "ModelCheckpoint", "val/synthetic": "EarlyStopping"})
    said = run(DomainWrongTarget(), [Reading(9, 0, {"domain/val_samples": BY_LOADER.sum(1)}, facts)])[0]
    assert isinstance(said, Finding) and said.evidence["follower"] == "EarlyStopping"


def test_wrong_arguments() -> None:
    with pytest.raises(ConfigurationError, match="mixed"):
        DomainWrongTarget(mixed=2)
