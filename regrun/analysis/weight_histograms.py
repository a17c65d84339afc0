"""Histograms of the parameters of one or several runs, over the epochs of training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from regrun.histograms import Histogram, Histograms

NARROW = 1e-3
"""The width of a single value among others, as a part of their range."""


@dataclass(frozen=True)
class Pool:
    """The finite entries of a parameter in one or several networks.

    edges: (N + 1,), rising; where there is a single value, it is a bin without a width. counts:
    (N,); where bins of the networks overlap, entries are spread evenly within a bin. zeros: entries
    that are exactly 0. size: of all, with those not finite. std: NaN where it is not known.
    """

    edges: np.ndarray
    counts: np.ndarray
    zeros: int
    size: int
    std: float

    @property
    def sparsity(self) -> float:
        """The share of all entries that are exactly 0."""
        return self.zeros / self.size

    @property
    def table(self) -> np.ndarray:
        """(N, 3): the beginning and the end of each bin, and its count."""
        return np.stack([self.edges[:-1], self.edges[1:], self.counts], axis=1)

    def quantiles(self, shares: Sequence[float]) -> np.ndarray:
        """The values below which these shares of the finite entries lie."""
        below = np.concatenate([[0.0], np.cumsum(self.counts)])
        found: np.ndarray = np.interp(np.asarray(shares) * below[-1], below, self.edges)
        return found


@dataclass(frozen=True)
class Times:
    """A parameter at the steps at which all runs counted its entries.

    histograms: those of all runs, for each step. zeros: whether entries that are exactly 0 count.
    """

    role: str
    epochs: Sequence[int]
    steps: Sequence[int]
    histograms: Sequence[Sequence[Histogram]]
    zeros: bool

    @property
    def is_empty(self) -> bool:
        """Whether no entry is ever finite."""
        return all(each.low is None for moment in self.histograms for each in moment)

    @cached_property
    def pools(self) -> Sequence[Pool | None]:
        """The entries of all runs at each step; None where none is finite."""
        return [pool(moment, zeros=self.zeros) for moment in self.histograms]


def pool(histograms: Sequence[Histogram], *, zeros: bool = True) -> Pool | None:
    """The entries of all together; None where none is finite. zeros: whether they count."""
    finite = [each for each in histograms if each.low is not None]
    if not finite:
        return None
    edges, counts = _together(_bins(finite, zeros=zeros))
    return Pool(
        edges,
        counts,
        sum(each.zeros for each in histograms),
        sum(each.size for each in histograms),
        _std(finite),
    )


Bins = tuple[np.ndarray, np.ndarray]
"""Edges (N + 1,) and counts (N,)."""


def _together(bins: Sequence[Bins]) -> Bins:
    """Counts between all the edges."""
    if len(bins) == 1:
        return bins[0]
    edges = np.unique(np.concatenate([own for own, _ in bins]))
    counts = np.zeros(len(edges) - 1)
    for own, of_own in bins:
        counts += np.diff(np.interp(edges, own, np.concatenate([[0.0], np.cumsum(of_own)])))
    return edges, counts


def _bins(finite: Sequence[Histogram], *, zeros: bool) -> list[Bins]:
    """Edges and counts of each; those of the same single value are one."""
    ends = [(each.low or 0.0, each.high or 0.0) for each in finite]
    counts = [np.array(each.counts if zeros else each.non_zeros, float) for each in finite]
    low, high = min(first for first, _ in ends), max(last for _, last in ends)
    if low == high:
        return [(np.array([low, low]), np.array([sum(own.sum() for own in counts)]))]
    width = NARROW * (high / 2 - low / 2)
    return [
        (np.array([first - width, first + width]), np.array([own.sum()]))
        if first == last
        else (each.edges, own)
        for each, own, (first, last) in zip(finite, counts, ends, strict=True)
    ]


def _std(finite: Sequence[Histogram]) -> float:
    """The standard deviation of all entries together."""
    known = [(sum(each.counts), each.mean, each.std) for each in finite]
    number = sum(count for count, _, _ in known)
    with np.errstate(over="ignore", invalid="ignore"):
        means = np.array([np.nan if mean is None else mean for _, mean, _ in known])
        stds = np.array([np.nan if std is None else std for _, _, std in known])
        shares = np.array([count for count, _, _ in known]) / number
        mean = (shares * means).sum()
        return float(np.sqrt((shares * (stds**2 + (means - mean) ** 2)).sum()))


def over_training(runs: Sequence[Sequence[Histograms]], *, zeros: bool = True) -> dict[str, Times]:
    """The parameters that all runs have, pooled over the runs at the steps that all have.

    Empty where there are no such steps. zeros: whether entries that are exactly 0 count.
    """
    by_step = [{each.step: each for each in run} for run in runs]
    shared = sorted(set.intersection(*map(set, by_step))) if by_step else []
    if not shared:
        return {}
    moments = [[run[step] for run in by_step] for step in shared]
    names = [
        name
        for name in moments[0][0].parameters
        if all(name in run.parameters for run in moments[0])
    ]
    return {
        name: Times(
            moments[0][0].parameters[name].role,
            [moment[0].epoch for moment in moments],
            shared,
            [[run.parameters[name] for run in moment] for moment in moments],
            zeros,
        )
        for name in names
    }
