"""Evaluations as arrays, from which the metrics and event files of many runs are written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Curves:
    """Evaluations of several runs at the same steps and with the same metrics.

    names: M. epochs, steps: E. wall_times: E, in seconds since 1970. values: (runs, E, M) float64.
    """

    names: tuple[str, ...]
    epochs: Sequence[int]
    steps: Sequence[int]
    wall_times: Sequence[float]
    values: np.ndarray

    def rows(self, run: int, part: slice = slice(None)) -> list[dict[str, Any]]:
        """The evaluations of one run, or part of them, as dictionaries, epoch and step first."""
        names = ("epoch", "step", *self.names)
        lines = zip(
            self.epochs[part], self.steps[part], self.values[run, part].tolist(), strict=True
        )
        return [dict(zip(names, (epoch, step, *own), strict=True)) for epoch, step, own in lines]


def curves_of(rows: Sequence[Mapping[str, Any]], wall_times: Sequence[float]) -> Iterator[Curves]:
    """Rows of one run, consecutive ones with the same metrics grouped. None becomes NaN."""
    start = 0
    for keys, group in groupby(rows, key=tuple):
        same = list(group)
        names = tuple(key for key in keys if key not in ("epoch", "step"))
        yield Curves(
            names,
            [row.get("epoch", 0) for row in same],
            [row["step"] for row in same],
            wall_times[start : start + len(same)],
            np.array([[[row[name] for name in names] for row in same]], np.float64),
        )
        start += len(same)
