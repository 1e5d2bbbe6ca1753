from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.checkpoint import checkpoint

from lightning_diag.packet import Packet
from lightning_diag.probes.activation import ActivationProbe
from lightning_diag.probes.base import Batch, Scene
from lightning_diag.reading import Facts, Reading

Values = dict[str, NDArray[np.float64]]


class Run:
    """A probe on a module, stepped by hand as the pipeline does."""

    def __init__(self, module: nn.Module, probe: ActivationProbe | None = None, *, automatic: bool = True) -> None:
        self.module = module
        self.probe = probe or ActivationProbe()
        self.unmeasured = self.probe.attach(Scene(module, [], Facts(), automatic))
        self.names: tuple[str, ...] = self.probe.facts()["names"]["module"]
        self.steps = 0

    def step(self, *calls: Tensor, forward: Callable[[Tensor], Any] | None = None) -> Values:
        """One sampled step with a forward and backward for each of the inputs."""
        for x in calls:
            batch = Batch(x, self.steps)
            self.probe.batch_start(batch)
            out = (self.module if forward is None else forward)(x)
            self.probe.loss(batch)
            if out.requires_grad:
                out.sum().backward()
        self.steps += 1
        packet = Packet.pack(self.steps, 0, 0, "train", self.probe.collect())
        return packet.unpack(packet.flat.numpy())

    def many(self, make: Callable[[], Tensor], steps: int = 25) -> Values:
        for _ in range(steps):
            values = self.step(make())
        return values

    def at(self, values: Values, signal: str, name: str) -> float:
        return float(values[f"activation/{signal}"][self.names.index(name)])

    def learn(self, values: Values) -> Any:
        return self.probe.learn(Reading(self.steps, 0, values, Facts()))


def batch(*shape: int) -> Callable[[], Tensor]:
    generator = torch.Generator().manual_seed(0)
    return lambda: torch.randn(*shape, generator=generator)


def layer(inputs: int, outputs: int, bias: float = 0.0) -> nn.Linear:
    made = nn.Linear(inputs, outputs)
    nn.init.constant_(made.bias, bias)
    return made


@pytest.mark.parametrize("act", [nn.ReLU(), nn.ReLU(inplace=True), nn.GELU(), nn.SiLU(), nn.ELU(), nn.ReLU6()], ids=str)
def test_dead_units_are_found_at_their_module_and_living_ones_are_not(act: nn.Module) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(layer(8, 32), act, layer(32, 32, -50.0), copy.deepcopy(act), layer(32, 2))
    run = Run(net)
    values = run.many(batch(64, 8))
    assert run.at(values, "dead_frac", "1") < 0.2
    assert run.at(values, "dead_frac", "3") == 1.0
    assert run.at(values, "window_samples", "3") == 25 * 64
    assert [run.at(values, "call_order", n) for n in ("1", "3", "4")] == [0, 1, 2]


def test_in_place_and_out_of_place_give_the_same_numbers() -> None:
    torch.manual_seed(0)
    one = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(64, 3))
    two: Any = copy.deepcopy(one)
    two[1].inplace = True
    make = batch(16, 1, 8, 8)
    x = [make() for _ in range(3)]
    a, b = Run(one), Run(two)
    for each in x:
        got, expected = a.step(each), b.step(each)
    for signal, value in expected.items():
        np.testing.assert_array_equal(got[signal], value)


class Functional(nn.Module):
    def __init__(self, act: Callable[[Tensor], Tensor], bias: float = 0.0, gain: float = 1.0) -> None:
        super().__init__()
        self.fc1, self.fc2, self.fc3 = layer(8, 32), layer(32, 32, bias), layer(32, 2)
        self.act = act
        with torch.no_grad():
            self.fc2.weight *= gain

    def forward(self, x: Tensor) -> Tensor:
        x = F.dropout(self.act(self.fc1(x)), 0.2, self.training)
        out: Tensor = self.fc3(self.act(self.fc2(x)))
        return out


def test_functional_relu_is_seen_where_it_arrives() -> None:
    torch.manual_seed(0)
    run = Run(Functional(F.relu, bias=-50.0))
    values = run.many(batch(64, 8))
    assert run.at(values, "dead_frac", "fc3 (input)") == 1
    assert run.at(values, "dead_frac", "fc2 (input)") < 0.2, "dropout kills no unit"
    assert np.isnan(run.at(values, "dead_frac", "fc1 (input)")), "data is not judged"
    assert np.isnan(run.at(values, "call_order", "fc1 (input)"))


