"""Sums per domain of what is known of single samples: pure kernels that never wait for the device.

B samples, K classes, P positions (pixels, tokens) of a sample, D domains.
"""

from __future__ import annotations

from math import gcd

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the usual name

from lightning_diag.observation import Observation

POSITIONS = 256  # of a sample at most: its error and loss are means over an even sample of them
ELEMENTS = 4096  # of an input at most
MAX_CELLS = 65_536  # domains times classes


def wide(tensor: Tensor) -> Tensor:
    """Return it as float64, so that sums stay exact; as float32 where a device has no wider one."""
    return tensor.float() if tensor.device.type == "mps" else tensor.double()


def flat_classes(seen: Observation) -> tuple[Tensor, Tensor] | None:
    """Return class scores ``(B, K, P)`` and targets ``(B, P)``, P thinned evenly; None without classes."""
    logits, target = seen.logits, seen.target
    if logits is None or target is None or target.is_floating_point() or logits.ndim != target.ndim + 1:
        return None
    if not target.numel() or not logits.numel():
        return None
    scores, labels = logits.reshape(*logits.shape[:2], -1), target.reshape(target.shape[0], -1)
    n = labels.shape[1]
    if n > POSITIONS:
        stride = -(-n // POSITIONS)
        while gcd(stride, target.shape[-1]) != 1:  # else it would walk down one column
            stride += 1
        scores, labels = scores[..., ::stride], labels[:, ::stride]
    return scores, labels


def scores(seen: Observation, *, binary: bool = False) -> tuple[Tensor, Tensor] | None:
    """Return error (0 to 1) and loss per sample, both ``(B,)`` float64, NaN where not known; None if nothing is.

    Class scores: share of wrong positions, and mean cross-entropy over the valid ones. Values: no error, mean squared
    error. ``binary``: scores are logits of yes-or-no labels. The user's own ``sample_loss`` goes before.
    """
    error, loss = _scores(seen, binary)
    own = seen.sample_loss
    if own is not None and own.ndim and (error is None or len(error) == len(own)):
        loss = wide(own.detach()).reshape(len(own), -1).mean(1)
    known = error if error is not None else loss
    if known is None:
        return None
    nan = torch.full_like(known, float("nan"))
    return nan if error is None else error, nan if loss is None else loss


def _scores(seen: Observation, binary: bool) -> tuple[Tensor | None, Tensor | None]:
    target, logits, preds = seen.target, seen.logits, seen.preds
    if target is None or not target.ndim or not target.numel():
        return None, None
    classes = flat_classes(seen)
    if classes is not None:
        return _of_classes(*classes)
    if preds is not None and not preds.is_floating_point() and preds.shape == target.shape:
        return _mean(wide(preds != target), target >= 0), None
    output = logits if logits is not None else preds
    if output is None or output.numel() != target.numel():
        return None, None
    rows, wanted = wide(output).reshape(len(target), -1), wide(target).reshape(len(target), -1)
    if binary:
        wrong = wide((rows > 0) != (wanted > 0.5)).mean(1)
        return wrong, F.binary_cross_entropy_with_logits(rows, wanted, reduction="none").mean(1)
    return None, (rows - wanted).square().mean(1)


def _of_classes(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    valid = (target >= 0) & (target < logits.shape[1])
    safe = target.clamp(0, logits.shape[1] - 1).long()
    loss = F.cross_entropy(logits.float(), safe, reduction="none")
    return _mean(wide(logits.argmax(1) != target), valid), _mean(wide(loss), valid)


def _mean(values: Tensor, valid: Tensor) -> Tensor:
    """Mean over the valid positions of each sample; NaN for a sample with none. ``(B, *P)`` -> ``(B,)``."""
    values, weight = values.reshape(len(values), -1), wide(valid).reshape(len(valid), -1)
    return (values * weight).sum(1) / weight.sum(1)


def members(slots: int | Tensor, samples: int, domains: int, device: torch.device) -> Tensor:
    """Return 1 where a sample is of a domain, ``(D, B)`` float64; unknown samples (slot -1) are of none."""
    if isinstance(slots, int):
        ids = torch.full((samples,), slots, device=device)
    else:
        ids = slots.to(device, non_blocking=True)
        ids = ids.expand(samples) if ids.numel() == 1 else ids
    return wide(ids[None] == torch.arange(domains, device=device)[:, None])


def moments(values: Tensor, member: Tensor) -> Tensor:
    """Return ``[n, sum, sum of squares]`` of the finite values ``(B,)`` of each domain ``(D, B)``, shape ``(D, 3)``."""
    finite = torch.isfinite(values)
    safe = wide(torch.where(finite, values, torch.zeros_like(values)))
    columns = torch.stack([wide(finite), safe, safe.square()], dim=1)
    return (member[:, :, None] * columns[None]).sum(1)


def class_counts(seen: Observation, member: Tensor) -> tuple[Tensor, Tensor] | None:
    """Return positions of each class and the right ones among them, both ``(D, K)``; None without classes."""
    classes = flat_classes(seen)
    if classes is None:
        return None
    logits, target = classes
    k, d = logits.shape[1], member.shape[0]
    if k * d > MAX_CELLS:
        return None
    valid = wide((target >= 0) & (target < k))
    safe = target.clamp(0, k - 1).long()
    right = valid * (logits.argmax(1) == target)
    support, hits = torch.zeros(2, d, k, dtype=member.dtype, device=member.device)
    for i in range(d):  # a few; one scatter over (D, B, P) would take D times the memory
        weight = member[i, :, None]
        support[i].scatter_add_(0, safe.reshape(-1), (valid * weight).reshape(-1))
        hits[i].scatter_add_(0, safe.reshape(-1), (right * weight).reshape(-1))
    return support, hits


def input_statistics(images: Tensor) -> Tensor | None:
    """Return mean, contrast and roughness of each sample, ``(3, B)`` float64; None for inputs that aren't signals.

    Contrast is the standard deviation. Roughness is the mean squared difference of neighbours along the last dimension
    over twice the variance: the power spectrum's mean of ``1 - cos(frequency)``, 0 for a smooth signal, 1 for white
    noise (von Neumann's ratio; von Neumann, Annals of Mathematical Statistics 12, 1941).
    """
    if not images.is_floating_point() or images.ndim < 2 or images.shape[-1] < 4 or images.numel() == 0:
        return None
    rows = images.detach().reshape(images.shape[0], -1, images.shape[-1])
    keep = max(1, ELEMENTS // rows.shape[2])
    step = -(-rows.shape[1] // keep)
    rows = wide(rows[:, ::step, :ELEMENTS])
    mean = rows.mean((1, 2))
    variance = (rows - mean[:, None, None]).square().mean((1, 2))
    rough = (rows[..., 1:] - rows[..., :-1]).square().mean((1, 2)) / (2 * variance)
    flat = variance <= 1e-10  # a blank image has no spectrum
    return torch.stack([mean, variance.sqrt(), torch.where(flat, torch.full_like(rough, float("nan")), rough)])


def add(into: dict[str, Tensor], name: str, value: Tensor) -> None:
    """Add to a sum, which begins anew where shapes differ."""
    old = into.get(name)
    into[name] = value if old is None or old.shape != value.shape else old + value


def add_column(into: dict[str, Tensor], name: str, value: Tensor, index: int) -> None:
    """Add ``(D,)`` to one column of a table ``(D, columns)`` that grows as needed."""
    table = into.get(name)
    if table is None or table.shape[1] <= index:
        wider = torch.zeros(len(value), index + 1, dtype=value.dtype, device=value.device)
        if table is not None:
            wider[:, : table.shape[1]] = table
        table = into[name] = wider
    table[:, index] += value
