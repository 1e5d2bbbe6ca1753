"""Synthetic against real digits, end to end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping

from lightning_diag import Diagnostics, DomainGapMonitor, MemorySink, Severity
from lightning_diag.demo.data import Digits, batches, real_digits
from lightning_diag.demo.rendering import synthetic_digits
from lightning_diag.errors import ConfigurationError
from tests.training import Classifier, fit, loader

NAMES = ("synthetic", "real")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Net(Classifier):
    """The digits' dicts for the ordinary classifier."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return super().training_step((batch["image"].flatten(1), batch["label"]), batch_idx)

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
        super().validation_step((batch["image"].flatten(1), batch["label"]), batch_idx)


def train(tmp_path: Path, monitor: Any, digits: Digits, val: Any, steps: int = 220, **more: Any) -> Any:
    fit(
        Net(lr=3e-3), [monitor, *more.pop("callbacks", [])], tmp_path, steps=steps, train=batches(digits, shuffle=True),
        val=val, **more,
    )  # fmt: skip
    return monitor


def quiet(*monitors: Any) -> Diagnostics:
    return Diagnostics(list(monitors), sinks=[], strict=True)


def test_printed_digits_do_not_carry_over_to_handwriting(tmp_path: Path) -> None:
    held = synthetic_digits(200, 9) + real_digits()["val"]
    diag = train(tmp_path, quiet(DomainGapMonitor(names=NAMES)), synthetic_digits(1200), batches(held, 128))
    assert diag.diagnosis.causes[0].name == "domain-shift", diag.findings
    gap = next(f for f in diag.findings if f.rule == "domains/gap")
    assert gap.severity == Severity.WARNING and gap.where[0] == "real" and len(gap.where) > 1
    assert gap.evidence["value"] > 0.2 and "held-out synthetic" in gap.message and "contrast" in gap.evidence["inputs"]
    separable = next(f for f in diag.findings if f.rule == "domains/separable")
    assert separable.evidence["value"] > 0.9


def test_a_mixture_that_learns_both_is_quiet(tmp_path: Path) -> None:
    real = real_digits()
    memory = MemorySink()
    diag = Diagnostics([DomainGapMonitor(names=NAMES)], sinks=[memory], strict=True)
    held = synthetic_digits(200, 9) + real["val"]
    train(tmp_path, diag, synthetic_digits(600) + real["train"], batches(held, 128))
    assert diag.diagnosis.healthy, diag.findings
    assert {"domains/gap", "domains/gap-widening", "domains/separable"} <= set(diag.diagnosis.coverage.ran)
    cosines = [r.values["domain/gradient_cosine"] for r in memory.readings if "domain/gradient_cosine" in r]
    assert len(cosines) > 5 and all(c.shape == (2, 2) for c in cosines)


