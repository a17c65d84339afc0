"""Plain data → `Config`, or every problem with it, worded and with its path as written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from pydantic import ValidationError

from regrun.config.outline import MISSING, Items, OneOf, Sections, Spot, fields, kinds_with, trace
from regrun.config.schema import Config
from regrun.config.wording import complaint, unknown_key, unknown_kind, whole_list
from regrun.errors import Path, Problem
from regrun.suggest import nearest

_MOST = 200
"""Problems that are looked at; nobody reads more."""


@dataclass(frozen=True)
class KeyProblem(Problem):
    """The key is wrong, not its value."""

    chosen_by: Path | None = None
    """The `name` or `type` to blame, when another kind of this section has the key."""


@dataclass(frozen=True)
class MissingKey(Problem):
    """The section at ``path`` lacks a key."""

    key: str = ""
    chosen_by: Path | None = None


def validate(tree: Mapping[str, Any]) -> tuple[Config | None, list[Problem]]:
    """The config that plain data means; or None, and every problem, with its path as written."""
    try:
        return Config.model_validate(tree), []
    except ValidationError as error:
        problems = _problems(error, tree)
    meant = _as_meant(tree, problems)
    if meant is not None:  # what else is wrong with sections whose kind is misspelt
        told = {problem.path for problem in problems}
        _, more = validate(meant)
        problems += [problem for problem in more if problem.path not in told]
    return None, problems


def _as_meant(tree: Mapping[str, Any], problems: Iterable[Problem]) -> Mapping[str, Any] | None:
    """The tree with misspelt kinds of sections as they were probably meant; None without any."""
    corrected: Any = tree
    for problem in problems:
        *above, spot = trace(problem.path, tree)
        sections = above[-1].shape if above else None
        if not isinstance(sections, Sections) or spot.path[-1] != sections.tag:
            continue
        kind = nearest(str(spot.raw), sections.tags())
        if kind is not None and spot.raw != kind:
            corrected = _replaced(corrected, spot.path, kind)
    return None if corrected is tree else corrected


def _replaced(tree: Any, path: Path, value: Any) -> Any:
    """A copy with another value at a path that is there."""
    if not path:
        return value
    copy: Any = dict(tree) if isinstance(tree, Mapping) else list(tree)
    copy[path[0]] = _replaced(copy[path[0]], path[1:], value)
    return copy


def _problems(error: ValidationError, tree: Any) -> list[Problem]:
    """Pydantic's errors, worded by the outline; one for each place and cause."""
    found: dict[Problem, Spot] = {}
    meant: set[tuple[Path, str]] = set()
    for each in error.errors(include_url=False, include_input=False)[:_MOST]:
        spots = trace(each["loc"], tree, labelled=True)
        found[_problem(each, spots, meant)] = spots[-1]
    inside = {problem.path[:-1] for problem in found if problem.path}
    return [
        problem
        for problem, spot in found.items()
        # A misspelt key is told once, not also as missing under its right name.
        if not (isinstance(problem, MissingKey) and (problem.path, problem.key) in meant)
        # A list in a union of number and list is told entry by entry.
        and not (isinstance(spot.shape, OneOf) and problem.path in inside)
    ]


def _problem(error: Any, spots: list[Spot], meant: set[tuple[Path, str]]) -> Problem:
    for spot in spots:
        lost = _unclear_section(spot)
        if lost:
            return lost
    here, parent = spots[-1], spots[-2] if len(spots) > 1 else spots[-1]
    kind: str = error["type"]
    if kind == "value_error":
        return _said_by_validator(str(error["ctx"]["error"]), here)
    if isinstance(parent.shape, Sections) and kind == "missing":
        return _missing(parent, str(here.path[-1]))
    if isinstance(parent.shape, Sections) and here.shape is None:
        key = here.path[-1]
        message, intended = unknown_key(parent.shape, parent.raw, key)
        if intended:
            meant.add((parent.path, intended))
        other_kind = bool(kinds_with(parent.shape, str(key)))
        return KeyProblem(here.path, message, _tag_path(parent) if other_kind else None)
    if isinstance(parent.shape, Items) and here.raw is MISSING:
        return Problem(parent.path, whole_list(parent.shape, parent.raw))
    if here.raw is MISSING:
        return Problem(here.path, error["msg"])
    return Problem(here.path, complaint(here.shape, here.raw))


def _unclear_section(spot: Spot) -> Problem | None:
    """A section whose kind is not known: nothing else about it can be said."""
    sections = spot.shape
    if not isinstance(sections, Sections) or sections.tag is None or spot.raw is MISSING:
        return None
    if not isinstance(spot.raw, Mapping) and not isinstance(sections.tag_of(spot.raw), str):
        return Problem(spot.path, complaint(sections, spot.raw))
    if sections.kind(spot.raw) is not None:
        return None
    if isinstance(spot.raw, Mapping):
        if sections.tag not in spot.raw:
            return _without_tag(sections, sections.tag, spot)
        return Problem((*spot.path, sections.tag), unknown_kind(sections, spot.raw[sections.tag]))
    return Problem(spot.path, unknown_kind(sections, spot.raw))


def _without_tag(sections: Sections, tag: str, spot: Spot) -> Problem:
    """The key that chooses the kind is missing, or misspelt."""
    known = {name for kind in sections.distinct() for name in fields(kind)}
    for key in islice(spot.raw, 20):
        if key not in known and nearest(str(key), known) == tag:
            return KeyProblem((*spot.path, key), f'unknown key, did you mean "{tag}"?')
    return _missing(spot, tag)


def _missing(parent: Spot, key: str) -> MissingKey:
    return MissingKey(parent.path, f'missing key "{key}"', key, _tag_path(parent))


def _tag_path(spot: Spot) -> Path | None:
    tag = spot.shape.tag if isinstance(spot.shape, Sections) else None
    return (*spot.path, tag) if tag else None


def _said_by_validator(text: str, here: Spot) -> Problem:
    """A rule between keys: its text may begin with the key that is to blame."""
    named = re.match(r"(\w+): (?s:(.*))", text)
    kind = here.shape.kind(here.raw) if isinstance(here.shape, Sections) else None
    if named and kind and named[1] in fields(kind):
        return Problem((*here.path, named[1]), named[2])
    return Problem(here.path, text)
