from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from lightning_diag.probes import activation_kernels as kernels
from lightning_diag.probes.activation_curves import GELU, GUESS, PLAIN, RELU, SIGMOID, TANH, Curve
from lightning_diag.probes.activation_kernels import (
    COLUMNS,
    DEAD_BATCHES,
    DEAD_ROWS,
    ELEMENTS,
    UNITS,
    Memory,
    measure,
    sample,
)

CPU = torch.device("cpu")


def once(
    output: Tensor, curve: Curve = PLAIN, memory: Memory | None = None, given: Tensor | None = None
) -> dict[str, float]:
    stats, _ = measure(output[None], (output if given is None else given)[None], memory or fresh(output), curve)
    return dict(zip(COLUMNS, stats[0].tolist(), strict=True))


def fresh(output: Tensor) -> Memory:
    return Memory.fresh(output.shape[-1], CPU)


@pytest.mark.parametrize(
    ("shape", "dim"),
    [
        ((64, 10), 1),
        ((4000, 3), 1),
        ((2, 5000), 1),
        ((8, 300, 700), -1),
        ((3, 8, 40, 50), 1),
        ((1, 2, 3, 4, 5), 1),
        ((7,), -1),
    ],
)
def test_a_sample_is_small_and_holds_whole_rows_of_few_units(shape: tuple[int, ...], dim: int) -> None:
    x = torch.arange(float(np.prod(shape))).reshape(shape)
    got = sample(x, dim)
    batch, positions, units = got.shape
    assert got.numel() <= ELEMENTS
    assert units <= UNITS
    if len(shape) == 1:
        assert (batch, positions, units) == (1, 1, 7)
    assert batch <= (1 if len(shape) == 1 else shape[0])
    assert got.numel() >= min(x.numel(), 0.2 * ELEMENTS) or shape == (2, 5000)
    assert set(got.flatten().tolist()) <= set(x.flatten().tolist())


def test_a_sample_is_a_copy_in_float32() -> None:
    x = torch.randn(4, 5, dtype=torch.bfloat16)
    got = sample(x, 1)
    assert got.dtype == torch.float32
    kept = got.clone()
    x.zero_()  # what an in-place activation behind it does
    assert torch.equal(got, kept)
    y = torch.randn(4, 5)
    assert sample(y, 1).data_ptr() != y.data_ptr()


