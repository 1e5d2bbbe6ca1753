from __future__ import annotations

import pytest
import torch
from torch import nn

from lightning_diag.errors import ConfigurationError
from lightning_diag.probes.activation_curves import RELU, TANH
from lightning_diag.probes.activation_kinds import MAX_SITES, Site, checked, find_sites, layers


class Block(nn.Module):
    """Attention written by hand."""

    def __init__(self, *, fused: bool = True, norm: bool = False) -> None:
        super().__init__()
        self.num_heads = 2
        if fused:
            self.qkv = nn.Linear(8, 24)
        else:
            self.q_proj, self.k_proj = nn.Linear(8, 8), nn.Linear(8, 8)
        if norm:
            self.q_norm = nn.LayerNorm(4)


def roles(sites: list[Site]) -> dict[str, str]:
    return {site.name: site.role for site in sites}


def test_every_kind_is_found_under_its_own_name() -> None:
    root = nn.ModuleDict(
        {
            "act": nn.Sequential(nn.ReLU(inplace=True), nn.Tanh()),
            "norm": nn.BatchNorm2d(3),
            "rnn": nn.RNN(4, 4),
            "cell": nn.LSTMCell(4, 4),
            "mha": nn.MultiheadAttention(8, 2),
            "soft": nn.Softmax(-1),
            "drop": nn.Dropout(),
            "fc": nn.Linear(4, 4),
            "conv": nn.Conv2d(1, 1, 1),
        }
    )
    assert roles(find_sites(root)[0]) == {
        "act.0": "activation",
        "act.1": "activation",
        "norm": "norm",
        "rnn": "recurrent",
        "cell": "recurrent",
        "mha": "attention",
        "soft": "softmax",
        "fc (input)": "input",
        "conv (input)": "input",
        "conv": "output",
    }
    curves = {site.name: site.curve for site in find_sites(root)[0]}
    assert curves["act.0"] is RELU
    assert curves["rnn"] is TANH


@pytest.mark.parametrize("fused", [True, False])
def test_attention_written_by_hand_is_known_by_its_heads_and_projections(fused: bool) -> None:
    site = next(s for s in find_sites(nn.ModuleDict({"block": Block(fused=fused)}))[0] if s.role == "attention")
    assert (site.name, site.heads, len(site.parts)) == ("block", 2, 1 if fused else 2)


def test_attention_that_normalizes_its_queries_is_left_alone() -> None:
    assert "block" not in roles(find_sites(nn.ModuleDict({"block": Block(norm=True)}))[0])


def test_include_and_exclude_take_globs_of_names_and_types_and_types() -> None:
    root = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Dropout(), nn.Sequential(nn.Tanh(), nn.LayerNorm(4)))
    assert set(roles(find_sites(root, include=["3.*"])[0])) == {"3.0", "3.1"}
    assert set(roles(find_sites(root, include=["*ReLU", nn.Tanh])[0])) == {"1", "3.0"}
    assert set(roles(find_sites(root, exclude=["3", "Re*", nn.Linear])[0])) == {"3.0", "3.1"}
    assert roles(find_sites(root, include=["Dropout"])[0]) == {"2": "custom"}
    assert roles(find_sites(root, include=["0"])[0]) == {"0 (input)": "input", "0": "output"}


def test_wrong_patterns_are_told() -> None:
    assert checked("include", None) is None
    assert checked("include", "net.*") == ("net.*",)
    assert checked("exclude", [nn.ReLU]) == (nn.ReLU,)
    for wrong in (3, [nn.ReLU()], [int]):
        with pytest.raises(ConfigurationError, match=r"exclude must hold globs"):
            checked("exclude", wrong)


def test_wrappers_names_are_cleaned_and_shared_modules_counted_once() -> None:
    act = nn.ReLU()
    root = nn.ModuleDict({"_orig_mod": nn.ModuleDict({"a": act, "b": act})})
    assert set(roles(find_sites(nn.ModuleDict({"net": root}))[0])) == {"net.a"}


def test_metrics_are_not_watched() -> None:
    torchmetrics = pytest.importorskip("torchmetrics")
    metric = torchmetrics.MeanMetric()
    metric.inner = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    root = nn.ModuleDict({"metric": metric, "net": nn.Linear(2, 2)})
    assert set(roles(find_sites(root)[0])) == {"net (input)", "net"}
    assert list(layers(root)) == [root["net"]]


def test_a_very_deep_net_keeps_the_most_telling_places() -> None:
    root = nn.Sequential(*(m for _ in range(200) for m in (nn.Linear(1, 1), nn.LayerNorm(1), nn.ReLU())))
    sites, left_out = find_sites(root)
    assert len(sites) == MAX_SITES
    assert left_out == 601 - MAX_SITES
    assert sum(site.role == "activation" for site in sites) == 200
    assert [s.name for s in sites] == sorted((s.name for s in sites), key=lambda n: (int(n.split()[0]), "(" not in n))


def test_finding_sites_changes_nothing() -> None:
    root = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    before = torch.get_rng_state(), list(root.state_dict())
    find_sites(root)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == list(root.state_dict())
