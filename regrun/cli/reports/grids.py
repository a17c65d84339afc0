"""The tables of a report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from regrun.analysis.cells import Cell, metric_values
from regrun.cli.ablate import difference_text
from regrun.cli.cell_table import ALIKE, BEST, TITLES, params_of, shown_metrics, status_of
from regrun.cli.conclusions import standing_of
from regrun.cli.data_report import data_tables
from regrun.cli.reports.parts import Field, Grid
from regrun.cli.reproduce import ours_text
from regrun.metrics import Metric
from regrun.numbers import interval, number
from regrun.results import (
    AblationResult,
    DataCard,
    PathResult,
    ReproductionResult,
    RunSummary,
)
from regrun.settings import format_value


def cells_grid(
    cells: Sequence[Cell], metric: Metric, title: str = "Cells", *, charted: bool = True
) -> Grid:
    """A row per cell, the marks of the terminal at the best and those like it.

    charted: whether the cells are those of the charts.
    """
    keys, names = params_of(cells), shown_metrics(cells, metric.name)
    standing = standing_of(cells, metric).alike
    marks = {id(cell): ALIKE for cell in standing[1:]} | {id(cell): BEST for cell in standing[:1]}
    rows = [
        [
            Field(f"{at} {marks.get(id(cell), '')}".rstrip(), at),
            *(_setting(cell.params, key) for key in keys),
            *([] if keys else [Field(cell.runs[0].path.name)]),
            Field(f"{cell.seeds:,}", cell.seeds),
            *(_estimate(cell, name) for name in names),
            Field(status_of(cell)),
        ]
        for at, cell in enumerate(cells, 1)
    ]
    titles = [TITLES.get(name, name.replace("/", " ")) for name in names]
    headers = ["cell", *(keys or ["run"]), "seeds", *titles, "status"]
    note = _legend(metric, len(standing))
    return Grid(title, headers, rows, note, "cells" if charted else "")


def _legend(metric: Metric, marked: int) -> str:
    words = [f"{BEST} {'lowest' if metric.sign > 0 else 'highest'} {metric.name}"]
    words += [f"{ALIKE} not distinguishable from it"] if marked > 1 else []
    return "; ".join(words) if marked else ""


def _setting(params: Mapping[str, Any], key: str) -> Field:
    if key not in params:
        return Field("as in the config")
    value = params[key]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    is_finite = is_number and math.isfinite(value)
    return Field(format_value(value), float(value) if is_finite else None)


def _estimate(cell: Cell, name: str) -> Field:
    found = cell.interval(name)
    return Field(interval(found), None if found is None else found.mean)


def number_field(value: float) -> Field:
    """A number with four digits, sorted by all of them."""
    return Field(number(value), value if math.isfinite(value) else None)


def metrics_grid(summary: RunSummary) -> Grid:
    """All that a run measured."""
    values = metric_values(summary).items()
    rows = [[Field(name), number_field(value)] for name, value in values]
    return Grid("Metrics", ["metric", "value"], rows)


def effects_grid(found: AblationResult) -> Grid:
    """A row per ingredient."""
    rows = [
        [
            Field(each.ingredient),
            *(
                Field(difference_text(difference), difference.mean)
                for difference in (each.left_out, each.alone, each.interaction)
            ),
            Field("acts differently in company" if each.interacts else ""),
        ]
        for each in found.effects
    ]
    how = "with over without" if found.effects[0].alone.scale == "log" else "with minus without"
    title = f"Effect on {found.metric}: {how}, with 95% intervals of each"
    headers = ["ingredient", "in company", "alone", "interaction", "remark"]
    return Grid(title, headers, rows, space="ingredients")


def strengths_grid(path: PathResult) -> Grid:
    """A row per strength of a path, and which of them were chosen."""
    names = [name for name in path.metrics if name.endswith(("/loss", "/accuracy"))]
    marks = {path.best.one_standard_error: "one standard error", path.best.strength: "lowest"}
    if len(marks) == 1:
        marks = {path.best.strength: "lowest, one standard error"}
    rows = [
        [
            number_field(strength),
            Field(f"{path.nonzeros[at]:,}", path.nonzeros[at]),
            *(number_field(path.metrics[name][at]) for name in names),
            number_field(path.metrics["cv/standard_error"][at]),
            Field(marks.get(strength, "")),
        ]
        for at, strength in enumerate(path.strengths)
    ]
    measured = [name.replace("/", " ") for name in names]
    headers = ["strength", "non-zeros", *measured, "cv standard error", "chosen by cv loss"]
    return Grid("Strengths", headers, rows, space="strengths")


def claims_grid(found: ReproductionResult) -> Grid:
    """A row per claim: published, ours, and the verdict."""
    rows = [
        [
            Field(claim.claim),
            Field(claim.published),
            Field(ours_text(claim.ours)),
            Field(claim.verdict or "not judged"),
        ]
        for claim in found.claims
    ]
    return Grid("Claims", ["claim", "published", "ours", "verdict"], rows)


def data_grids(card: DataCard) -> list[Grid]:
    """Classes, targets and columns of the data."""
    return [
        Grid(
            each.headers[0].capitalize(),
            [header or "–" for header in each.headers],
            [[Field(text) for text in row] for row in each.rows],
            each.more,
        )
        for each in data_tables(card)
    ]