def test_functional_tanh_is_seen_and_gelu_is_not() -> None:
    torch.manual_seed(0)
    run = Run(Functional(torch.tanh, gain=300.0))
    values = run.many(batch(64, 8))
    assert run.at(values, "saturated_frac", "fc3 (input)") > 0.9
    assert np.isnan(run.at(values, "saturated_frac", "fc2 (input)")), "dropout scales beyond 1"
    run = Run(Functional(F.gelu, bias=-4.0))
    values = run.many(batch(64, 8))
    assert np.isnan(values["activation/dead_frac"]).all()


def test_inputs_that_show_no_functional_form_are_let_go() -> None:
    torch.manual_seed(0)
    run = Run(Functional(F.gelu))
    for _ in range(70):
        values = run.step(torch.randn(64, 8))
        run.learn(values)
    assert np.isnan(run.at(values, "mean", "fc3 (input)"))
    assert not np.isnan(run.at(values, "call_order", "fc3 (input)"))
    relu = Run(Functional(F.relu))
    for _ in range(70):
        values = relu.step(torch.randn(64, 8))
        relu.learn(values)
    assert not np.isnan(relu.at(values, "dead_frac", "fc3 (input)"))


def test_a_module_that_two_layers_share_is_judged_by_layer() -> None:
    torch.manual_seed(0)

    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c, self.relu = layer(8, 16), layer(16, 16, -50.0), layer(16, 2), nn.ReLU(inplace=True)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.c(self.relu(self.b(self.relu(self.a(x)))))
            return out

    run = Run(Shared())
    values = run.many(batch(64, 8))
    assert run.at(values, "dead_frac", "relu") == 1, "the dead layer isn't hidden by the living one"


def test_a_layer_called_at_many_time_steps_is_one_layer() -> None:
    torch.manual_seed(0)

    class Cell(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.map, self.act, self.head = layer(24, 16), nn.ReLU(), layer(16, 2)

        def forward(self, x: Tensor) -> Tensor:
            h = x.new_zeros(len(x), 16)
            for t in range(12):
                gate = torch.zeros(16)
                gate[t:] = 1.0  # at every time step another unit falls silent for good
                h = self.act(self.map(torch.cat([x, h], 1)) + 50 * gate - 25)
            out: Tensor = self.head(h)
            return out

    run = Run(Cell())
    values = run.many(batch(64, 8))
    assert run.at(values, "dead_frac", "act") == 0, "a unit that is active at one of the steps is alive"
    assert run.at(values, "window_samples", "act") == 25 * 64 * 4, "calls 1, 2, 4 and 8 are looked at"


def test_only_hidden_layers_can_be_saturated() -> None:
    torch.manual_seed(0)
    big = layer(16, 16)
    with torch.no_grad():
        big.weight *= 500

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.hidden, self.gate, self.b = big, nn.Tanh(), nn.Sigmoid(), layer(16, 16)
            self.out, self.head = nn.Sigmoid(), layer(16, 8)

        def forward(self, x: Tensor) -> Tensor:
            h = self.hidden(self.a(x))
            g = self.gate(300 * self.b(h))
            out: Tensor = self.out(300 * self.head(torch.cat([h * g, h], 1)[:, 8:24]))
            return out

    run = Run(Net())
    values = run.many(batch(64, 16), 3)
    assert run.at(values, "saturated_frac", "hidden") > 0.9
    assert run.at(values, "saturated_units_frac", "hidden") > 0.9
    assert np.isnan(run.at(values, "saturated_frac", "out")), "an output is meant to saturate"


def test_a_squeeze_and_excitation_gate_is_no_hidden_layer() -> None:
    torch.manual_seed(0)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 16, 3, padding=1)
            self.squeeze, self.gate = nn.Conv2d(16, 16, 1), nn.Sigmoid()
            self.next, self.head = nn.Conv2d(16, 16, 3, padding=1), layer(16, 3)

        def forward(self, x: Tensor) -> Tensor:
            h = self.conv(x)
            h = self.next(h * self.gate(1000 * self.squeeze(h.mean((2, 3), keepdim=True))))
            out: Tensor = self.head(h.mean((2, 3)))
            return out

    run = Run(Net())
    assert np.isnan(run.at(run.step(torch.randn(8, 1, 6, 6)), "saturated_frac", "gate"))


