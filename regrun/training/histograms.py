"""Histograms of the parameters of a stack, all members at once."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from regrun.histograms import BINS, HistogramTable, bin_edges
from regrun.nn.roles import Role

ELEMENTS = 500_000
"""Entries that are looked at at once; each takes about 40 bytes of memory meanwhile."""


@torch.no_grad()
def count_entries(
    parameters: Mapping[str, Tensor], roles: Mapping[str, Role]
) -> dict[str, HistogramTable]:
    """The histograms of every member, without those of empty parameters.

    parameters: name → (K, …).
    """
    return {name: _of_all(each, roles[name]) for name, each in parameters.items() if each.numel()}


def _of_all(parameter: Tensor, role: Role) -> HistogramTable:
    flat = parameter.flatten(1) if parameter.dim() > 1 else parameter[:, None]
    tables = torch.split(flat, max(1, ELEMENTS // flat.shape[1]))
    columns = zip(*map(_of_table, tables), strict=True)
    return HistogramTable(role, *(np.concatenate(column) for column in columns))


def _of_table(table: Tensor) -> list[np.ndarray]:
    """The columns of a `HistogramTable`, with one row for each row of (R, N)."""
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
    range_of = (each.masked_fill(empty, 0).cpu().numpy() for each in (low, high))
    edges = torch.from_numpy(bin_edges(*range_of)).to(table.device)
    counts = torch.zeros(len(table), BINS, dtype=torch.int64, device=table.device)
    squares = torch.zeros_like(mean)
    for chunk in chunks:
        entries, finite = chunk.double(), chunk.isfinite()
        counts += _counts(entries, finite, edges)
        squares += (entries - mean[:, None]).where(finite, 0).square().sum(1)
    std = (squares / size).sqrt()
    ends = (each.masked_fill(empty, torch.nan) for each in (low, high))
    columns = (zeros, table.shape[1] - size, *ends, mean, std, counts)
    return [column.cpu().numpy() for column in columns]


def _counts(entries: Tensor, finite: Tensor, edges: Tensor) -> Tensor:
    """(R, N), (R, N), (R, BINS + 1) → (R, BINS). As in NumPy, the last bin holds its end."""
    # The width of the largest numbers would overflow.
    scale = torch.where((edges[:, -1:] - edges[:, :1]).isfinite(), 1.0, 0.25).to(edges.dtype)
    entries, edges = entries * scale, edges * scale
    first, last = edges[:, :1], edges[:, -1:]
    entries = entries.where(finite, first)
    bins = ((entries - first) / (last - first) * BINS).long().clamp_(0, BINS - 1)
    # Rounding can lead to the bin before or after; the edges decide.
    bins -= (entries < edges.gather(1, bins)).long()
    bins += ((entries >= edges.gather(1, bins + 1)) & (bins < BINS - 1)).long()
    bins[~finite] = BINS  # a bin of its own, which nobody is shown
    rows = torch.arange(len(entries), device=entries.device)[:, None]
    flat = (bins + rows * (BINS + 1)).flatten()
    counts = torch.bincount(flat, minlength=len(entries) * (BINS + 1))
    return counts.view(-1, BINS + 1)[:, :BINS]
