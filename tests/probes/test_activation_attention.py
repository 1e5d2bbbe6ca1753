from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from lightning_diag.probes.activation_attention import (
    QUERIES,
    SAMPLES,
    attention_stats,
    few,
    multihead_logits,
    scores,
    written_logits,
)

T = 20


def picked(count: int, limit: int) -> Tensor:
    return few(torch.arange(count), 0, limit)


def expected_entropy(p: Tensor, allowed: Tensor) -> Tensor:
    """Per head, by plain loops in float64; p ``(N, H, T, S)``."""
    heads = []
    for h, head in enumerate(p.double().unbind(1)):
        rows = []
        for n in range(head.shape[0]):
            for t in range(head.shape[1]):
                keys = int(allowed[n, h, t].sum())
                if keys > 1:
                    q = head[n, t][head[n, t] > 0]
                    rows.append(float(-(q * q.log()).sum()) / math.log(keys))
        heads.append(sum(rows) / len(rows))
    return torch.tensor(heads)


def test_entropy_is_one_for_uniform_and_zero_for_a_single_key() -> None:
    uniform = attention_stats(torch.zeros(2, 3, 5, 7))
    assert uniform.tolist() == pytest.approx([1, 1, 0])
    sharp = attention_stats(torch.eye(6).expand(1, 2, 6, 6) * 500)
    assert sharp.tolist() == pytest.approx([0, 0, 500], abs=1e-6)


def test_one_sharp_head_leaves_the_median_and_shows_in_the_minimum() -> None:
    logits = torch.zeros(2, 4, 6, 6)
    logits[:, 1] = torch.eye(6) * 100
    median, sharpest, largest = attention_stats(logits).tolist()
    assert (median, largest) == pytest.approx((1, 100))
    assert sharpest == pytest.approx(0, abs=1e-6)


def test_masked_keys_do_not_count_and_rows_without_a_choice_say_nothing() -> None:
    logits = torch.zeros(1, 1, 4, 4).masked_fill(torch.triu(torch.ones(4, 4, dtype=torch.bool), 1), float("-inf"))
    assert attention_stats(logits).tolist() == pytest.approx([1, 1, 0])
    for mask in (float("-inf"), -1e9, torch.finfo(torch.float32).min):
        assert attention_stats(torch.zeros(1, 1, 3, 4).masked_fill(torch.tensor([0, 0, 0, 1]).bool(), mask))[0] == 1
    assert torch.isnan(attention_stats(torch.full((1, 2, 3, 1), 7.0))[:2]).all()
    assert torch.isnan(attention_stats(torch.full((1, 2, 3, 4), float("nan")))[:2]).all()


MASKS: dict[str, dict[str, Any]] = {
    "none": {},
    "causal": {"attn_mask": torch.triu(torch.ones(T, T, dtype=torch.bool), 1)},
    "float": {"attn_mask": torch.triu(torch.full((T, T), float("-inf")), 1)},
    "padded": {"key_padding_mask": torch.arange(T).expand(6, T) >= torch.tensor([20, 18, 9, 20, 5, 11])[:, None]},
    "per head": {"attn_mask": torch.rand(6 * 4, T, T, generator=torch.Generator().manual_seed(0)).lt(0.3)},
}


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("mask", MASKS)
def test_logits_of_multihead_attention_are_the_modules_own(mask: str, batch_first: bool) -> None:
    torch.manual_seed(0)
    module = nn.MultiheadAttention(32, 4, batch_first=batch_first)
    x = torch.randn(6, T, 32)
    given = x if batch_first else x.transpose(0, 1)
    kwargs = MASKS[mask]
    _, weights = module(given, given, given, need_weights=True, average_attn_weights=False, **kwargs)
    logits = multihead_logits(module, (given, given, given), kwargs)
    assert logits is not None
    assert not logits.requires_grad
    own = weights.detach()[picked(6, SAMPLES)][:, :, picked(T, QUERIES)]
    assert logits.softmax(-1) == pytest.approx(own.numpy(), abs=1e-6)
    allowed = torch.isfinite(logits)
    expected = expected_entropy(own, allowed)
    got = attention_stats(logits)
    assert float(got[0]) == pytest.approx(float(expected.nanmedian()), abs=1e-4)
    assert float(got[1]) == pytest.approx(float(expected.min()), abs=1e-4)


