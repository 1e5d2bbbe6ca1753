from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from torch import Tensor

from lightning_diag.observation import Observation
from lightning_diag.probes import domain_sums as sums

G = torch.Generator().manual_seed(0)
LOGITS, TARGET = torch.randn(40, 5, generator=G), torch.randint(0, 5, (40,), generator=G)
IDS = torch.randint(0, 3, (40,), generator=G)


def reference(logits: Tensor, target: Tensor) -> tuple[np.ndarray, np.ndarray]:
    z, y = logits.double().numpy(), target.numpy()
    return (z.argmax(1) != y).astype(float), -log_softmax(z, axis=1)[np.arange(len(y)), y]


def test_errors_and_losses_are_those_of_the_samples() -> None:
    made = sums.scores(Observation(target=TARGET, logits=LOGITS))
    assert made is not None
    error, loss = reference(LOGITS, TARGET)
    assert made[0].numpy() == pytest.approx(error)
    assert made[1].numpy() == pytest.approx(loss, rel=1e-5)


def test_ignored_targets_do_not_count_and_a_sample_without_any_is_unknown() -> None:
    target = torch.tensor([[0, 1, -100, 2], [-100] * 4])
    logits = torch.randn(2, 3, 4, generator=G)
    made = sums.scores(Observation(target=target, logits=logits))
    assert made is not None
    error, _ = reference(logits[0].T[[0, 1, 3]], target[0][[0, 1, 3]])
    assert float(made[0][0]) == pytest.approx(error.mean())
    assert torch.isnan(made[0][1]) and torch.isnan(made[1][1])


def test_a_large_map_is_thinned_but_walks_over_all_columns() -> None:
    target = torch.arange(64).repeat(2, 64, 1) % 4  # a column's class is its number
    flat = sums.flat_classes(Observation(target=target, logits=torch.zeros(2, 4, 64, 64)))
    assert flat is not None
    assert flat[1].shape[1] <= sums.POSITIONS and flat[0].shape[2] == flat[1].shape[1]
    assert torch.bincount(flat[1].reshape(-1), minlength=4).min() > 0.15 * flat[1].numel()


@pytest.mark.parametrize("binary", [True, False])
def test_values_have_a_squared_error_and_yes_or_no_a_share_of_wrong_answers(binary: bool) -> None:
    target, logits = (torch.rand(30, 4, generator=G) > 0.5).float(), torch.randn(30, 4, generator=G)
    made = sums.scores(Observation(target=target, logits=logits), binary=binary)
    assert made is not None
    y, z = target.double().numpy(), logits.double().numpy()
    if binary:
        assert made[0].numpy() == pytest.approx(((z > 0) != (y > 0.5)).mean(1))
        assert made[1].numpy() == pytest.approx((np.logaddexp(0, z) - y * z).mean(1), rel=1e-5)
    else:
        assert torch.isnan(made[0]).all() and made[1].numpy() == pytest.approx(((z - y) ** 2).mean(1), rel=1e-5)


def test_the_users_own_loss_goes_before() -> None:
    made = sums.scores(Observation(target=TARGET, logits=LOGITS, sample_loss=torch.arange(40.0)))
    assert made is not None and made[1].tolist() == list(range(40))


def test_nothing_known_is_none() -> None:
    assert sums.scores(Observation(preds=torch.zeros(3))) is None
    assert sums.scores(Observation(target=torch.zeros(()), preds=torch.zeros(()))) is None


def test_moments_by_domain_skip_what_is_not_finite_and_unknown_domains() -> None:
    values = torch.arange(40.0)
    values[3] = float("nan")
    ids = IDS.clone()
    ids[5] = -1
    made = sums.moments(values, sums.members(ids, 40, 4, values.device)).numpy()
    for d in range(4):
        mine = values[(ids == d) & torch.isfinite(values)].double().numpy()
        assert made[d] == pytest.approx([len(mine), mine.sum(), (mine**2).sum()])


def test_a_batch_of_one_domain() -> None:
    assert sums.members(1, 3, 2, torch.device("cpu")).tolist() == [[0, 0, 0], [1, 1, 1]]


def test_class_counts_by_domain() -> None:
    member = sums.members(IDS, 40, 3, LOGITS.device)
    made = sums.class_counts(Observation(target=TARGET, logits=LOGITS), member)
    assert made is not None
    for d in range(3):
        for k in range(5):
            mine = torch.eq(IDS, d) & torch.eq(TARGET, k)
            assert int(made[0][d, k]) == int(mine.sum())
            assert int(made[1][d, k]) == int((LOGITS.argmax(1)[mine] == k).sum())


def test_input_statistics() -> None:
    images = torch.rand(6, 3, 8, 8, generator=G)
    images[0] = 0.5
    made = sums.input_statistics(images)
    assert made is not None
    x = images.double().numpy().reshape(6, 24, 8)
    assert made[0].numpy() == pytest.approx(x.mean((1, 2)))
    assert made[1].numpy()[1:] == pytest.approx(x[1:].std((1, 2)), rel=1e-6)
    rough = (np.diff(x, axis=2) ** 2).mean((1, 2))[1:] / (2 * x[1:].var((1, 2)))
    assert made[2].numpy()[1:] == pytest.approx(rough, rel=1e-6)
    assert torch.isnan(made[2][0]), "a blank image has no spectrum"


def test_roughness_tells_noise_from_a_smooth_signal() -> None:
    wave = torch.sin(torch.linspace(0, 6.28, 512)).repeat(2, 1)
    noise = torch.randn(2, 512, generator=G)
    made = sums.input_statistics(torch.cat([wave, noise]))
    assert made is not None
    assert made[2, :2].max() < 0.01 and abs(float(made[2, 2:].mean()) - 1) < 0.1


def test_inputs_that_are_no_signals_have_no_statistics() -> None:
    assert sums.input_statistics(torch.zeros(4, 9, dtype=torch.long)) is None
    assert sums.input_statistics(torch.zeros(4, 2)) is None
