"""Histograms of entries, as a run would store them."""

from __future__ import annotations

from typing import Literal

import numpy as np

from regrun.histograms import BINS, Histogram


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
