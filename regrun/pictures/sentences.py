"""What pictures say in words: titles that state the finding, and notes on how it was found."""

from __future__ import annotations

from collections.abc import Sequence

from regrun.analysis.cells import Cell
from regrun.analysis.sweeps import losses_apart
from regrun.metrics import Metric, Split
from regrun.numbers import interval
from regrun.pictures.scales import setting_text
from regrun.pictures.style import tick_text
from regrun.pictures.subject import Subject
from regrun.results import Estimate

_MOST_NAMED = 2

_SPLITS: dict[Split, str] = {"train": "train", "val": "validation", "test": "test"}


def words_of(metric: Metric) -> str:
    """``validation accuracy``, ``test loss (ema)``."""
    average = f" ({metric.average})" if metric.average else ""
    return f"{_SPLITS[metric.split]} {metric.quantity.replace('_', ' ')}{average}"


def capital(text: str) -> str:
    """The text with a capital letter at its beginning."""
    return text[:1].upper() + text[1:]


def valued(estimate: Estimate | None) -> str:
    """A mean with its interval; ``–`` without any."""
    return interval(estimate)


def finding(subject: Subject) -> str:
    """Which cell is best, its value with the interval, and what cannot be distinguished from it."""
    metric, best = subject.metric, subject.best
    words = words_of(metric)
    if best is None:
        return f"No run has a {words}"
    value = valued(best.interval(metric.name))
    if len(subject.compared) == 1:
        where = f" at {subject.setting(best)}" if subject.keys else ""
        return f"{capital(words)} is {value}{where}"
    extreme = "lowest" if metric.direction == "minimize" else "highest"
    apart = losses_apart(subject.compared, metric)
    if apart:
        each = " and ".join(apart)
        return f"{capital(words)} means something else for each {each}: none is the {extreme}"
    sentence = f"{capital(words)} is {extreme} at {subject.setting(best)}: {value}"
    if len(best.values(metric.name)) < 2:
        return f"{sentence}, with one seed"
    if not subject.says or len(subject.alike) == len(subject.compared) - 1:
        return f"{sentence}, but no other can be distinguished from it"
    if not subject.alike:
        return f"{sentence}, better than every other"
    return f"{sentence}, not distinguishable from {_named(subject, subject.alike)}"


def _named(subject: Subject, cells: Sequence[Cell]) -> str:
    """The first cells by their values, and how many more there are."""
    if len(cells) > _MOST_NAMED + 1 or len(subject.keys) > 2:
        return f"{len(cells)} other{'s' if len(cells) > 1 else ''}"
    return " and ".join(values_of(subject, cell) for cell in cells)


def values_of(subject: Subject, cell: Cell) -> str:
    """The setting of a cell, without the name of a key that is the only one."""
    if len(subject.keys) == 1:
        return setting_text(cell.params.get(subject.keys[0]))
    return subject.setting(cell)


def notes_on(subject: Subject, *, marked: str | None = None, dots: bool = False) -> list[str]:
    """How values were averaged and what is left out.

    marked: how the cells that are not distinguishable from the best look. dots: whether single
    seeds are drawn.
    """
    cells, metric = subject.cells, subject.metric
    seeds = max((cell.seeds for cell in cells), default=0)
    lines = []
    if seeds > 1:
        mean = "geometric means" if _scale(cells, metric) == "log" else "means"
        drawn = " and 95% intervals" if dots else ""
        single = "; dots: single seeds" if dots else ""
        lines.append(f"{capital(mean)}{drawn} over {seeds} seeds{single}.")
    if marked and subject.says and subject.alike:
        lines.append(f"{capital(marked)}: not distinguishable from the best (5% for all together).")
    if metric.split == "test" and len(subject.compared) > 1:
        lines.append("The best is chosen by the test set, which flatters it.")
    lines += _lost(cells)
    return [" ".join(lines)] if lines else []


def _scale(cells: Sequence[Cell], metric: Metric) -> str:
    return cells[0].scale(metric.name) if cells else "linear"


def _lost(cells: Sequence[Cell]) -> list[str]:
    """How many runs gave no result."""
    runs = sum(cell.seeds for cell in cells)
    counts = [(sum(cell.count(s) for cell in cells), s) for s in ("diverged", "failed", "pruned")]
    return [f"{count:,} of {runs:,} runs {status}." for count, status in counts if count]


def below(words: str, lowest: float, edge: float) -> list[str]:
    """What a reader must know of values that lie below the axis."""
    if lowest >= edge:
        return []
    return [f"▾ {words} below the axis, down to {tick_text(float(f'{lowest:.1g}'))}."]