class Noisy(Net):
    """Real images are noisy, anew each time: harder, but not to be memorized."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return super().training_step(self.noisy(batch), batch_idx)

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
        return super().validation_step(self.noisy(batch), batch_idx)

    @staticmethod
    def noisy(batch: Any) -> Any:
        strength = 0.7 * (batch["domain"] == 1).float()[:, None, None, None]
        return {**batch, "image": batch["image"] + strength * torch.randn_like(batch["image"])}


def test_a_harder_domain_that_generalizes_as_well_is_left_alone(tmp_path: Path) -> None:
    real, memory = real_digits(), MemorySink()
    diag = Diagnostics([DomainGapMonitor(names=NAMES)], sinks=[memory], strict=True)
    mixed, held = synthetic_digits(600) + real["train"], synthetic_digits(200, 9) + real["val"]
    fit(Noisy(lr=3e-3), [diag], tmp_path, steps=220, train=batches(mixed, shuffle=True), val=batches(held, 128))
    sums = [r.values["domain/val_sums"] for r in memory.readings if "domain/val_sums" in r][-1]
    assert sums[1, 1] / sums[1, 0] - sums[0, 1] / sums[0, 0] > 0.1, "it is harder"
    assert "domains/gap" in diag.diagnosis.coverage.ran and diag.diagnosis.healthy, diag.findings


def test_the_checkpoint_metric_of_the_synthetic_loader(tmp_path: Path) -> None:
    val = {"synthetic": batches(synthetic_digits(100, 9)), "real": batches(real_digits()["val"])}
    for loaders, index, told in ((val, 0, True), (val, 1, False)):
        stop = EarlyStopping(f"val_loss/dataloader_idx_{index}", patience=99)
        diag = train(
            tmp_path / str(index), quiet(DomainGapMonitor(lambda batch, k: NAMES[int(k)])), synthetic_digits(600),
            loaders, 30, callbacks=[stop],
        )  # fmt: skip
        found = [f for f in diag.findings if f.rule == "domains/wrong-target"]
        assert bool(found) == told
        if found:
            assert (
                found[0].where == ("val_loss/dataloader_idx_0", "synthetic") and found[0].severity == Severity.WARNING
            )


def test_named_loaders_and_data_set_attributes_need_no_setting(tmp_path: Path) -> None:
    class Plain(Net):
        def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
            return Net.validation_step(self, {k: batch[k] for k in ("image", "label")}, batch_idx)

    def bare(digits: Digits, **attributes: Any) -> Any:
        made = batches(digits)
        data = _Samples([{k: v for k, v in sample.items() if k != "domain"} for sample in made.dataset])  # type: ignore[attr-defined]
        vars(data).update(attributes)
        return torch.utils.data.DataLoader(cast("torch.utils.data.Dataset[Any]", data), 64)

    memory = MemorySink()
    val = {"synthetic": bare(synthetic_digits(100, 9)), "real": bare(real_digits()["val"])}
    diag = Diagnostics(sinks=[memory], strict=True)
    fit(Plain(), [diag], tmp_path, steps=20, train=bare(synthetic_digits(300), domain="synthetic"), val=val)
    seen = [r for r in memory.readings if "domain/val_samples" in r]
    last = seen[-1]
    assert last.names("domain") == NAMES
    assert last.values["domain/val_samples"].tolist() == [100, 449]
    assert last.values["domain/loader_samples"].tolist() == [[100, 0], [0, 449]]
    trained = sum(r.values["domain/train_samples"] for r in seen if "domain/train_samples" in r)
    assert trained[0] > 0 and trained[1] == 0


class _Samples(list[Any]):
    """A list that can hold attributes."""


def test_without_a_domain_it_is_silent_and_says_why(tmp_path: Path) -> None:
    diag = Diagnostics(sinks=[], strict=True)
    fit(Classifier(), [diag], tmp_path, steps=60)
    assert not [f for f in diag.findings if f.rule.startswith("domains/")]
    skipped = {rule: why for rule, why in diag.diagnosis.coverage.skipped.items() if rule.startswith("domains/")}
    assert len(skipped) == 4 and all("no domain is named" in why for why in skipped.values()), skipped


def test_a_domain_that_never_appears_loses_nothing(tmp_path: Path) -> None:
    diag = quiet(DomainGapMonitor(names=NAMES, target="real"))
    train(tmp_path, diag, synthetic_digits(300), batches(synthetic_digits(100, 9)), 100)
    assert diag.findings == []
    assert "no sample of the target 'real'; domains seen: synthetic" in diag.diagnosis.coverage.skipped["domains/gap"]


def test_the_users_settings_win_over_the_default_monitor(tmp_path: Path) -> None:
    for order in (1, -1):
        memory = MemorySink()
        diag = Diagnostics(sinks=[memory], strict=True)
        pair = [diag, DomainGapMonitor(lambda batch, k: "mine", target="mine")][::order]
        fit(Classifier(), pair, tmp_path, steps=24)
        assert memory.readings[-1].names("domain") == ("mine",) and memory.readings[-1].facts.target_domain == "mine"


def test_a_run_is_bit_identical_with_it(tmp_path: Path) -> None:
    def weights(callbacks: list[Any]) -> list[torch.Tensor]:
        torch.manual_seed(0)
        module = Net(lr=3e-3)
        fit(
            module, callbacks, tmp_path, steps=60, val_check_interval=5, train=batches(synthetic_digits(400)),
            val=batches(synthetic_digits(60, 9) + real_digits()["val"]),
        )  # fmt: skip
        return [p.detach().clone() for p in module.parameters()] + [torch.get_rng_state()]

    monitored = weights([quiet(DomainGapMonitor(names=NAMES))])
    assert all(torch.equal(a, b) for a, b in zip(weights([]), monitored, strict=True))


def test_an_ordinary_loader_has_no_domain_of_its_own() -> None:
    from lightning_diag.monitors.trainer_view import _loader, _named

    assert [_loader(name, x).domain for name, x in _named(loader())] == [""]
    assert _named(None) == []


@pytest.mark.parametrize(
    "arguments", [{"domain": 3}, {"target": 3}, {"names": "real"}, {"names": ("a", "b"), "target": "c"}]
)
def test_wrong_arguments(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        DomainGapMonitor(**arguments)
