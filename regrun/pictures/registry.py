"""Every kind of picture, in one place."""

from __future__ import annotations

from collections.abc import Mapping

from regrun.pictures.axis import Axis
from regrun.pictures.base import Picture
from regrun.pictures.cells import Cells
from regrun.pictures.claims import Claims
from regrun.pictures.confusion import Confusion
from regrun.pictures.curves import Curves
from regrun.pictures.effects import Effects
from regrun.pictures.gap import Gap
from regrun.pictures.heatmap import Heatmap
from regrun.pictures.histograms import WeightHistograms
from regrun.pictures.parallel import Parallel
from regrun.pictures.path import Path
from regrun.pictures.sparsity import Sparsity
from regrun.pictures.weights import Weights

PICTURES: Mapping[str, Picture] = {
    each.name: each
    for each in (
        Path(),
        Claims(),
        Effects(),
        Axis(),
        Heatmap(),
        Parallel(),
        Cells(),
        Curves(),
        Gap(),
        Weights(),
        WeightHistograms(),
        Sparsity(),
        Confusion(),
    )
}
"""Name → kind. The first that a subject has is its main picture."""