def test_a_pooled_and_flattened_layer_is_hidden() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(1, 16, 3, padding=1)
    net = nn.Sequential(conv, nn.Tanh(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16 * 9, 3))
    with torch.no_grad():
        conv.weight *= 500
    run = Run(net)
    assert run.at(run.step(torch.randn(8, 1, 6, 6)), "saturated_frac", "1") > 0.9


def test_collapse_shows_from_where_it_begins() -> None:
    torch.manual_seed(0)
    net: Any = nn.Sequential(layer(8, 16), nn.Tanh(), layer(16, 16), nn.LayerNorm(16), nn.ReLU(), layer(16, 3))
    with torch.no_grad():
        net[2].weight.zero_()
        net[2].bias.uniform_(-1, 1)
    run = Run(net)
    values = run.step(torch.randn(32, 8))
    assert run.at(values, "variation", "1") > 0.5
    for name in ("3", "4", "5"):
        assert run.at(values, "variation", name) < 1e-6


def test_the_first_module_with_a_bad_value_is_called_first() -> None:
    torch.manual_seed(0)
    net: Any = nn.Sequential(layer(8, 16), nn.ReLU(), layer(16, 16), nn.ReLU(), layer(16, 3))
    with torch.no_grad():
        net[2].weight[3, 4] = float("nan")
    run = Run(net)
    values = run.step(torch.randn(32, 8))
    assert run.at(values, "nonfinite_frac", "1") == 0
    assert run.at(values, "nonfinite_frac", "3") == pytest.approx(1 / 16)
    assert run.at(values, "nonfinite_frac", "4") == 1


def transformer() -> nn.TransformerEncoderLayer:
    return nn.TransformerEncoderLayer(32, 4, 64, 0.1, batch_first=True, norm_first=True)


def test_attention_entropy_of_multihead_attention_follows_the_logits() -> None:
    torch.manual_seed(0)
    net: Any = nn.ModuleDict({"block": transformer(), "head": layer(32, 3)})
    run = Run(net)

    def forward(x: Tensor) -> Tensor:
        out: Tensor = net["head"](net["block"](x))
        return out

    calm = run.step(torch.randn(4, 10, 32), forward=forward)
    with torch.no_grad():
        net["block"].self_attn.in_proj_weight[:64] *= 20
    sharp = run.step(torch.randn(4, 10, 32), forward=forward)
    assert run.at(calm, "attention_entropy", "block.self_attn") > 0.8
    assert run.at(sharp, "attention_entropy", "block.self_attn") < 0.2
    assert run.at(sharp, "attention_max_logit", "block.self_attn") > 100
    assert np.isnan(run.at(sharp, "attention_entropy", "head"))


@pytest.mark.parametrize("accumulate", [1, 2])
def test_where_every_step_is_sampled_attention_is_looked_at_in_every_fourth_after_a_while(accumulate: int) -> None:
    net: Any = nn.Sequential(SelfAttention(1.0), layer(16, 3))
    probe = ActivationProbe()
    probe.attach(Scene(net, [], Facts(), automatic=True))

    def looked(first_batch: int) -> bool:
        for i in range(accumulate):
            made = Batch(torch.randn(2, 5, 16), first_batch + i)
            probe.batch_start(made)
            net(made.batch)
            probe.loss(made)
        values = dict(probe.collect())
        assert np.isfinite(np.asarray(values["activation/mean"])).any()
        return "activation/attention_entropy" in values

    dense = [looked(accumulate * k) for k in range(64)]
    assert all(dense)
    assert [looked(accumulate * k) for k in range(64, 72)] == [k % 4 == 3 for k in range(8)]
    apart = [looked(1000 * k) for k in range(1, 6)]  # steps between them are not sampled
    assert all(apart)


class SelfAttention(nn.Module):
    def __init__(self, gain: float) -> None:
        super().__init__()
        self.n_head, self.c_attn, self.soft = 2, nn.Linear(16, 48), nn.Softmax(dim=-1)
        with torch.no_grad():
            self.c_attn.weight[:32] *= gain

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (p.unflatten(-1, (2, 8)).transpose(1, 2) for p in self.c_attn(x).chunk(3, -1))
        out: Tensor = (self.soft(q @ k.transpose(-1, -2) / math.sqrt(8)) @ v).transpose(1, 2).flatten(2)
        return out