def test_other_key_widths_cross_attention_unbatched_and_what_is_not_covered() -> None:
    torch.manual_seed(0)
    module = nn.MultiheadAttention(32, 4, kdim=8, vdim=8, batch_first=True, bias=False)
    query, key = torch.randn(3, 5, 32), torch.randn(3, 9, 8)
    _, weights = module(query, key, key, average_attn_weights=False)
    logits = multihead_logits(module, (query, key, key), {})
    assert logits is not None
    assert logits.softmax(-1) == pytest.approx(weights.detach()[picked(3, SAMPLES)].numpy(), abs=1e-6)
    single = multihead_logits(module, (query[0], key[0], key[0]), {})
    assert single is not None
    assert single.shape == (1, 4, 5, 9)
    odd = nn.MultiheadAttention(32, 4, add_bias_kv=True)
    assert multihead_logits(odd, (query, query, query), {}) is None


def test_attention_written_by_hand_in_its_usual_forms() -> None:
    torch.manual_seed(0)
    q, k = torch.randn(2, 7, 24), torch.randn(2, 7, 24)

    def plain(query: Tensor, key: Tensor, scale: float) -> Tensor:
        return query.view(2, 7, 3, 8).transpose(1, 2) @ key.view(2, 7, 3, 8).permute(0, 2, 3, 1) * scale

    class CausalAttention(nn.Module):
        scale = 0.5

    module = nn.Module()
    two = written_logits(module, [q, k], 3)
    assert two == pytest.approx(plain(q, k, 8**-0.5).numpy(), abs=1e-5)
    fused = written_logits(module, [torch.cat([q, k, torch.zeros_like(q)], -1)], 3)
    assert fused == pytest.approx(plain(q, k, 8**-0.5).numpy(), abs=1e-5)
    causal = written_logits(CausalAttention(), [q, k], 3)
    assert causal is not None
    seen = torch.tril(torch.ones(7, 7, dtype=torch.bool)).expand(2, 3, 7, 7)
    assert torch.equal(torch.isfinite(causal), seen)
    assert causal[seen] == pytest.approx(plain(q, k, 0.5)[seen].numpy(), abs=1e-5)


def test_grouped_queries_share_keys_and_sizes_that_do_not_fit_give_nothing() -> None:
    torch.manual_seed(0)
    q, k = torch.randn(1, 4, 32), torch.randn(1, 4, 16)  # 4 query heads of 8, 2 key heads
    got = scores(q, k, 4, 1.0, causal=False)
    assert got is not None
    for head in range(4):
        group = head // 2
        expected = q[0, :, 8 * head : 8 * head + 8] @ k[0, :, 8 * group : 8 * group + 8].T
        assert got[0, head] == pytest.approx(expected.numpy(), abs=1e-5)
    assert scores(q, k, 5, None, causal=False) is None
    assert scores(q, torch.randn(1, 4, 12), 4, None, causal=False) is None
    assert written_logits(nn.Module(), [torch.randn(1, 4, 32)], 4) is None


def test_few_is_small_and_keeps_the_last() -> None:
    assert few(torch.arange(10), 0, 4).tolist() == [0, 3, 6, 9]
    assert few(torch.arange(3), 0, 4).tolist() == [0, 1, 2]
    assert few(torch.arange(11), 0, 2).tolist() == [4, 10]
    assert few(torch.arange(6).view(1, 6, 1), -2, 3).flatten().tolist() == [1, 3, 5]


def test_nothing_waits_for_the_device() -> None:
    with FakeTensorMode(allow_non_fake_inputs=False):
        module = nn.MultiheadAttention(32, 4, batch_first=True)
        x = torch.empty(6, T, 32)
        logits = multihead_logits(module, (x, x, x), {"key_padding_mask": torch.zeros(6, T, dtype=torch.bool)})
        assert logits is not None
        assert attention_stats(logits).shape == (3,)
