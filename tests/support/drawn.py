"""What pictures show: cells that nobody trained, and the artists of a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.text import Text

from regrun.analysis.cells import Cell
from regrun.analysis.sweeps import SweptRun
from regrun.metrics import Metric
from regrun.pictures.subject import Subject
from regrun.results import RunSummary, Status
from regrun.store.run_dir import RunDir

Values = Mapping[str, Sequence[float]]
"""Metric → a value per seed."""


def cell(params: Mapping[str, Any], values: Values, lost: int = 0) -> Cell:
    """A cell of which the last `lost` runs diverged."""
    seeds = max((len(each) for each in values.values()), default=0) + lost
    runs = []
    for seed in range(seeds):
        status: Status = "completed" if seed < seeds - lost else "diverged"
        metrics: dict[str, float | None] = {
            name: each[seed] for name, each in values.items() if seed < len(each)
        }
        summary = RunSummary(run_dir="", status=status, seed=seed, metrics=metrics)
        runs.append(SweptRun(RunDir(Path("nowhere")), {**params, "seed": seed}, summary))
    return Cell(params, runs)


def subject(cells: Sequence[Cell], metric: str = "test/loss") -> Subject:
    """The cells as a sweep."""
    return Subject(Path("runs/made/sweep-abcdef"), cells, Metric.from_name(metric))


def texts(figure: Figure) -> list[Text]:
    """The texts that can be read, in the order in which they were drawn."""
    found = [each for each in figure.findobj(Text) if isinstance(each, Text)]
    return [each for each in found if each.get_visible() and each.get_text().strip()]


def words(figure: Figure) -> list[str]:
    """The same as strings."""
    return [each.get_text() for each in texts(figure)]


def title(figure: Figure) -> str:
    """The title on one line."""
    return figure.texts[0].get_text().replace("\n", " ")


def notes(figure: Figure) -> str:
    """The notes on one line."""
    return figure.texts[1].get_text().replace("\n", " ")


def overlaps(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of texts that touch each other."""
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    boxes = [(each.get_text(), each.get_window_extent(renderer)) for each in texts(figure)]
    found = []
    for (a, first), (b, second) in combinations(boxes, 2):
        width = min(first.x1, second.x1) - max(first.x0, second.x0)
        height = min(first.y1, second.y1) - max(first.y0, second.y0)
        if width > 1 and height > 1.5:
            found.append((a, b))
    return found


def cut(figure: Figure) -> list[str]:
    """Texts that leave the sheet."""
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    sheet = figure.bbox
    found = []
    for each in texts(figure):
        box = each.get_window_extent(renderer)
        inside = box.x0 >= sheet.x0 - 1 and box.x1 <= sheet.x1 + 1
        if not (inside and box.y0 >= sheet.y0 - 1 and box.y1 <= sheet.y1 + 1):
            found.append(each.get_text())
    return found


def line_of(figure: Figure, label: str) -> tuple[np.ndarray, np.ndarray]:
    """The data of the line with this label."""
    (found,) = (line for axes in figure.axes for line in axes.lines if line.get_label() == label)
    return np.asarray(found.get_xdata()), np.asarray(found.get_ydata())
