"""Penultimate features: what goes into the layer that makes the class scores, and a fair sample of it per domain."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from lightning_diag.probes.activation_hooks import Hook, Switch, _graph_task, first_tensor

ROWS = 256  # kept of each domain
FEATURES = 128  # columns kept, evenly strided
KEPT_CALLS = 4


class HeadHook(Hook):
    """A forward hook that looks in training and in evaluation, not in recomputation and not under compile."""

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        if torch.compiler.is_compiling() or not self.switch.on or _graph_task() != -1:
            return
        try:
            self.see(module, args, kwargs, output)
        except Exception as error:
            self.switch.on = False
            self.switch.error = error


class Head:
    """Finds the linear layer (or convolution of size 1) whose output are the class scores; keeps what went into it.

    Until it is found all candidates are hooked, afterwards only that one. What is kept is references, for the length of
    one batch.

    Args:
        module: the user's module.
        found: name of the layer, where it is known.
    """

    def __init__(self, module: nn.Module, found: str | None = None) -> None:
        self.switch = Switch()
        self.found: nn.Module | None = None
        self._calls: list[tuple[nn.Module, Tensor, Tensor]] = []
        hook = HeadHook(self.switch, self._see)
        self._handles: dict[nn.Module, RemovableHandle] = {m: hook.attach(m) for m in module.modules() if _is_linear(m)}
        known = dict(module.named_modules()).get(found or "")
        if known in self._handles:
            self._keep(known)

    def start(self) -> None:
        """A batch begins whose features are wanted."""
        self._calls.clear()
        self.switch.on = True

    def stop(self) -> None:
        """Let go of what was kept."""
        self._calls.clear()
        self.switch.on = False

    def take(self, logits: Tensor) -> Tensor | None:
        """Return what went into the layer that made these scores ``(B, K, *D)``, as ``(B, F)``; drop everything kept.

        Positions of a sample (pixels, tokens) are averaged.
        """
        calls = self._calls[::-1]
        self.stop()
        for module, given, made in calls:
            same = made.data_ptr() == logits.data_ptr() and made.numel() == logits.numel()
            if same or (made.numel() == logits.numel() and made.shape[0] == logits.shape[0]):
                self._keep(module)
                rows = given.detach()
                if rows.ndim > 2:
                    rows = rows.flatten(2).mean(2) if isinstance(module, nn.Conv2d) else rows.flatten(1, -2).mean(1)
                return rows
        return None

    def detach(self) -> None:
        """Remove the hooks."""
        self.stop()
        for handle in self._handles.values():
            handle.remove()
        self._handles.clear()

    def _keep(self, module: nn.Module) -> None:
        if self.found is module:
            return
        self.found = module
        for other in [m for m in self._handles if m is not module]:
            self._handles.pop(other).remove()

    def _see(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        given, made = first_tensor(args), first_tensor(output)
        if given is not None and made is not None:
            self._calls = [*self._calls, (module, given, made)][-KEPT_CALLS:]


class Pool:
    """A uniform random sample of at most ``rows`` rows of each domain, from all batches, of a size fixed beforehand.

    Every row draws a random key; the smallest keys of each domain stay (reservoir sampling by random keys; Vitter, ACM
    Transactions on Mathematical Software 11, 1985). ``topk`` on masked keys needs no number from the device.

    Args:
        domains: D.
        seed: of the keys; drawn from a generator of its own.
        rows: rows kept of each domain.
    """

    def __init__(self, domains: int, seed: int = 0, rows: int = ROWS) -> None:
        self.domains, self.rows, self.seed = domains, rows, seed
        self._generator: torch.Generator | None = None
        self._kept: Tensor | None = None  # (D * rows, 2 + F): key, class, features

    @torch.no_grad()
    def add(self, features: Tensor, member: Tensor, classes: Tensor | None) -> None:
        """Take in features ``(B, F)``, membership ``(D, B)`` and classes ``(B,)`` of a batch."""
        device, batch = features.device, len(features)
        if self._generator is None:
            self._generator = torch.Generator(device).manual_seed(self.seed)
        keys = torch.rand(batch, 1, generator=self._generator, device=device)
        labels = torch.full_like(keys, -1.0) if classes is None else classes.reshape(-1, 1).float()
        columns = features[:, :: -(-features.shape[1] // FEATURES)].float()
        fresh = torch.cat([keys, labels, columns], 1)
        if self._kept is None or self._kept.shape[1] != fresh.shape[1]:
            self._kept = torch.full((self.domains * self.rows, fresh.shape[1]), torch.inf, device=device)
        everything = torch.cat([self._kept, fresh])
        own = torch.eye(self.domains, device=device).repeat_interleave(self.rows, 1)
        allowed = torch.cat([own, member.float()], 1) > 0
        masked = torch.where(allowed, everything[:, 0], torch.inf)
        index = masked.topk(self.rows, 1, largest=False).indices
        chosen = everything[index.reshape(-1)]
        chosen[:, 0] = masked.gather(1, index).reshape(-1)  # a domain with too few rows gets others' at infinity
        self._kept = chosen

    def take(self) -> Tensor | None:
        """Return ``(D, rows, 2 + F)``, key infinite where a domain had fewer rows; forget it."""
        kept, self._kept = self._kept, None
        return None if kept is None else kept.reshape(self.domains, self.rows, -1)


def _is_linear(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and set(module.kernel_size) == {1})