def test_attention_written_by_hand_and_its_softmax_module_agree() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(SelfAttention(5.0), layer(16, 3))
    run = Run(net)
    values = run.step(torch.randn(4, 10, 16))
    for signal in ("attention_entropy", "attention_entropy_min", "attention_max_logit"):
        by_hand, by_module = run.at(values, signal, "0"), run.at(values, signal, "0.soft")
        assert by_hand == pytest.approx(by_module, rel=1e-4)


def recurrent(cell: nn.RNNBase) -> tuple[Run, Callable[[Tensor], Tensor]]:
    head = layer(16, 2)

    def forward(x: Tensor) -> Tensor:
        out: Tensor = head(cell(x)[0])
        return out

    return Run(nn.ModuleDict({"cell": cell, "head": head})), forward


@pytest.mark.parametrize(
    "cell", [nn.RNN(4, 16), nn.RNN(4, 16, batch_first=True), nn.LSTM(4, 16), nn.GRU(4, 16)], ids=str
)
def test_recurrent_layers_are_measured(cell: nn.RNNBase) -> None:
    run, forward = recurrent(cell)
    values = run.step(torch.randn(6, 6, 4), forward=forward)
    assert run.at(values, "variation", "cell") > 0.1
    assert np.isnan(run.at(values, "saturated_frac", "cell")) == (not isinstance(cell, nn.RNN))


@pytest.mark.parametrize("batch_first", [True, False])
def test_samples_of_recurrent_layers_are_told_from_time_steps(batch_first: bool) -> None:
    run, forward = recurrent(nn.RNN(4, 16, batch_first=batch_first))
    x = torch.randn(6, 1, 4).expand(6, 5, 4)  # six time steps of five equal samples
    values = run.step(x.transpose(0, 1) if batch_first else x, forward=forward)
    assert run.at(values, "variation", "cell") < 1e-6


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointing_counts_once(reentrant: bool) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(layer(8, 16), nn.ReLU(), layer(16, 2))
    run = Run(net, automatic=False)  # by hand the probe looks on through backward
    x = torch.randn(32, 8, requires_grad=True)
    values = run.step(x, forward=lambda x: checkpoint(net, x, use_reentrant=reentrant))
    assert run.at(values, "window_samples", "1") == 32


def test_micro_batches_add_up_and_eval_passes_do_not() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(layer(8, 16), nn.ReLU(), layer(16, 2))
    run = Run(net)
    make = batch(32, 8)
    values = run.step(make(), make())
    assert run.at(values, "window_samples", "1") == 64
    net.eval()
    values = run.step(make())
    assert np.isnan(run.at(values, "window_samples", "1"))
    net.train()
    run.probe.batch_start(Batch(None, 0))
    run.probe.validation_start()
    net(make())
    assert np.isnan(values["activation/mean"]).all()


