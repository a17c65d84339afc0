"""Histograms of the parameters of a stack, all members at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import isfinite

import torch
from torch import Tensor

from regrun.histograms import BINS, Histogram, Histograms, bin_edges
from regrun.nn.roles import Role

ELEMENTS = 2_000_000
"""Entries that are looked at at once; each takes about 40 bytes of memory meanwhile."""


@torch.no_grad()
def count_entries(
    parameters: Mapping[str, Tensor], roles: Mapping[str, Role], epoch: int, step: int
) -> list[Histograms]:
    """The histograms of every member. parameters: name → (K, …), without empty ones."""
    found = {name: _of_all(each, roles[name]) for name, each in parameters.items() if each.numel()}
    members = zip(*found.values(), strict=True)
    return [Histograms(epoch, step, dict(zip(found, own, strict=True))) for own in members]


def _of_all(parameter: Tensor, role: Role) -> list[Histogram]:
    flat = parameter.flatten(1) if parameter.dim() > 1 else parameter[:, None]
    tables = torch.split(flat, max(1, ELEMENTS // flat.shape[1]))
    return [histogram for table in tables for histogram in _of_table(table, role)]


def _of_table(table: Tensor, role: Role) -> Iterator[Histogram]:
    """One for each row of (R, N)."""
    chunks = torch.split(table, max(1, ELEMENTS // len(table)), dim=1)
    lows, highs, sums, sizes = [], [], [], []
    zeros = torch.zeros(len(table), dtype=torch.int64, device=table.device)
    for chunk in chunks:
        finite = chunk.isfinite()
        lows.append(chunk.where(finite, torch.inf).amin(1))
        highs.append(chunk.where(finite, -torch.inf).amax(1))
        sums.append(chunk.where(finite, 0).sum(1, dtype=torch.float64))
        sizes.append(finite.sum(1))
        zeros += (chunk == 0).sum(1)
    low, high = torch.stack(lows).amin(0).double(), torch.stack(highs).amax(0).double()
    size = torch.stack(sizes).sum(0)  # 0 makes the mean and all else NaN
    mean = torch.stack(sums).sum(0) / size
    empty = size == 0
    ends = (each.masked_fill(empty, 0).cpu().numpy() for each in (low, high))
    edges = torch.from_numpy(bin_edges(*ends)).to(table.device)
    counts = torch.zeros(len(table), BINS, dtype=torch.int64, device=table.device)
    squares = torch.zeros_like(mean)
    for chunk in chunks:
        entries, finite = chunk.double(), chunk.isfinite()
        counts += _counts(entries, finite, edges)
        squares += (entries - mean[:, None]).where(finite, 0).square().sum(1)
    std = (squares / size).sqrt()
    columns = (zeros, table.shape[1] - size, low, high, mean, std, counts)
    for each in zip(*(column.cpu().numpy().tolist() for column in columns), strict=True):
        zero, lost, *numbers, bins = each
        first, last, center, spread = map(_finite, numbers)
        yield Histogram(role, zero, lost, first, last, center, spread, bins)


def _counts(entries: Tensor, finite: Tensor, edges: Tensor) -> Tensor:
    """(R, N), (R, N), (R, BINS + 1) → (R, BINS). As in NumPy, the last bin holds its end."""
    bins = torch.searchsorted(edges, entries, right=True).sub_(1).clamp_(0, BINS - 1)
    bins[~finite] = BINS  # a bin of its own, which nobody is shown
    rows = torch.arange(len(entries), device=entries.device)[:, None]
    flat = (bins + rows * (BINS + 1)).flatten()
    counts = torch.bincount(flat, minlength=len(entries) * (BINS + 1))
    return counts.view(-1, BINS + 1)[:, :BINS]


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None
