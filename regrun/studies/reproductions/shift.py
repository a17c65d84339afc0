"""How far the best value of one setting moves when another one is changed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from regrun.analysis.cells import Cell
from regrun.metrics import Metric
from regrun.studies.reproductions.parts import Shift


def shifts(cells: Sequence[Cell], shift: Shift) -> dict[int, float]:
    """Seed → |slope| of log(best response) over log(against), by least squares.

    0: the best response is the same whatever `against` is; 1 with opposite signs: their product is
    what matters. A seed counts when every cell has its value.
    """
    sign = Metric.from_name(shift.metric).sign
    per_cell = [cell.values(shift.metric) for cell in cells]
    seeds = set.intersection(*(set(values) for values in per_cell)) if per_cell else set()
    found = {}
    for seed in sorted(seeds):
        rows: dict[float, dict[float, float]] = {}
        for cell, values in zip(cells, per_cell, strict=True):
            row = rows.setdefault(float(cell.params[shift.against]), {})
            row[float(cell.params[shift.response])] = sign * values[seed]
        x = [math.log(against) for against in rows]
        y = [log_minimum(row) for row in rows.values()]
        found[seed] = abs(_slope(x, y))
    return found


def log_minimum(values: Mapping[float, float]) -> float:
    """Where on the log axis the smallest value lies: the middle of all that share it."""
    smallest = min(values.values())
    logs = [math.log(setting) for setting, value in values.items() if value == smallest]
    return sum(logs) / len(logs)


def _slope(x: Sequence[float], y: Sequence[float]) -> float:
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    spread = sum((a - mean_x) ** 2 for a in x)
    return sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / spread
