"""What is said of small trainings with several optimizers, healthy and not: pairs that compete, and one shared loss.

``python -m benchmarks.several_optimizers > benchmarks/results/several_optimizers.md`` (about 8 minutes on one core).

Images are scikit-learn's 8 x 8 digits. The GAN follows DCGAN (Radford et al., 2016): strided convolutions, batch norm,
weights N(0, 0.02), Adam with beta1 0.5, at a learning rate of 1e-3, as its images are 64 times smaller; the critic with
a gradient penalty Gulrajani et al. (2017). Seed 0 was looked at while rules were changed; seeds 3 and up are reported.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.data import DataLoader, TensorDataset

from lightning_diag import Diagnostics, Finding, Severity

NOISE = 16
STEPS = 150
LR = 1e-3
SEEDS = range(3, 8)


def _initialized(net: nn.Sequential) -> nn.Sequential:
    for module in net:
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            nn.init.normal_(module.weight, 0.0, 0.02)
    return net


def generator() -> nn.Sequential:
    """Noise ``(B, 16)`` to images ``(B, 1, 8, 8)`` in -1 to 1."""
    return _initialized(
        nn.Sequential(
            nn.Linear(NOISE, 32 * 4), nn.Unflatten(1, (32, 2, 2)), nn.BatchNorm2d(32), nn.ReLU(),
            nn.ConvTranspose2d(32, 16, 4, 2, 1), nn.BatchNorm2d(16), nn.ReLU(),
            nn.ConvTranspose2d(16, 1, 4, 2, 1), nn.Tanh(),
        )
    )  # fmt: skip


def discriminator(*, norm: bool = True) -> nn.Sequential:
    """Images to one logit each, ``(B, 1)``."""
    middle = [nn.BatchNorm2d(32)] if norm else []
    return _initialized(
        nn.Sequential(
            nn.Conv2d(1, 16, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(16, 32, 4, 2, 1), *middle, nn.LeakyReLU(0.2),
            nn.Flatten(), nn.Linear(32 * 4, 1),
        )
    )  # fmt: skip


class Gan(pl.LightningModule):
    """A DCGAN-like pair.

    Args:
        rates: factor on the learning rate of the discriminator and of the generator.
        scales: factor on their losses. Adam's steps don't change, the gradients do.
        nan_at: batch at which the generator's loss becomes NaN.
        turns: whether they take turns, a batch each.
    """

    def __init__(
        self,
        rates: tuple[float, float] = (1.0, 1.0),
        scales: tuple[float, float] = (1.0, 1.0),
        nan_at: int | None = None,
        turns: bool = False,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.rates, self.scales, self.nan_at, self.turns = rates, scales, nan_at, turns
        self.generator, self.discriminator = generator(), discriminator()
        self.batches = 0

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """One step of each, or of one."""
        optimizers: Any = self.optimizers()
        for k in (self.batches % 2,) if self.turns else (0, 1):
            loss = (self._discriminator_loss, self._generator_loss)[k](batch[0]) * self.scales[k]
            optimizers[k].zero_grad()
            self.manual_backward(loss)
            optimizers[k].step()
        self.batches += 1

    def _discriminator_loss(self, real: Tensor) -> Tensor:
        fake = self.generator(torch.randn(len(real), NOISE)).detach()
        return 0.5 * (F.softplus(-self.discriminator(real)).mean() + F.softplus(self.discriminator(fake)).mean())

    def _generator_loss(self, real: Tensor) -> Tensor:
        loss = F.softplus(-self.discriminator(self.generator(torch.randn(len(real), NOISE)))).mean()
        return loss * float("nan") if self.batches == self.nan_at else loss

    def configure_optimizers(self) -> Any:
        """Adam for each."""
        nets = (self.discriminator, self.generator)
        return [
            torch.optim.Adam(net.parameters(), LR * rate, betas=(0.5, 0.999))
            for net, rate in zip(nets, self.rates, strict=True)
        ]


class Wgan(Gan):
    """A critic without bounds, with a gradient penalty, that steps five times as often."""

    def __init__(self, rates: tuple[float, float] = (1.0, 1.0)) -> None:
        super().__init__(rates)
        self.discriminator = discriminator(norm=False)

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """One step of the critic, every fifth time one of the generator."""
        real, (critic, maker) = batch[0], self.optimizers()  # type: ignore[attr-defined]
        fake = self.generator(torch.randn(len(real), NOISE)).detach()
        between = (real + torch.rand(len(real), 1, 1, 1) * (fake - real)).requires_grad_()
        (slope,) = torch.autograd.grad(self.discriminator(between).sum(), between, create_graph=True)
        penalty = 10 * (slope.flatten(1).norm(dim=1) - 1).square().mean()
        critic.zero_grad()
        self.manual_backward(self.discriminator(fake).mean() - self.discriminator(real).mean() + penalty)
        critic.step()
        if batch_idx % 5 == 4:
            maker.zero_grad()
            self.manual_backward(-self.discriminator(self.generator(torch.randn(len(real), NOISE))).mean())
            maker.step()


class ActorCritic(pl.LightningModule):
    """Names a digit and is paid for the right one; policy and value have an optimizer each, and one shared loss."""

    def __init__(self, rates: tuple[float, float] = (1.0, 1.0), scale: float = 1.0) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.rates, self.scale = rates, scale
        self.actor = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        self.critic = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """One loss, a step of both."""
        image, digit = batch
        policy = torch.distributions.Categorical(logits=self.actor(image))
        said = policy.sample()  # type: ignore[no-untyped-call]
        paid, value = (said == digit).float(), self.critic(image).squeeze(1)
        log_prob = policy.log_prob(said)  # type: ignore[no-untyped-call]
        loss = -(log_prob * (paid - value.detach())).mean() + self.scale * (value - paid).square().mean()
        self._step(loss)

    def _step(self, loss: Tensor) -> None:
        optimizers: Any = self.optimizers()
        for optimizer in optimizers:
            optimizer.zero_grad()
        self.manual_backward(loss)
        for optimizer in optimizers:
            optimizer.step()

    def configure_optimizers(self) -> Any:
        """Adam for each."""
        nets = zip((self.actor, self.critic), self.rates, strict=True)
        return [torch.optim.Adam(net.parameters(), LR * rate) for net, rate in nets]


class TwoParts(ActorCritic):
    """A classifier whose body and head have an optimizer each, and one loss."""

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """One loss, a step of both."""
        self._step(F.cross_entropy(self.critic(self.actor(batch[0]).relu()), batch[1]))

    def __init__(self, rates: tuple[float, float] = (1.0, 1.0)) -> None:
        super().__init__(rates)
        self.critic = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 10))


HEALTHY: dict[str, Callable[[], pl.LightningModule]] = {
    "GAN": Gan,
    "GAN, generator's loss times 1,000": lambda: Gan(scales=(1.0, 1000.0)),
    "GAN, discriminator's loss times 1,000": lambda: Gan(scales=(1000.0, 1.0)),
    "GAN, two time scales (4 to 1)": lambda: Gan(rates=(2.0, 0.5)),
    "GAN that takes turns": lambda: Gan(turns=True),
    "critic with gradient penalty": Wgan,
    "actor and critic, one loss": ActorCritic,
    "actor and critic, one loss, critic's part times 1,000": lambda: ActorCritic(scale=1000.0),
    "body and head, one loss": TwoParts,
}
FAULTY: dict[str, Callable[[], pl.LightningModule]] = {
    "GAN, both learning rates times 1,000": lambda: Gan(rates=(1000.0, 1000.0)),
    "GAN, discriminator's learning rate times 1,000": lambda: Gan(rates=(1000.0, 1.0)),
    "GAN, generator's learning rate times 1,000": lambda: Gan(rates=(1.0, 1000.0)),
    "GAN that takes turns, generator's learning rate times 1,000": lambda: Gan(rates=(1.0, 1000.0), turns=True),
    "GAN, NaN in the generator's loss": lambda: Gan(nan_at=100),
    "critic with gradient penalty, its learning rate times 1,000": lambda: Wgan(rates=(1000.0, 1.0)),
    "body and head, one loss, both learning rates times 1,000": lambda: TwoParts(rates=(1000.0, 1000.0)),
}  # fmt: skip


def trained(module: Callable[[], pl.LightningModule], seed: int, steps: int = STEPS) -> Diagnostics:
    """Train so many batches with everything on; returns what was found."""
    pl.seed_everything(seed, verbose=False)
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 8 - 1
    data = TensorDataset(images, torch.tensor(digits.target))
    diag = Diagnostics(strict=True, every_n_steps=1, sinks=[])
    with tempfile.TemporaryDirectory() as root, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = pl.Trainer(
            accelerator="cpu", max_epochs=1, callbacks=[diag], logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, default_root_dir=Path(root),
        )  # fmt: skip
        sampler = torch.utils.data.RandomSampler(data, replacement=True, num_samples=64 * steps)
        trainer.fit(module(), DataLoader(data, batch_size=64, sampler=sampler))
    return diag


def warned(diag: Diagnostics) -> list[Finding]:
    """Return its findings of warning or worse."""
    return [f for f in diag.findings if f.severity >= Severity.WARNING]


def rows(seeds: range) -> Iterator[str]:
    """Train everything; yields the report line by line."""
    yield f"| training | runs | with a warning | rules that warned | notes | first cause |\n| {' --- |' * 6}"
    for name, module in {**HEALTHY, **FAULTY}.items():
        rules, notes, causes, hit = Counter[str](), Counter[str](), Counter[str](), 0
        for seed in seeds:
            diag = trained(module, seed)
            found = warned(diag)
            hit += bool(found)
            rules.update(f.rule for f in found)
            notes.update(f.rule for f in diag.findings if f not in found)
            causes.update(c.name for c in diag.diagnosis.causes[:1])
        told = (", ".join(f"`{r}` {n}" for r, n in count.most_common()) or "none" for count in (rules, notes, causes))
        yield f"| {name} | {len(seeds)} | {hit} | {' | '.join(told)} |"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tuning", action="store_true", help="seeds 0 to 2 instead of those reported")
    torch.set_num_threads(1)
    chosen = range(3) if parser.parse_args().tuning else SEEDS
    print("# Several optimizers\n\n`python -m benchmarks.several_optimizers` makes this page.\n")
    for line in rows(chosen):
        print(line, flush=True)
