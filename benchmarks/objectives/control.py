"""Learning from rewards: losses that need not fall, data that the network makes itself, optimizers driven by hand."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from benchmarks.objectives.base import Objective, digits, mlp

WAYS, LENGTH = 2, 8


def walk(position: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
    """A corridor of 8 places: left or right; 1 is paid at the right end. Next place and reward."""
    after = (position + 2 * action - 1).clamp(0, LENGTH - 1)
    return after, (after == LENGTH - 1).float()


def seen(position: Tensor) -> Tensor:
    """What the network sees of a place."""
    return F.one_hot(position, LENGTH).float()


class Control(Objective):
    """Base: its score is the share of 20 greedy steps that pay (at best 14)."""

    good = 0.6
    held = 0
    steps = 1000

    def samples(self) -> tuple[Tensor, ...]:
        return (torch.zeros(6400),)

    def choose(self, position: Tensor) -> Tensor:
        """The best action at each place."""
        raise NotImplementedError

    def score(self) -> float:
        position, paid = torch.zeros(1, dtype=torch.long), 0.0
        for _ in range(20):
            position, reward = walk(position, self.choose(position))
            paid += float(reward)
        return paid / 20


class DeepQ(Control):
    """Q-learning with a target network and an optimizer driven by hand (Mnih et al., 2015)."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.net = mlp(LENGTH, 32, WAYS)
        self.target = copy.deepcopy(self.net).requires_grad_(False)

    def choose(self, position: Tensor) -> Tensor:
        return self.net(seen(position)).argmax(1)

    def loss(self, batch: Any) -> Tensor:
        position, action = torch.randint(LENGTH, (64,)), torch.randint(WAYS, (64,))
        after, reward = walk(position, action)
        worth = reward + 0.9 * self.target(seen(after)).amax(1)
        return F.smooth_l1_loss(self.net(seen(position)).gather(1, action[:, None])[:, 0], worth)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        optimizer = self.optimizers()
        loss = self.loss(batch)
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()
        if batch_idx % 50 == 0:
            self.target.load_state_dict(self.net.state_dict())
        return loss


class Reinforce(Control):
    """Policy gradient with a moving baseline: the loss is a signed surrogate (Williams, 1992)."""

    rate = 3e-3

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp(LENGTH, 32, WAYS)

    def choose(self, position: Tensor) -> Tensor:
        return self.net(seen(position)).argmax(1)

    def loss(self, batch: Any) -> Tensor:
        position, logs, paid = torch.randint(LENGTH, (32,)), [], []
        for _ in range(10):
            policy = torch.distributions.Categorical(logits=self.net(seen(position)))
            action = policy.sample()
            position, reward = walk(position, action)
            logs.append(policy.log_prob(action))
            paid.append(reward)
        worth = torch.stack(paid).flip(0).cumsum(0).flip(0)
        worth = worth - worth.mean(1, keepdim=True)
        return -(torch.stack(logs) * worth).mean()


class ActorCritic(Control):
    """A clipped surrogate, a value loss and an entropy bonus in one sum (PPO; Schulman et al., 2017)."""

    rate = 3e-3

    def __init__(self) -> None:
        super().__init__()
        self.body, self.actor, self.critic = mlp(LENGTH, 32, 32), mlp(32, WAYS), mlp(32, 1)

    def choose(self, position: Tensor) -> Tensor:
        return self.actor(self.body(seen(position)).relu()).argmax(1)

    def loss(self, batch: Any) -> Tensor:
        position = torch.randint(LENGTH, (128,))
        h = self.body(seen(position)).relu()
        policy = torch.distributions.Categorical(logits=self.actor(h))
        action = policy.sample()
        after, reward = walk(position, action)
        value = self.critic(h)[:, 0]
        worth = reward + 0.9 * self.critic(self.body(seen(after)).relu())[:, 0].detach()
        gain = (worth - value).detach()
        gain = (gain - gain.mean()) / (gain.std() + 1e-6)
        ratio = (policy.log_prob(action) - policy.log_prob(action).detach()).exp()
        clipped = torch.minimum(ratio * gain, ratio.clamp(0.8, 1.2) * gain).mean()
        return -clipped + 0.5 * F.mse_loss(value, worth) - 0.01 * policy.entropy().mean()


class Bandit(Objective):
    """A classifier that is told only whether its guess was right: rewards instead of labels."""

    good = 0.7
    steps = 1500
    rate = 3e-3

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp(64, 64, 10)

    def samples(self) -> tuple[Tensor, ...]:
        return digits()

    def loss(self, batch: Any) -> Tensor:
        x, y = batch
        policy = torch.distributions.Categorical(logits=self.net(x))
        guess = policy.sample()
        paid = (guess == y).float()
        return -(policy.log_prob(guess) * (paid - paid.mean())).mean() - 0.01 * policy.entropy().mean()

    def score(self) -> float:
        x, y = digits()
        return float((self.net(x[-400:]).argmax(1) == y[-400:]).float().mean())
