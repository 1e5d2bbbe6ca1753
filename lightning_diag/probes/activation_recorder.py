"""What one sampled step leaves behind: samples by site, in the order in which modules were called."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lightning_diag.probes import activation_attention as attention
from lightning_diag.probes import activation_kernels as kernels
from lightning_diag.probes.activation_hooks import first_tensor
from lightning_diag.probes.activation_kinds import Site, is_convolution
from lightning_diag.probes.activation_shelves import Shelves
from lightning_diag.probes.activation_tracks import TRACKS, Track, measured

SMALL = 65_536  # attention logits of one call that may be kept to the end of the step
MIN_UNITS = 8  # fewer are an output or a gate, not a layer whose share of saturated units means something


class Recorder:
    """Takes samples in module calls; :meth:`finish` turns them into statistics.

    Which layer was called last says which dimension counts units (1 behind a convolution, else the last), tells layers
    apart that share an activation module, and whether what arrives at a layer went through an activation module or a
    functional form. An activation that feeds a later layer of fitting size is *hidden*; only those can be saturated,
    since outputs and gates are meant to come to their ends.

    Args:
        sites: what is measured; M of them.
        device: where the result is put together.

    Attributes:
        turn: number of the sampled step.
        attending: whether attention is looked at in it.
        tracks: what is remembered, by site and id of the layer before it.
        hidden: sites that lie within the network.
        dropped: sites that turned out to have nothing to tell.
    """

    def __init__(self, sites: Sequence[Site], device: torch.device) -> None:
        self.sites = sites
        self.device = device
        self.dropped: set[int] = set()
        self.tracks: dict[tuple[int, int], Track] = {}
        self.hidden = {i for i, s in enumerate(sites) if s.role in ("recurrent", "input")}
        self.turn = -1
        self.attending = True
        self._shelves = Shelves()
        self.start()

    def start(self) -> None:
        """A sampled step begins: forget the one before, but not the units' memory."""
        self.turn += 1
        self._order: dict[int, int] = {}
        self._touched: dict[tuple[int, int], None] = {}
        self._waiting: list[tuple[int, int, int]] = []  # activations no layer was fed by yet: site, units, positions
        self._attention: dict[int, list[Tensor]] = {}
        self._parts: dict[int, Tensor] = {}
        self._layer = 0  # id of the layer called last
        self._dim: int | None = None  # the dimension of its units
        self._activated = False  # whether an activation module was called since

    # ------------------------------------------------------------------ what hooks call

    def activation(self, index: int, args: tuple[Any, ...], output: Any) -> None:
        """An activation (or a module of the user's choice) was called."""
        self._activated = True
        y = first_tensor(output)
        if y is None:
            return
        dim = -1 if y.ndim <= 2 else self._dim or (1 if y.ndim >= 4 else -1)
        curve = self.sites[index].curve
        if curve.can_saturate and index not in self.hidden and y.shape[dim] >= MIN_UNITS:
            units = y.shape[dim]
            self._waiting.append((index, units, y.numel() // (y.shape[0] * units)))
        self._take(index, y, dim, self._layer, first_tensor(args) if curve.of_input else None)

    def norm(self, index: int, module: nn.Module, output: Any) -> None:
        """A norm layer was called."""
        channels = isinstance(module, (nn.modules.batchnorm._NormBase, nn.GroupNorm)) or (
            type(module).__name__.endswith(("2d", "2D"))
        )
        self._dim = 1 if channels else -1
        y = first_tensor(output)
        if y is not None:
            self._take(index, y, self._dim if y.ndim > 1 else -1)

    def layer(self, came: int | None, went: int | None, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """A linear or convolution layer was called; ``came`` and ``went`` are the sites of its input and output."""
        dim = 1 if is_convolution(module) else -1
        given = args[0] if args and isinstance(args[0], Tensor) else None
        # data needs no gradient: only what trained layers made is judged
        takes = came is not None and not self._activated and given is not None and given.requires_grad
        x = first_tensor(given) if takes or self._waiting else None
        if x is not None and x.ndim >= 2:
            self._fed(x.shape[dim], x.numel() // (x.shape[0] * x.shape[dim]))
            if came is not None and takes:
                self._take(came, x, dim)
        y = None if went is None else first_tensor(output)
        if went is not None and y is not None:
            self._take(went, y, dim if y.ndim > 1 else -1)
        self._layer, self._dim, self._activated = id(module), dim, False

    def recurrent(self, index: int, module: nn.Module, output: Any) -> None:
        """A recurrent layer or cell was called."""
        y = first_tensor(output)
        if y is None:
            return
        if y.ndim == 3 and not getattr(module, "batch_first", True):
            y = y.transpose(0, 1)
        self._take(index, y, -1)
        self._dim, self._activated = -1, True

    def softmax(self, index: int, module: nn.Softmax, args: tuple[Any, ...], output: Any) -> None:
        """A softmax module was called: attention weights if over the last of 4, or of a square 3, dimensions."""
        x = first_tensor(args)
        last = x is not None and module.dim is not None and module.dim % x.ndim == x.ndim - 1
        if x is None or not last or not (x.ndim == 4 or (x.ndim == 3 and x.shape[1] == x.shape[2])):
            return
        self._seen(index)
        if not self.attending:
            return
        x = attention.few(attention.few(x, 0, attention.SAMPLES), -2, attention.QUERIES)
        x = x.clone()  # softmax in place would write over it
        self._attends(index, x if x.ndim == 4 else x.unsqueeze(1))

    def multihead(
        self, index: int, module: nn.MultiheadAttention, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
    ) -> None:
        """A multi-head attention was called."""
        y = first_tensor(output)
        if y is None:
            return
        self._take(index, y if y.ndim < 3 or module.batch_first else y.transpose(0, 1), -1)
        if self.attending:
            self._attends(index, attention.multihead_logits(module, args, kwargs))
        self._dim, self._activated = -1, False

    def part(self, layer: nn.Module, output: Any) -> None:
        """A layer that makes queries or keys of an attention written by hand was called."""
        y = first_tensor(output) if self.attending else None
        if y is not None and y.ndim == 3:
            self._parts[id(layer)] = attention.few(y, 0, attention.SAMPLES)[:, : attention.KEYS].clone()

    def written_attention(self, index: int, output: Any) -> None:
        """An attention written by hand is through."""
        site = self.sites[index]
        made = [self._parts.pop(id(part), None) for part in site.parts]
        y = first_tensor(output)
        if y is not None:
            self._take(index, y, -1)
        if any(m is None for m in made):
            return
        self._attends(index, attention.written_logits(site.module, [m for m in made if m is not None], site.heads))

    # ------------------------------------------------------------------ the end of the step

    def finish(self) -> tuple[Tensor, Tensor, NDArray[np.float64], NDArray[np.float64]]:
        """Return statistics ``(M, 7)``, attention ``(M, 3)``, rows seen and call order ``(M,)``; NaN = not called."""
        keys = list(self._touched)
        tracks = [self.tracks[key] for key in keys]
        stats = measured(tracks, [index in self.hidden for index, _ in keys], self._shelves)
        by_site: dict[int, list[Tensor]] = {}
        rows = [np.nan] * len(self.sites)  # a list: setting one number of an array takes three times as long
        for (index, _), track, row in zip(keys, tracks, stats, strict=True):
            by_site.setdefault(index, []).append(row if row.device == self.device else row.to(self.device))
            rows[index] = track.rows if len(by_site[index]) == 1 else min(rows[index], track.rows)
        order = np.full(len(self.sites), np.nan)
        order[list(self._order)] = np.arange(len(self._order))
        joined = {i: r[0] if len(r) == 1 else kernels.worst(torch.stack(r)) for i, r in by_site.items()}
        sharp = {i: _sharpest(several).to(self.device) for i, several in self._sharpness().items()}
        return (
            self._table(joined, len(kernels.COLUMNS)),
            self._table(sharp, len(attention.COLUMNS)),
            np.array(rows),
            order,
        )

    def _table(self, rows: dict[int, Tensor], columns: int) -> Tensor:
        if not rows:
            return torch.full((len(self.sites), columns), float("nan"), device=self.device, dtype=torch.float32)
        none = torch.full((columns,), float("nan"), device=self.device, dtype=torch.float32)
        return torch.stack([rows.get(i, none) for i in range(len(self.sites))])

    # ------------------------------------------------------------------ inside

    def _seen(self, index: int) -> None:
        self._order.setdefault(index, len(self._order))

    def _take(self, index: int, y: Tensor, dim: int, layer: int = 0, given: Tensor | None = None) -> None:
        """Sample one call of a site."""
        self._seen(index)
        curve, key = self.sites[index].curve, (index, layer)
        if index in self.dropped or (curve.of_input and given is None):
            return
        units = -(-y.shape[dim] // -(-y.shape[dim] // kernels.UNITS))
        track = self.tracks.get(key)
        if track is None or track.units != units:
            if track is None and sum(i == index for i, _ in self.tracks) >= TRACKS:
                return
            track = self.tracks[key] = Track(curve, units, y.device)
        if track.wants():
            self._touched[key] = None
            track.push(
                kernels.sample(y, dim, self.turn, None if track.outputs else track.room),
                None if given is None or not curve.of_input else kernels.sample(given, dim, self.turn),
            )

    def _attends(self, index: int, logits: Tensor | None) -> None:
        if logits is not None and len(self._attention.setdefault(index, [])) < TRACKS:
            # small ones wait for each other: a few kernels for all layers instead of a few for each
            self._attention[index].append(logits if logits.numel() <= SMALL else attention.attention_stats(logits))

    def _sharpness(self) -> dict[int, list[Tensor]]:
        """Attention statistics ``(3,)`` of each call by site; logits that waited are measured together by shape."""
        found = {index: list(several) for index, several in self._attention.items()}
        alike: dict[tuple[torch.Size, torch.device], list[tuple[int, int]]] = {}
        for index, several in found.items():
            for call, logits in enumerate(several):
                if logits.ndim > 1:
                    alike.setdefault((logits.shape, logits.device), []).append((index, call))
        for places in alike.values():
            stats = attention.attention_stats(torch.stack([found[index][call] for index, call in places]))
            for (index, call), row in zip(places, stats.unbind(0), strict=True):
                found[index][call] = row
        return found

    def _fed(self, units: int, positions: int) -> None:
        """A layer took so many units at so many positions: of the activations just before it, those that fit feed it.

        An activation that doesn't fit the very next layer is a gate or an output: it is multiplied with something, or
        leaves.
        """
        for index, made, places in self._waiting:
            same = units == made and positions <= places
            flattened = positions == 1 and units % made == 0 and units <= made * places
            if same or flattened:
                self.hidden.add(index)
        self._waiting.clear()


def _sharpest(several: list[Tensor]) -> Tensor:
    """The call whose heads are sharpest, ``(3,)``, of several of one module."""
    if len(several) == 1:
        return several[0]
    stacked = torch.stack(several)
    return torch.cat([stacked[:, :2].amin(0), stacked[:, 2:].amax(0)])
