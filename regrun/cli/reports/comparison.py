"""Several directories side by side: their answers, and the keys in which they differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from regrun.analysis.cells import differing_keys
from regrun.cli.data_report import data_line
from regrun.cli.reports.parts import Field, Grid, ReportPart
from regrun.numbers import NOTHING
from regrun.settings import format_value


@dataclass(frozen=True)
class Comparison:
    """What stands above the parts where there are several."""

    grids: Sequence[Grid]
    limits: Sequence[str]


def comparison_of(parts: Sequence[ReportPart]) -> Comparison | None:
    """The answers and differences; None for one part."""
    if len(parts) < 2:
        return None
    headers = ["", *(str(part.directory) for part in parts)]
    answers = Grid("Answers", ["of", *headers[1:]], _answers(parts))
    return Comparison([answers, *_differences(parts, headers[1:])], _limits(parts))


def _answers(parts: Sequence[ReportPart]) -> list[list[Field]]:
    facts = [dict(part.facts) for part in parts]
    rows = {
        "kind": [part.kind for part in parts],
        "question": [part.question for part in parts],
        "answer": [part.answer for part in parts],
        "selected on": [each.get("selected on", NOTHING) for each in facts],
        "runs": [each.get("runs", NOTHING) for each in facts],
        "repeats": [each.get("repeats", NOTHING) for each in facts],
        "axes": [_axes(part) for part in parts],
        "data": [data_line(part.setup.card) if part.setup.card else NOTHING for part in parts],
        "versions": [
            ", ".join(f"{name} {version}" for name, version in part.setup.versions.items())
            or NOTHING
            for part in parts
        ],
    }
    return [
        [Field(name), *map(Field, texts)]
        for name, texts in rows.items()
        if any(text != NOTHING for text in texts)
    ]


def _axes(part: ReportPart) -> str:
    return "; ".join(f"{key}: {tried}" for key, tried in part.setup.axes.items()) or NOTHING


def _differences(parts: Sequence[ReportPart], names: Sequence[str]) -> list[Grid]:
    """A row for each key that is not alike, as far as one of the configs says it."""
    with_config = [part for part in parts if part.setup.settings]
    if len(with_config) < 2:
        return []
    chosen = frozenset[str]().union(*(part.setup.chosen for part in with_config))
    different = differing_keys([part.setup.settings for part in with_config])
    keys = [key for key in dict.fromkeys(k for each in different for k in each) if key in chosen]
    found = dict(zip((id(part) for part in with_config), different, strict=True))
    rows = [
        [
            Field(key),
            *(_value(found.get(id(part), {}), key, part) for part in parts),
        ]
        for key in keys
    ]
    note = f"{NOTHING}: there is no such key"
    if not rows:
        rows = [[Field("none"), *(Field("") for _ in parts)]]
        note = "the configs differ in nothing but their axes, names and seeds"
    return [Grid("Keys that differ", ["key", *names], rows, note)]


def _value(settings: Mapping[str, Any], key: str, part: ReportPart) -> Field:
    if key in settings:
        return Field(format_value(settings[key]))
    return Field("an axis" if key in part.setup.axes else NOTHING)


def _limits(parts: Sequence[ReportPart]) -> list[str]:
    """Why the answers may not be compared, and that nothing here tests a difference."""
    lines = []
    tests = [part.setup.card.test_set for part in parts if part.setup.card is not None]
    if len(tests) == len(parts) and any(one != other for one, other in combinations(tests, 2)):
        lines.append(
            "the directories were measured on different test sets: their values differ for that "
            "reason, too"
        )
    facts = [dict(part.facts) for part in parts]
    metrics = {each["selected on"] for each in facts if "selected on" in each}
    if len(metrics) > 1:
        lines.append("the directories were not selected on the same metric")
    lines.append(
        "no test compares one directory with another here: regrun compare shows their runs in one "
        "table"
    )
    return lines