def test_units_stay_while_samples_and_positions_take_turns() -> None:
    batch, channels, size = 200, 300, 40
    value = torch.arange(batch)[:, None, None] * 1e4 + torch.arange(size)
    x = value[:, None].expand(batch, channels, 1, size) + 1e-2 * 0
    unit = torch.arange(channels).view(1, channels, 1, 1).expand(batch, channels, 1, size)
    rows: set[float] = set()
    units: set[tuple[float, ...]] = set()
    for turn in range(64):
        rows |= set(sample(x.float(), 1, turn).flatten().tolist())
        units.add(tuple(sample(unit.float(), 1, turn)[0, 0].tolist()))
    assert len(units) == 1
    assert len({r // 1e4 for r in rows}) >= 190, "in time every sample is seen"
    assert len({r % 1e4 for r in rows}) == size, "and every position"


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_convolutions_units_are_its_channels(layout: torch.memory_format) -> None:
    x = torch.arange(6.0).view(1, 6, 1, 1).expand(4, 6, 5, 5).contiguous(memory_format=layout)
    assert sample(x, 1)[0, 0].tolist() == [0, 1, 2, 3, 4, 5]


def reference(output: Tensor) -> tuple[float, float, float]:
    y = output.double().numpy()
    within = np.sqrt((y.std(0) ** 2).mean())
    return float(y.mean()), float(y.std()), float(within / np.sqrt((y**2).mean()))


@given(seed=st.integers(0, 10_000), offset=st.sampled_from([0.0, 1.0, -300.0]), scale=st.sampled_from([1e-3, 1.0, 1e4]))
@settings(max_examples=25, deadline=None)
def test_moments_agree_with_float64(seed: int, offset: float, scale: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    y = (torch.randn(9, 3, 17, generator=generator) * torch.rand(1, 3, 17, generator=generator) + offset) * scale
    got = once(y)
    mean, std, variation = reference(y)
    assert got["mean"] == pytest.approx(mean, rel=1e-4, abs=1e-5 * scale)
    assert got["std"] == pytest.approx(std, rel=1e-3)
    assert got["variation"] == pytest.approx(variation, rel=1e-3)


def test_a_large_constant_does_not_hide_or_invent_variation() -> None:
    generator = torch.Generator().manual_seed(0)
    y = 1000 + torch.randn(64, 1, 64, generator=generator)
    assert once(y)["variation"] == pytest.approx(reference(y)[2], rel=1e-2)
    constant = (1e4 * torch.randn(1, 1, 64, generator=generator)).expand(64, 1, 64)
    assert once(constant)["variation"] < 1e-6


def test_constant_zero_single_and_non_finite_outputs_have_a_policy() -> None:
    assert once(torch.zeros(8, 1, 4))["variation"] == 0
    assert np.isnan(once(torch.randn(1, 5, 4))["variation"]), "one sample says nothing"
    bad = torch.ones(4, 1, 5)
    bad[1, 0, 2], bad[3, 0, 0] = float("nan"), float("inf")
    got = once(bad)
    assert got["nonfinite"] == pytest.approx(2 / 20)
    assert np.isnan(got["mean"])


def test_saturation_counts_values_and_units() -> None:
    y = torch.zeros(20, 1, 4)
    y[..., 0] = 0.99
    y[..., 1] = torch.tensor([1.0, -1.0] * 10)[:, None]  # both ends in turn: saturated all the same
    y[:10, 0, 2] = -0.99
    got = once(y, TANH)
    assert got["saturated"] == pytest.approx((20 + 20 + 10) / 80)
    assert got["saturated_units"] == pytest.approx(2 / 4)
    assert np.isnan(got["dead"])
    assert np.isnan(once(y, RELU)["saturated"]), "half zeros are a ReLU's nature"
    assert once((y + 1) / 2, SIGMOID)["saturated"] == pytest.approx(50 / 80)


def test_gelu_is_judged_by_its_input_and_its_flat_side_is_told() -> None:
    x = torch.tensor([-5.0, -3.0, -1.0, 1.0]).expand(8, 1, 4)
    got = once(torch.nn.functional.gelu(x), GELU, given=x)
    assert got["saturated"] == pytest.approx(0.5)
    assert np.isnan(got["saturated_units"])


def run(batches: list[Tensor], curve: Curve = RELU) -> list[float]:
    memory, dead = fresh(batches[0]), []
    for y in batches:
        stats, memory = measure(y[None], y[None], memory, curve)
        dead.append(float(stats[0, 0]))
    return dead


def test_a_unit_is_dead_when_no_row_of_the_window_shows_it_active() -> None:
    generator = torch.Generator().manual_seed(0)
    batches = [torch.randn(64, 1, 5, generator=generator).relu() for _ in range(30)]
    for y in batches:
        y[..., 0] = 0.0  # never active
        y[..., 1] *= (torch.rand(64, 1, generator=generator) < 0.02).float()  # active for 1 % of the inputs
    batches[29][5, 0, 0] = 1e-6
    dead = run(batches)
    assert np.isnan(dead[DEAD_BATCHES - 2]), "the window isn't full"
    assert dead[DEAD_BATCHES - 1 : 29] == pytest.approx([0.2] * 10)
    assert dead[29] == 0, "one sign of life is enough"


def test_small_batches_need_a_thousand_rows() -> None:
    dead = run([torch.zeros(8, 1, 3)] * 130)
    first = next(i for i, value in enumerate(dead) if not np.isnan(value))
    assert (first + 1) * 8 == DEAD_ROWS
    assert dead[first] == 1


@given(seed=st.integers(0, 1000), rows=st.sampled_from([20, 50, 130]))
@settings(max_examples=20, deadline=None)
def test_dead_equals_a_plain_count_at_every_prefix(seed: int, rows: int) -> None:
    rng = np.random.default_rng(seed)
    rate = rng.choice([0.0, 5e-4, 0.5], size=12)
    batches = [torch.tensor((rng.random((rows, 1, 12)) < rate).astype(np.float32)) for _ in range(90)]
    dead = run(batches)
    silent = np.zeros(12)
    for i, y in enumerate(batches):
        silent = np.where(y.numpy().any((0, 1)), 0, silent + 1)
        if i + 1 >= DEAD_BATCHES and (i + 1) * rows >= DEAD_ROWS:
            expected = (silent >= DEAD_BATCHES) & (silent * rows >= DEAD_ROWS)
            assert dead[i] == pytest.approx(expected.mean())


def test_what_made_unknown_values_is_guessed_from_all_of_them() -> None:
    generator = torch.Generator().manual_seed(0)
    relu = [torch.randn(64, 1, 4, generator=generator).relu() for _ in range(25)]
    assert run(relu, GUESS)[-1] == 0
    assert np.isnan(run([y - 0.1 * (i == 3) for i, y in enumerate(relu)], GUESS)[-1]), "one negative value: no ReLU"
    assert np.isnan(run([y + 0.1 for y in relu], GUESS)[-1]), "never zero: no ReLU either"
    tanh = torch.tanh(5 * torch.randn(64, 1, 4, generator=generator))
    assert once(tanh, GUESS)["saturated"] > 0.5
    assert np.isnan(once(2 * tanh, GUESS)["saturated"])


def test_layers_that_share_a_module_give_the_worst() -> None:
    nan = float("nan")
    stats = torch.tensor([[0.1, nan, 0.3, 1.0, 2.0, 0.0, 0.5], [0.9, nan, nan, 3.0, 4.0, 0.1, 0.2]])
    got = kernels.worst(stats).tolist()
    assert got[0] == pytest.approx(0.9)
    assert np.isnan(got[1])
    assert got[2:] == pytest.approx([0.3, 2.0, 3.0, 0.1, 0.2])


@pytest.mark.parametrize("curve", [PLAIN, RELU, TANH, GELU, GUESS])
def test_nothing_waits_for_the_device_or_draws_a_random_number(curve: Curve) -> None:
    before = torch.get_rng_state()
    with FakeTensorMode():  # a fake tensor has no values: reading one raises
        x = torch.empty(64, 32, 9, 9)
        y = torch.stack([sample(x, 1, 3)] * 2)
        memory = Memory(torch.zeros(2, 3, 32), torch.zeros(2, 5))
        stats, _ = measure(y, y, memory, curve)
        assert kernels.worst(stats).shape == (len(COLUMNS),)
        with pytest.raises(Exception, match=r"data-dependent|DataDependent|aten\._local_scalar_dense|item"):
            bool(x.sum() > 0)
    assert torch.equal(before, torch.get_rng_state())
