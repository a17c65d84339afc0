"""Texts in TensorBoard: what a sweep found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from regrun.analysis.cells import Cell
from regrun.analysis.overview import ranked
from regrun.analysis.sweeps import StoredSweep
from regrun.cli.cell_table import shown_metrics
from regrun.cli.conclusions import caption, conclusions
from regrun.cli.format import interval
from regrun.escapes import escaped_name
from regrun.settings import format_value
from regrun.store.sweep_dir import SweepDir

MOST_ROWS = 20


def answer(sweep: Path) -> str:
    """The statements about a sweep and its best cells, in Markdown."""
    stored = StoredSweep(SweepDir(sweep), on_damage=lambda damage: None)
    cells, metric = stored.cells, stored.metric
    shown = shown_metrics(cells, metric.name)
    best = ranked(cells, metric)[:MOST_ROWS]
    lines = [f"- {_plain(line)}" for line in conclusions(cells, metric)]
    return "\n".join([*lines, "", *_table(best, shown), "", *map(_plain, caption(cells, shown))])


def _table(cells: Sequence[Cell], metrics: Sequence[str]) -> list[str]:
    keys = list(dict.fromkeys(key for cell in cells for key in cell.params))
    rows = [
        [format_value(cell.params.get(key)) for key in keys]
        + [interval(cell.interval(metric)) for metric in metrics]
        for cell in cells
    ]
    return [
        " | ".join(["", *map(_plain, row), ""]).strip()
        for row in [[*keys, *metrics], ["---"] * (len(keys) + len(metrics)), *rows]
    ]


def _plain(text: str) -> str:
    """A text in which nothing means anything to Markdown."""
    for character in "\\`*_[]<>|#":
        text = text.replace(character, f"\\{character}")
    return escaped_name(text)
