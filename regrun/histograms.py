"""Histograms of a network's parameters while it was trained.

As in `tf.summary.histogram`, each has 30 bins of equal width from the smallest to the largest
entry, so that it needs no range that was known before. The counts are those of `numpy.histogram`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked

from regrun.results import first_problem

BINS = 30

_Count = Annotated[int, Field(ge=0, strict=True)]
_Number = Annotated[float, Field(allow_inf_nan=False, strict=True)]
_ALONE = ConfigDict(extra="forbid")


@checked(frozen=True, slots=True, config=_ALONE)
class Histogram:
    """The entries of one parameter at one time; None where no entry is finite.

    role: what the parameter is. zeros: entries that are exactly 0. not_finite: NaN and infinities,
    which are in no bin. low, high: the smallest and the largest entry. std: of all entries, as
    `numpy.std` has it. mean, std: None also where they overflow.
    """

    role: Literal["weight", "bias", "norm"]
    zeros: _Count
    not_finite: _Count
    low: _Number | None
    high: _Number | None
    mean: _Number | None
    std: Annotated[_Number, Field(ge=0)] | None
    counts: Annotated[list[_Count], Field(min_length=BINS, max_length=BINS)]

    @property
    def size(self) -> int:
        """The number of entries."""
        return sum(self.counts) + self.not_finite

    @property
    def sparsity(self) -> float:
        """The share of the entries that are exactly 0."""
        return self.zeros / self.size

    @property
    def non_zeros(self) -> list[int]:
        """`counts` without the entries that are exactly 0."""
        counts = list(self.counts)
        if self.zeros:
            at = int(np.searchsorted(self.edges, 0.0, side="right")) - 1
            counts[min(at, BINS - 1)] -= self.zeros
        return counts

    @property
    def edges(self) -> np.ndarray:
        """(BINS + 1,): where the bins begin, and where the last one ends."""
        ends = (np.array([end or 0.0]) for end in (self.low, self.high))
        edges: np.ndarray = bin_edges(*ends)[0]
        return edges


@checked(frozen=True, slots=True, config=_ALONE)
class Histograms:
    """Those of all parameters of a network after `epoch` epochs, by name."""

    epoch: _Count
    step: _Count
    parameters: dict[str, Histogram]


_parser = TypeAdapter(Histograms)


def parse_histograms(data: object) -> Histograms:
    """Those of one line, as JSON has it. Raises ValueError, with what is wrong."""
    try:
        found = _parser.validate_python(data)
    except ValidationError as error:
        raise ValueError(first_problem(error)) from error
    for name, each in found.parameters.items():
        problem = _problem_with(each)
        if problem is not None:
            raise ValueError(f"parameters.{name}.{problem}")
    return found


def _problem_with(histogram: Histogram) -> str | None:
    counted = sum(histogram.counts)
    if histogram.size == 0:
        return "counts: no entries"
    if histogram.zeros > counted:
        return f"zeros: {histogram.zeros:,} of {counted:,} entries"
    if (histogram.low is None or histogram.high is None) != (counted == 0):
        return "low: does not fit the counts"
    if histogram.low is not None and histogram.high is not None:
        if histogram.low > histogram.high:
            return "low: above high"
        if histogram.zeros and not histogram.low <= 0 <= histogram.high:
            return "zeros: not between low and high"
        if min(histogram.non_zeros) < 0:
            return "zeros: more than the entries of their bin"
    return None


@dataclass(frozen=True)
class HistogramTable:
    """Histograms of one parameter as arrays, a row each; NaN where `Histogram` has None.

    zeros, not_finite: (N,) int64. low, high, mean, std: (N,) float64. counts: (N, BINS) int64.
    """

    role: str
    zeros: np.ndarray
    not_finite: np.ndarray
    low: np.ndarray
    high: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    counts: np.ndarray

    @property
    def _columns(self) -> dict[str, np.ndarray]:
        """In the order of the fields of `Histogram`."""
        return {name: each for name, each in vars(self).items() if name != "role"}

    def take(self, rows: Sequence[int]) -> HistogramTable:
        """These rows alone."""
        return HistogramTable(
            self.role, **{name: each[list(rows)] for name, each in self._columns.items()}
        )

    def lines(self) -> Iterator[dict[str, object]]:
        """Each row as JSON has it."""
        columns = self._columns
        for row in zip(*(each.tolist() for each in columns.values()), strict=True):
            yield {"role": self.role, **dict(zip(columns, row, strict=True))}

    @classmethod
    def of(cls, histograms: Sequence[Histogram]) -> HistogramTable:
        """Those of one parameter, at least one."""
        names = ("zeros", "not_finite", "low", "high", "mean", "std", "counts")
        kinds = dict.fromkeys(("low", "high", "mean", "std"), np.float64)
        return cls(
            histograms[0].role,
            **{
                name: np.array([getattr(each, name) for each in histograms], kinds.get(name))
                for name in names
            },
        )


@dataclass(frozen=True)
class WeightHistograms:
    """The histograms of members of a stack after `epoch` epochs.

    parameters: name → a row for each of the members.
    """

    epoch: int
    step: int
    members: Sequence[int]
    parameters: Mapping[str, HistogramTable]

    def of(self, members: Sequence[int]) -> WeightHistograms:
        """Those of these members alone."""
        rows = [self.members.index(member) for member in members]
        return WeightHistograms(
            self.epoch,
            self.step,
            members,
            {name: each.take(rows) for name, each in self.parameters.items()},
        )

    def lines(self) -> Iterator[dict[str, object]]:
        """What `parse_histograms` takes, for each member."""
        tables = zip(*(each.lines() for each in self.parameters.values()), strict=True)
        for own in tables:
            parameters = dict(zip(self.parameters, own, strict=True))
            yield {"epoch": self.epoch, "step": self.step, "parameters": parameters}


def bin_edges(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """(N,) finite float64, low ≤ high → (N, BINS + 1), rising: those of `numpy.histogram`.

    As there, the bins around a single value span 1 in all; or more, where that would be no
    difference to it.
    """
    with np.errstate(over="ignore"):  # of numbers that are replaced
        edges = _evenly(low, high)
        # Below `tiny`, numbers have fewer digits the smaller they are, and bins no even width.
        narrow = (np.diff(edges) <= 0).any(1) | (high - low < np.finfo(float).tiny)
        if narrow.any():
            room = np.maximum(0.5, np.maximum(abs(low), abs(high)) * 2.0**-40) * narrow
            largest = np.finfo(float).max
            edges = _evenly(np.maximum(low - room, -largest), np.minimum(high + room, largest))
    return edges


def _evenly(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    # Halved, since the difference of the largest numbers would overflow.
    edges = np.ascontiguousarray(2 * np.linspace(low / 2, high / 2, BINS + 1, axis=1))
    edges[:, 0], edges[:, -1] = low, high  # which the smallest numbers are not, when halved
    return edges
