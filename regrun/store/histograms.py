"""``histograms.jsonl``: a line of JSON per time at which the parameters of a run were counted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from regrun.errors import CorruptInputError
from regrun.histograms import Histograms, parse_histograms
from regrun.store.lines import keep_lines, parse_lines, read_lines, whole_lines
from regrun.store.place import Place, as_file


def read_histograms(file: Path | Place) -> list[Histograms]:
    """All in order; empty when there is no file. Raises `CorruptInputError` with file and line."""
    place = as_file(file)
    return parse_file(place, read_lines(place))


def parse_file(place: Place, data: bytes) -> list[Histograms]:
    """Those of a file's content. Raises `CorruptInputError` with file and line."""
    found: list[Histograms] = []
    for number, value in enumerate(parse_lines(place, whole_lines(data), sealed=True), 1):
        try:
            each = parse_histograms(value)
            if found:
                _check_follows(each, found[-1])
        except ValueError as error:
            raise CorruptInputError(f"{place}:{number}: no histograms: {error}") from error
        found.append(each)
    return found


def keep_counted(file: Path | Place, expected: Sequence[tuple[int, int]]) -> bytes:
    """Drop all lines but those of the expected epochs and steps, which come first.

    Returns what the file then holds. Raises `CorruptInputError` where they are not there,
    `StorageError`.
    """
    place = as_file(file)
    data = read_lines(place)
    there = [(each.epoch, each.step) for each in parse_file(place, data)]
    for number, (epoch, step) in enumerate(expected, 1):
        if there[number - 1 : number] != [(epoch, step)]:
            raise CorruptInputError(
                f"{place}: damaged: line {number:,} is not of epoch {epoch:,}, step {step:,}, "
                "which the run had reached; it can only be started again"
            )
    return keep_lines(place, data, len(expected))


def _check_follows(after: Histograms, before: Histograms) -> None:
    """Raise ValueError when these are not of the same network, at a later time."""
    if after.step <= before.step or after.epoch < before.epoch:
        raise ValueError(f"step {after.step:,} after step {before.step:,}")
    for each, other in ((after, before), (before, after)):
        for name in each.parameters.keys() - other.parameters.keys():
            raise ValueError(f"parameters.{name}: not at all times")
    for name, histogram in after.parameters.items():
        earlier = before.parameters[name]
        if (histogram.size, histogram.role) != (earlier.size, earlier.role):
            raise ValueError(f"parameters.{name}: another size or role than before")
