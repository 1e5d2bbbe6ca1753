"""Numbers that kernels need on the device again and again: a Python number in ``torch.where`` is one launch more."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any, ParamSpec

import torch
from torch import Tensor

P = ParamSpec("P")
_mode: Callable[[Any], object] = getattr(torch._C, "_get_dispatch_mode", lambda key: None)
_FAKE = getattr(getattr(torch._C, "_TorchDispatchModeKey", None), "FAKE", None)


def made_once(make: Callable[P, Tensor]) -> Callable[P, Tensor]:
    """Keep what a function of plain arguments makes, never to be written to; not among fake tensors.

    What is made within ``torch.inference_mode`` may be used outside it.
    """

    @lru_cache(maxsize=64)
    def kept(*args: Any, **kwargs: Any) -> Tensor:
        with torch.inference_mode(False):
            return make(*args, **kwargs)

    @wraps(make)
    def get(*args: P.args, **kwargs: P.kwargs) -> Tensor:
        if _FAKE is not None and _mode(_FAKE) is not None:
            return make(*args, **kwargs)
        made: Tensor = kept(*args, **kwargs)  # type: ignore[arg-type]
        return made

    return get


@made_once
def constant(value: float, device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return the number as a scalar on a device."""
    return torch.full((), value, device=device, dtype=dtype)
