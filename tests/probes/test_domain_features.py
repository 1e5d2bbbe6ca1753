from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn

from lightning_diag.probes.domain_conflict import cosines, head_gradients
from lightning_diag.probes.domain_features import Head, Pool


class Net(nn.Module):
    """Two heads, of which the first makes the scores."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 16), nn.ReLU())
        self.head, self.other = nn.Linear(16, 4), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.body(x)
        self.other(h)
        self.h = h
        logits: Tensor = self.head(h)
        return logits


def test_the_head_is_found_by_its_output_and_the_other_hooks_go() -> None:
    net = Net()
    head = Head(net)
    head.start()
    logits = net(torch.randn(5, 8))
    features = head.take(logits.detach())
    assert head.found is net.head and features is not None and torch.equal(features, net.h)
    assert [bool(m._forward_hooks) for m in (net.body[0], net.head, net.other)] == [False, True, False]
    assert not head.switch.on
    head.detach()
    assert not net.head._forward_hooks


def test_nothing_is_kept_while_it_is_off_and_nothing_fits_other_scores() -> None:
    net = Net()
    head = Head(net)
    net(torch.randn(5, 8))
    assert head._calls == []
    head.start()
    net(torch.randn(5, 8))
    assert head.take(torch.zeros(5, 7)) is None


def test_positions_are_averaged() -> None:
    conv, linear = nn.Conv2d(6, 3, 1), nn.Linear(6, 3)
    x = torch.randn(2, 6, 4, 5)
    head = Head(conv)
    head.start()
    got = head.take(conv(x))
    assert got is not None and torch.allclose(got, x.mean((2, 3)))
    head = Head(linear)
    head.start()
    tokens = torch.randn(2, 9, 6)
    got = head.take(linear(tokens).movedim(-1, 1))
    assert got is not None and torch.allclose(got, tokens.mean(1))


def test_copies_of_the_module_carry_no_hook_of_ours() -> None:
    net = Net()
    head = Head(net)
    head.start()
    copy.deepcopy(net)(torch.randn(2, 8))
    pickle.loads(pickle.dumps(net))(torch.randn(2, 8))
    assert head._calls == []


def test_the_pool_is_a_uniform_sample_of_each_domain() -> None:
    pool = Pool(2, seed=1, rows=200)
    for start in range(0, 4000, 100):
        number = torch.arange(start, start + 100.0)
        real = number % 40 == 0  # one in forty: 100 of them, all kept
        pool.add(number[:, None], torch.stack([~real, real]).double(), number.long() % 7)
    kept = pool.take()
    assert kept is not None and kept.shape == (2, 200, 3)
    many, few = kept
    few = few[torch.isfinite(few[:, 0])]
    assert sorted(few[:, 2].tolist()) == list(range(0, 4000, 40))
    assert torch.isfinite(many).all() and len(set(many[:, 2].tolist())) == 200
    assert (many[:, 1] == many[:, 2] % 7).all(), "a row keeps its class"
    assert abs(float(many[:, 2].mean()) - 2000) < 4 * 1155 / 200**0.5
    assert pool.take() is None


def test_the_pool_draws_from_a_generator_of_its_own() -> None:
    before = torch.get_rng_state()
    pool = Pool(1, rows=4)
    pool.add(torch.randn(9, 3, generator=torch.Generator().manual_seed(0)), torch.ones(1, 9), None)
    assert torch.equal(before, torch.get_rng_state())


def test_the_head_gradient_is_autograds() -> None:
    torch.manual_seed(0)
    net, x, y = Net(), torch.randn(24, 8), torch.randint(0, 4, (24,))
    ids = torch.arange(24) % 2
    logits = net(x)
    member = torch.stack([ids == 0, ids == 1]).double()
    made = head_gradients(logits.detach(), y, net.h.detach(), member)
    assert made is not None
    want = []
    for d in range(2):
        loss = nn.functional.cross_entropy(logits[ids == d], y[ids == d])
        want.append(torch.autograd.grad(loss, net.head.weight, retain_graph=True)[0].reshape(-1))
        assert torch.allclose(made[d], want[-1], atol=1e-6)
    cosine = nn.functional.cosine_similarity(want[0], want[1], 0)
    assert float(cosines(made)[0, 1]) == pytest.approx(float(cosine), abs=1e-5)


def test_a_domain_with_too_few_samples_has_no_gradient() -> None:
    member = torch.tensor([[1.0] * 7 + [0.0], [0.0] * 7 + [1.0]])
    made = head_gradients(torch.randn(8, 3), torch.zeros(8, dtype=torch.long), torch.randn(8, 5), member)
    assert made is not None and not torch.isnan(made[0]).any() and torch.isnan(made[1]).all()
    assert torch.isnan(cosines(made)[0, 1])
