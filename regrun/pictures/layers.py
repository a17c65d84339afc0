"""The layers whose weights pictures show over training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from regrun.analysis.cells import Cell
from regrun.pictures.subject import Subject
from regrun.store.reading import load_stored_run
from regrun.store.run_dir import RunDir

if TYPE_CHECKING:
    from regrun.analysis.weight_histograms import Times
    from regrun.histograms import Histograms

NONE_COUNTED = "no run has histograms of its weights; set training.histograms_every"

T = TypeVar("T")


def counted_cell(subject: Subject) -> Cell | None:
    """The cell whose weights are shown: the best one, or that of a run alone."""
    return subject.best or (subject.cells[0] if subject.cells else None)


def counted_runs(cell: Cell | None) -> list[list[Histograms]]:
    """The histograms of each run of a cell; those of lost runs where there are no others."""
    if cell is None:
        return []
    ended = [run for run in cell.runs if run.status not in ("diverged", "failed")] or cell.runs
    there = [run.path for run in ended if RunDir(run.path).config.is_file()]
    found = [load_stored_run(path).histograms for path in there]
    return [each for each in found if each]


def weights_of(found: Mapping[str, Times]) -> dict[str, Times]:
    """The parameters of role `weight`; all where there is none."""
    return {name: each for name, each in found.items() if each.role == "weight"} or {**found}


def spread_out(items: Sequence[T], most: int) -> list[T]:
    """At most so many, evenly spaced, with the first and the last."""
    if len(items) <= most:
        return [*items]
    step = (len(items) - 1) / (most - 1)
    return [items[round(step * index)] for index in range(most)]


def notes_of(subject: Subject, cell: Cell, runs: int, shown: int, layers: int) -> str:
    """Whose weights are shown, and how many of the layers."""
    lines = []
    if subject.keys:
        lines.append(f"The best cell: {subject.setting(cell)}.")
    if runs > 1:
        lines.append(f"The weights of {runs} seeds together.")
    if shown < layers:
        lines.append(f"{shown} of {layers} weight tensors.")
    return " ".join(lines)
