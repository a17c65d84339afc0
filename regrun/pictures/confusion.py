"""Which classes are taken for which."""

from __future__ import annotations

from typing import TYPE_CHECKING

from regrun.analysis.cells import Cell
from regrun.pictures.base import Picture
from regrun.pictures.scales import fix_ticks
from regrun.pictures.sheet import Sheet
from regrun.pictures.style import Look, plain, ramp
from regrun.pictures.subject import Subject

if TYPE_CHECKING:
    import numpy as np

MOST_CLASSES = 100
MOST_NUMBERED = 20
"""Classes up to which every field has its number."""


class Confusion(Picture):
    """True classes against predicted ones, of a run, or of all seeds of the best cell."""

    name = "confusion"
    summary = "the confusion matrix, where metrics lists confusion_matrix"

    def problem(self, subject: Subject) -> str | None:
        cell = _cell(subject)
        if cell is None or _part(cell) is None:
            return "no run has a confusion matrix; list confusion_matrix in metrics"
        classes = len(_names(cell))
        if classes > MOST_CLASSES:
            return f"{classes} classes are too many to see"
        return None

    def draw(self, subject: Subject, look: Look) -> Sheet:
        import numpy as np

        cell = _cell(subject)
        assert cell is not None
        part = _part(cell)
        assert part is not None
        counts, names = _counts(cell, part), _names(cell)
        words = {"val": "validation"}.get(part, part)
        runs = sum(
            run.summary is not None and run.summary.confusion is not None for run in cell.runs
        )
        notes = [
            f"Colours: shares of the true class. {int(counts.sum()):,} {words} examples"
            + (f" of {runs} seeds together." if runs > 1 else ".")
        ]
        if subject.keys:
            notes.append(f"The best cell: {subject.setting(cell)}.")
        side = min(max(4.6, 0.42 * len(names) + 1.4), 12.0)
        sheet = Sheet(
            look, title_of(counts, names, words), notes, width=max(side + 1.2, 7), height=side
        )
        axes = sheet.figure.subplots()
        shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
        axes.pcolormesh(
            shares, cmap=ramp(look), vmin=0, vmax=1, edgecolors=look.paper, linewidth=0.8
        )
        axes.invert_yaxis()
        axes.set_aspect("equal")
        if len(names) <= MOST_NUMBERED:
            for row, column in zip(*counts.nonzero(), strict=True):
                axes.text(
                    column + 0.5,
                    row + 0.5,
                    f"{int(counts[row, column]):,}",
                    ha="center",
                    va="center",
                    fontsize=7.5,
                    color=look.paper if shares[row, column] > 0.55 else look.ink,
                )
        places = [index + 0.5 for index in range(len(names))]
        shown = [plain(name, 16) for name in names]
        fix_ticks(axes.xaxis, places, shown)
        fix_ticks(axes.yaxis, places, shown)
        if max(map(len, shown)) > 3:
            axes.tick_params(axis="x", rotation=90)
        axes.tick_params(length=0)
        axes.set_xlabel("predicted class")
        axes.set_ylabel("true class")
        for spine in axes.spines.values():
            spine.set_visible(False)
        return sheet


def _cell(subject: Subject) -> Cell | None:
    return subject.best or (subject.cells[0] if subject.cells else None)


def _part(cell: Cell) -> str | None:
    """The part of the data whose matrices all runs have, the test set first."""
    stored = [run.summary.confusion or {} for run in cell.runs if run.summary is not None]
    parts = [part for part in ("test", "val", "train") if stored and all(part in s for s in stored)]
    return parts[0] if parts and cell.card is not None else None


def _names(cell: Cell) -> list[str]:
    return [] if cell.card is None else [each.name for each in cell.card.classes]


def _counts(cell: Cell, part: str) -> np.ndarray:
    import numpy as np

    matrices = [
        np.asarray((run.summary.confusion or {})[part], np.int64)
        for run in cell.runs
        if run.summary is not None
    ]
    return np.asarray(sum(matrices[1:], matrices[0]))


def title_of(counts: np.ndarray, names: list[str], part: str) -> str:
    """The most frequent confusion, as a share of its class."""
    import numpy as np

    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    right = 1 - wrong.sum() / max(counts.sum(), 1)
    if not wrong.any():
        return f"Every {part} example is classified right"
    true, taken = np.unravel_index(wrong.argmax(), wrong.shape)
    share = 100 * wrong[true, taken] / counts[true].sum()
    return (
        f"{100 * right:.1f}% of {part} examples are classified right; most often "
        f"{plain(names[true], 24)} is taken for {plain(names[taken], 24)} ({share:.0f}% of it)"
    )
