"""A table of cells that fits the terminal: short names of keys, and one line a cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import RenderableType

from regrun.analysis.cells import Cell
from regrun.cli.columns import Column, rows_table, side_by_side, width_of
from regrun.cli.console import WIDE
from regrun.cli.format import interval
from regrun.metrics import SCORES, SPLITS
from regrun.settings import format_value, short_keys

TITLES = {
    "train/loss": "train loss",
    "val/loss": "val loss",
    "test/loss": "test loss",
    "gap/loss": "gap",
    "train/accuracy": "train acc.",
    "val/accuracy": "val acc.",
    "test/accuracy": "test acc.",
    "weights/l2": "‖w‖₂",
    "weights/sparsity": "sparsity",
}
"""The metrics of every table, as its columns call them."""

BEST, ALIKE = "●", "○"

_MOST_SIDE_BY_SIDE = 6
"""Cells whose settings are the columns of a table of their own."""


def cell_table(
    cells: Sequence[Cell],
    metric: str | None = None,
    *,
    width: int,
    marks: Sequence[Cell] = (),
    legend: str = "",
    wide: bool = False,
) -> list[RenderableType]:
    """A row per cell, and lines about what is not in the rows.

    metric: what the cells are chosen by, shown whatever it is. width: of the terminal; what does
    not fit is left out. marks: the best cell, then those that are not distinguishable from it.
    legend: what the marks mean. wide: all columns, under the full names of the keys.
    """
    keys, others = _key_columns(cells, wide=wide), _other_columns(cells, metric)
    signs = {id(cell): ALIKE for cell in marks[1:]} | {id(cell): BEST for cell in marks[:1]}
    marked = [signs.get(id(cell), "") for cell in cells]
    first = [Column("", marked, is_numeric=False)] if marks else []
    bold = marked.index(BEST) if BEST in marked else None
    notes = [legend] if legend else []
    if wide:
        return [side_by_side([*first, *keys, *others], WIDE, bold), *notes]
    others, same = _without_constants(cells, others)
    settings: list[RenderableType] = []
    lead = [*first, *keys]
    least = [column for column in others if not column.rank]
    if keys and width_of([*lead, *least]) > width:
        together = _together(cells)
        heads = [
            column for column, key in zip(keys, params_of(cells), strict=True) if key in together
        ]
        lead, settings = [*first, *heads], _company(cells, together)
    if keys and width_of([*lead, *least]) > width:
        lead = [*first, Column("", [str(at) for at in range(1, len(cells) + 1)])]
        settings = _settings(cells, width)
    elif any("" in column.texts for column in lead[len(first) :]):
        notes.append("blank: as in the config, or not a key of this setting")
    kept = list(others)
    while width_of([*lead, *kept]) > width and any(column.rank for column in kept):
        kept.remove(max(kept, key=lambda column: column.rank))
    notes += same
    if len(kept) < len(others):
        names = ", ".join(column.title for column in others if column not in kept)
        notes.append(f"not shown here: {names} (--wide shows all)")
    return [side_by_side([*lead, *kept], width, bold), *settings, *notes]


def shown_metrics(cells: Sequence[Cell], metric: str | None = None) -> list[str]:
    """The metrics that the full table of these cells shows, in its order."""
    scores = (f"{split}/{name}" for name in SCORES for split in SPLITS if split != "train")
    known = dict.fromkeys([*TITLES, *scores])
    if metric is not None and metric not in known:
        known = {metric: None, **known}
    present = {name for cell in cells for name in cell.metrics}
    return [name for name in known if name in present]


def params_of(cells: Sequence[Cell]) -> list[str]:
    """The keys in which the cells differ."""
    return list(dict.fromkeys(key for cell in cells for key in cell.params))


def status_of(cell: Cell) -> str:
    """How the runs of a cell ended: ``3 completed, 1 diverged``."""
    ended = [run.status for run in cell.runs]
    if len(set(ended)) == 1:
        return ended[0]
    return ", ".join(f"{ended.count(status)} {status}" for status in dict.fromkeys(ended))


def _key_columns(cells: Sequence[Cell], *, wide: bool) -> list[Column]:
    keys = params_of(cells)
    names = {key: key for key in keys} if wide else short_keys(keys)
    columns = []
    for key in keys:
        values = [cell.params[key] for cell in cells if key in cell.params]
        texts = [format_value(cell.params[key]) if key in cell.params else "" for cell in cells]
        columns.append(Column(names[key], texts, is_numeric=all(map(_is_number, values))))
    return columns


def _other_columns(cells: Sequence[Cell], metric: str | None) -> list[Column]:
    """The name of a single run, how many runs there are, the metrics, how the runs ended."""
    has_keys = any(cell.params for cell in cells)
    names = shown_metrics(cells, metric)
    rank = {name: at for at, name in enumerate(_by_importance(names, metric))}
    columns = []
    if any(cell.seeds > 1 for cell in cells):
        columns.append(Column("seeds", [str(cell.seeds) for cell in cells], rank=1))
    else:
        runs = [cell.runs[0].path.name for cell in cells]
        columns.append(Column("run", runs, rank=55 if has_keys else 0, is_numeric=False))
    for name in names:
        title = TITLES.get(name, name if name == metric else name.replace("/", " "))
        texts = [interval(cell.interval(name)) for cell in cells]
        columns.append(Column(title, texts, rank=10 * rank[name]))
    return [*columns, Column("status", [status_of(cell) for cell in cells], 2, False)]


def _by_importance(names: Sequence[str], metric: str | None) -> list[str]:
    """What the cells are chosen by, then results on the test set, on others, and of the weights."""
    order = ("test/loss", "test/accuracy", "val/loss", "val/accuracy", "train/loss")
    last = ("train/accuracy", "weights/l2", "weights/sparsity", "gap/loss")
    first = metric if metric in names else next((name for name in order if name in names), None)

    def place(name: str) -> tuple[int, int]:
        if name == first:
            return (0, 0)
        if name in order:
            return (1, order.index(name))
        return (3, last.index(name)) if name in last else (2, 0)

    return sorted(names, key=place)


def _without_constants(
    cells: Sequence[Cell], columns: list[Column]
) -> tuple[list[Column], list[str]]:
    """The columns that differ between rows, and a line about the others."""
    if len(cells) < 2:
        return columns, []
    same = [each for each in columns if each.rank and len(set(each.texts)) == 1]
    # The caption says how many seeds there are.
    said = [
        column.texts[0] if column.title == "status" else f"{column.title} {column.texts[0]}"
        for column in same
        if column.title != "seeds"
    ]
    notes = [f"in all rows: {', '.join(said)}"] if said else []
    return [each for each in columns if each not in same], notes


def _together(cells: Sequence[Cell]) -> dict[str, list[str]]:
    """Key → the keys that change just where it changes, so that its values stand for theirs."""
    found: dict[tuple[int, ...], list[str]] = {}
    for key in params_of(cells):
        values = [format_value(cell.params[key]) if key in cell.params else None for cell in cells]
        found.setdefault(tuple(map(values.index, values)), []).append(key)
    return {first: others for first, *others in found.values()}


def _company(cells: Sequence[Cell], together: Mapping[str, Sequence[str]]) -> list[RenderableType]:
    """What changes together with the keys of the table: a line for each of their values."""
    names = short_keys(params_of(cells))
    lines: dict[str, None] = {}
    for first, others in together.items():
        for cell in cells if others else ():
            value = format_value(cell.params[first]) if first in cell.params else "none"
            settings = ", ".join(
                f"{names[key]}={format_value(cell.params[key])}"
                for key in others
                if key in cell.params
            )
            lines[f"{names[first]}={value}  {settings}"] = None
    return list(lines)


def _settings(cells: Sequence[Cell], width: int) -> list[RenderableType]:
    """What the numbered rows differ in, which has no room in the table."""
    names = short_keys(params_of(cells))
    if len(cells) <= _MOST_SIDE_BY_SIDE:
        titles = ["differ in", *(str(at) for at in range(1, len(cells) + 1))]
        rows = [
            [
                name,
                *(format_value(cell.params[key]) if key in cell.params else "" for cell in cells),
            ]
            for key, name in names.items()
        ]
        if all(cell.seeds == 1 for cell in cells):
            rows.insert(0, ["run", *(cell.runs[0].path.name for cell in cells)])
        table = rows_table(titles, rows, width=width)
        if max(map(len, table.plain.splitlines())) <= width:
            return ["", table, ""]
    described = (
        "  ".join(f"{names[key]}={format_value(value)}" for key, value in cell.params.items())
        for cell in cells
    )
    return [f"{at:<4}  {settings}" for at, settings in enumerate(described, 1)]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
