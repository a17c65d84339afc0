"""Cells of simulated sweeps: what seeds have in common, and noise of many kinds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SETTINGS = ("equal", "two_variances", "one_noisy", "spread_variances", "neighbours_alike")


def simulated_cells(
    rng: np.random.Generator, setting: str, cells: int, replicates: int
) -> NDArray[np.float64]:
    """(cells, replicates), all cells equally good, replicates correlated between the cells."""
    noise = rng.normal(size=(cells, replicates))
    if setting == "neighbours_alike":  # an axis along which the cells change slowly
        for cell in range(1, cells):
            noise[cell] = 0.95 * noise[cell - 1] + np.sqrt(1 - 0.95**2) * noise[cell]
        return noise
    deviations = {
        "equal": np.ones(cells),
        "two_variances": np.where(np.arange(cells) % 2, 5.0, 1.0),
        "one_noisy": np.where(np.arange(cells) == 0, 10.0, 1.0),
        "spread_variances": np.exp(rng.uniform(0, np.log(10), cells)),
    }[setting]
    shared = rng.normal(size=replicates)
    return np.asarray(shared + deviations[:, None] * noise, np.float64)
