"""Weights, random streams, logged values and the module's state are bit-identical with and without us."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.data import DataLoader, Dataset

from lightning_diag import Diagnostics
from tests.training import Classifier, digits, fit


class Augmented(Dataset[Any]):
    """Digits with random shifts and noise drawn from the global generator."""

    def __init__(self) -> None:
        self.x, self.y = digits()

    def __len__(self) -> int:
        return 1200

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        shift = int(torch.randint(-1, 2, ()))
        image = torch.roll(self.x[i].reshape(8, 8), shift, 1) + 0.05 * torch.randn(8, 8)
        return image.reshape(64), self.y[i]


class Convolutional(Classifier):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Unflatten(1, (1, 8, 8)),
            nn.Conv2d(1, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(inplace=True),
            nn.Dropout(0.3),
            nn.Flatten(),
            nn.Linear(512, 10),
        )

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = super().training_step(batch, batch_idx)
        self.log("train_loss", loss)
        return loss


class Manual(Classifier):
    """Manual optimization with two optimizers and clipping."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> None:
        x, y = batch
        optimizers: Any = self.optimizers()
        for optimizer in optimizers:
            loss = F.cross_entropy(self.net(x), y)
            optimizer.zero_grad()
            self.manual_backward(loss)
            self.clip_gradients(optimizer, 0.5, "norm")
            optimizer.step()

    def configure_optimizers(self) -> Any:
        return [
            torch.optim.Adam(self.net[0].parameters(), 1e-3),
            torch.optim.SGD(self.net[3].parameters(), 1e-2, momentum=0.9),
        ]


SETUPS: dict[str, tuple[type[Classifier], dict[str, Any]]] = {
    "dropout, shuffling, augmentation": (Classifier, {}),
    "convolution, batch norm, in-place": (Convolutional, {}),
    "accumulation and clipping": (Classifier, {"accumulate_grad_batches": 3, "gradient_clip_val": 0.1}),
    "bf16-mixed": (Convolutional, {"precision": "bf16-mixed"}),
    "bf16-true": (Classifier, {"precision": "bf16-true"}),
    "float64": (Classifier, {"precision": "64-true"}),
    "manual, two optimizers": (Manual, {}),
}


def trained(kind: type[Classifier], callbacks: list[Any], root: Path, steps: int, options: dict[str, Any]) -> Any:
    torch.manual_seed(7)
    module = kind()
    trainer = fit(
        module,
        callbacks,
        root,
        steps=steps,
        train=DataLoader(Augmented(), batch_size=32, shuffle=True),
        **options,
    )
    trainer.save_checkpoint(root / "last.ckpt")
    saved = torch.load(root / "last.ckpt", weights_only=True)
    logged = {k: float(v) for k, v in trainer.callback_metrics.items()}
    return module.state_dict(), torch.get_rng_state(), logged, saved


@pytest.mark.parametrize("setup", SETUPS)
@pytest.mark.parametrize("every", [1, "auto"])
def test_bit_identical(setup: str, every: Any, tmp_path: Path) -> None:
    kind, options = SETUPS[setup]
    steps = 200 if setup.startswith("dropout") else 60
    diag = Diagnostics(every_n_steps=every, strict=True)
    bare = trained(kind, [], tmp_path / "bare", steps, options)
    watched = trained(kind, [diag], tmp_path / "watched", steps, options)
    assert diag.diagnosis.coverage.ran
    for name, weight in bare[0].items():
        assert torch.equal(weight, watched[0][name]), name
    assert torch.equal(bare[1], watched[1])
    assert bare[2] == watched[2]
    assert bare[3]["state_dict"].keys() == watched[3]["state_dict"].keys()
    assert set(watched[3]["callbacks"]) - set(bare[3]["callbacks"]) == {"Diagnostics"}


def test_the_module_carries_no_trace_of_us_afterwards(tmp_path: Path) -> None:
    module = Classifier()
    fit(module, [Diagnostics(strict=True)], tmp_path, steps=5)
    for part in module.modules():
        assert not part._forward_hooks and not part._forward_pre_hooks and not part._backward_hooks
    assert not module.trainer.optimizers[0]._optimizer_step_post_hooks
