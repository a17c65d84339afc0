"""Histograms of entries, as a run would store them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import orjson

from regrun.histograms import (
    BINS,
    Histogram,
    Histograms,
    HistogramTable,
    WeightHistograms,
    parse_histograms,
)
from regrun.results import json_line


def histogram_of(
    entries: np.ndarray, role: Literal["weight", "bias", "norm"] = "weight"
) -> Histogram:
    """By NumPy; entries: finite, at least one."""
    return Histogram(
        role=role,
        zeros=int((entries == 0).sum()),
        not_finite=0,
        low=float(entries.min()),
        high=float(entries.max()),
        mean=float(entries.mean()),
        std=float(entries.std()),
        counts=np.histogram(entries, BINS)[0].tolist(),
    )


def stored(counted: WeightHistograms) -> dict[int, Histograms]:
    """Member → its histograms, as they are read from the line that is stored."""
    lines = [orjson.loads(json_line(line)) for line in counted.lines()]
    return dict(zip(counted.members, map(parse_histograms, lines), strict=True))


def tables_of(histograms: Sequence[Histograms]) -> dict[str, HistogramTable]:
    """Name → a row for each time."""
    names = histograms[0].parameters
    return {
        name: HistogramTable.of([each.parameters[name] for each in histograms]) for name in names
    }