def test_the_eval_fast_path_of_transformer_layers_survives(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    fast: list[int] = []
    real = torch._transformer_encoder_layer_fwd

    def counted(*args: Any, **kwargs: Any) -> Tensor:
        fast.append(1)
        out: Tensor = real(*args, **kwargs)
        return out

    monkeypatch.setattr(torch, "_transformer_encoder_layer_fwd", counted)
    net = nn.TransformerEncoderLayer(32, 4, 64, 0.0, batch_first=True)
    run = Run(nn.ModuleDict({"net": net, "head": layer(32, 2)}))
    x = torch.randn(4, 10, 32)
    assert run.at(run.step(x, forward=net), "attention_entropy", "net.self_attn") > 0.5
    run.probe.batch_start(Batch(x, 0))
    run.probe.validation_start()
    with torch.no_grad():
        net.eval()(x)
    assert fast == [1]


def test_nothing_of_the_users_is_changed() -> None:
    torch.manual_seed(0)
    nets = [nn.Sequential(layer(8, 16), nn.ReLU(inplace=True), nn.Dropout(0.5), layer(16, 2)) for _ in range(2)]
    nets[1].load_state_dict(nets[0].state_dict())
    x = [torch.randn(32, 8) for _ in range(10)]
    states = []
    for net, watched in zip(nets, (False, True), strict=True):
        torch.manual_seed(1)
        run = Run(net) if watched else None
        optimizer = torch.optim.Adam(net.parameters())
        for each in x:
            optimizer.zero_grad()
            if run is not None:
                run.step(each)
            else:
                net(each).sum().backward()
            optimizer.step()
        states.append((torch.get_rng_state(), net.state_dict()))
    assert torch.equal(states[0][0], states[1][0])
    for name, value in states[0][1].items():
        assert torch.equal(value, states[1][1][name])


def test_compiled_modules_say_why_they_are_not_measured() -> None:
    for wrapped in (True, False):
        inner = Functional(nn.ReLU())
        net: Any = torch.compile(inner, backend="eager", fullgraph=True) if wrapped else inner
        if not wrapped:
            inner.compile(backend="eager", fullgraph=True)
        run = Run(nn.ModuleDict({"net": net}))
        assert "compiled region" in run.unmeasured["activation/dead_frac"]
        values = run.step(torch.randn(4, 8), forward=net)
        assert np.isnan(values["activation/mean"]).all()
        run.probe.detach()
    torch._dynamo.reset()


def test_hooks_that_never_fire_are_told() -> None:
    net: Any = nn.ModuleDict({"relu": nn.ReLU(), "fc": layer(8, 2)})
    run = Run(net)
    learned: dict[str, Any] = {}
    for _ in range(3):
        values = run.step(torch.randn(4, 8), forward=lambda x: F.relu(F.linear(x, net["fc"].weight)))
        learned = run.learn(values) or learned
    assert "none of 3 hooks fired" in learned["unmeasured"]["activation/dead_frac"]
    fired = Run(net)
    for _ in range(5):
        assert fired.learn(fired.step(torch.randn(4, 8), forward=lambda x: net["relu"](net["fc"](x)))) == {}


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_every_default_type_gives_float32(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    try:
        torch.set_default_dtype(dtype)
        net = nn.Sequential(transformer(), nn.ReLU(), layer(32, 3))
        run = Run(net)
        values = run.many(lambda: torch.randn(16, 10, 32))
        stats, sharp, _, _ = run.probe._recorder.finish()
    finally:
        torch.set_default_dtype(torch.float32)
    assert run.at(values, "dead_frac", "1") == 0
    assert run.at(values, "attention_entropy", "0.self_attn") > 0.5
    assert stats.dtype == sharp.dtype == torch.float32


def test_a_module_without_anything_to_watch_says_so() -> None:
    run = Run(nn.Module())
    assert "no module to watch" in run.unmeasured["activation/mean"]
    assert run.probe.collect() == []
    run = Run(nn.Sequential(layer(2, 2), nn.ReLU()))
    assert "no attention" in run.unmeasured["activation/attention_entropy"]
    assert "activation/attention_entropy" not in run.step(torch.randn(2, 2))


def test_detached_it_leaves_nothing_behind() -> None:
    net = nn.Sequential(layer(2, 4), nn.ReLU(), transformer())
    run = Run(net)
    run.probe.batch_start(Batch(None, 0))
    run.probe.detach()
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in net.modules())


def test_include_alone_still_knows_which_dimension_counts_units() -> None:
    net = nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(96, 2))
    run = Run(net, ActivationProbe(include=["ReLU"]))
    assert run.names == ("1",)
    run.step(torch.randn(4, 1, 6, 6))
    (track,) = run.probe._recorder.tracks.values()
    assert track.units == 6


def test_channels_last_networks_behind_linear_layers_have_units_in_the_last_dimension() -> None:
    net = nn.Sequential(nn.Linear(3, 12), nn.GELU(), nn.Linear(12, 2))
    run = Run(net)
    run.step(torch.randn(4, 5, 5, 3))
    assert {t.units for t in run.probe._recorder.tracks.values()} == {12, 2}


def test_outside_sampled_forward_passes_no_module_has_a_hook() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    run = Run(net)

    def hooked() -> int:
        return sum(len(m._forward_hooks) for m in net.modules())

    assert hooked() == 0
    run.probe.batch_start(Batch(None, 0))
    assert hooked() == 3
    run.probe.loss(Batch(None, 0))
    assert hooked() == 0


def test_softmax_in_place_does_not_write_over_what_was_kept() -> None:
    class InPlace(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.softmax = nn.Softmax(-1)

        def forward(self, x: Tensor) -> Tensor:
            weights: Tensor = self.softmax(x)
            x.fill_(1e4)
            return weights

    values = Run(InPlace()).step(torch.zeros(2, 3, 5, 5))
    assert float(values["activation/attention_max_logit"][0]) == 0.0
    assert float(values["activation/attention_entropy"][0]) == pytest.approx(1.0)
