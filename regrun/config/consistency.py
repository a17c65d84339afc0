"""Rules between sections that a config can break by itself."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any

from pydantic import BaseModel

from regrun.config.diagnostics import SHOWN
from regrun.config.schema import Config
from regrun.config.schema_tree import AnyOf, ListNode, Node, SectionNode, dotted_keys, fields, root
from regrun.config.sweeps import Sweep
from regrun.config.training import missing_for_metric
from regrun.config.validate import KeyProblem, no_such_key, path_in_other_section, show
from regrun.config.yaml_nodes import MAX_NODES
from regrun.errors import KeyPath, Problem
from regrun.kinds.base import Section
from regrun.metrics import METRICS, Metric
from regrun.suggest import nearest


def contradictions(config: Config) -> list[Problem]:
    """Every contradiction between the sections of a valid config."""
    found = (
        replace(problem, path=(*path, *problem.path))
        for path, section in _sections(config, ())
        for problem in section.conflicts(config)
    )
    return [*_too_long(config), *found, *_sweep(config)]


def idle_keys(config: Config, steps_per_epoch: int) -> list[Problem]:
    """Every key of a valid config that has no effect in a single run, and why."""
    return [
        replace(problem, path=(*path, *problem.path))
        for path, section in _sections(config, ())
        for problem in section.idle(config, steps_per_epoch)
    ]


def _too_long(config: Config) -> Iterator[Problem]:
    """Nobody could read the config of the run again, where its defaults are written out."""
    count = sum(
        1 + _values_in(getattr(config, key)) for key in type(config).model_fields if key != "sweep"
    )
    if count > MAX_NODES:
        message = f"{count:,} keys and values with all defaults, more than {MAX_NODES:,}"
        yield Problem((), message)


def _values_in(value: Any) -> int:
    """How many keys and values are written for it."""
    if isinstance(value, Section):
        value = {key: getattr(value, key) for key in type(value).model_fields}
    if isinstance(value, Mapping):
        return 1 + sum(1 + _values_in(each) for each in value.values())
    if isinstance(value, tuple | list):
        return 1 + sum(map(_values_in, value))
    return 1


def _sections(section: Section, path: KeyPath) -> Iterator[tuple[KeyPath, Section]]:
    """A section and every section in it, each with its place."""
    yield path, section
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, Section):
            yield from _sections(value, (*path, name))
        elif isinstance(value, tuple):
            for index, each in enumerate(value):
                if isinstance(each, Section):
                    yield from _sections(each, (*path, name, index))


def _sweep(config: Config) -> Iterator[Problem]:
    sweep = config.sweep
    if sweep is None:
        return
    axes = {("sweep", "grid", key): key for key in sweep.grid}
    axes |= {("sweep", "space", key): key for key in sweep.space}
    moving = {_without_indices(key) for key in axes.values()}
    found = ((where, _axis_problem(key, config, moving)) for where, key in axes.items())
    yield from islice((KeyProblem(where, why) for where, why in found if why), SHOWN)
    yield from _values(sweep)
    metric = sweep.metric  # `regrun sweep` says what is wrong with an unknown one
    if metric in METRICS and not _is_chosen_by_cell(metric, axes.values()):
        for message in missing_for_metric(config, metric):
            yield Problem(("sweep", "metric"), message)


def _is_chosen_by_cell(metric: str, axes: Collection[str]) -> bool:
    """Whether the axes decide who has a metric; each cell is then looked at, with its data."""
    chosen = Metric.from_name(metric)
    keys: set[str] = set()
    if chosen.split == "val":
        keys |= {"dataset", "dataset.name", "dataset.validation"}
    if chosen.average is not None:
        keys |= {"training", f"training.{chosen.average}"}
    return not keys.isdisjoint(axes)


def _axis_problem(key: str, config: Config, moving: set[str]) -> str | None:
    """Why a dotted key cannot be an axis, or None. ``moving``: all axes, without list indices.

    A key that only other kinds have is an axis where the kind itself is one.
    """
    parts = key.split(".")
    if key == "seed" and config.sweep is not None and "seeds" not in config.sweep.model_fields_set:
        return (
            "the seeds of a cell are consecutive: write seed=0..4, or sweep.seeds: 5 without a "
            "seed axis"
        )
    if parts[0] in ("sweep", "name"):
        return f"{parts[0]} cannot be an axis"
    node: Node | None = root()
    value: Any = config
    for at, part in enumerate(parts):
        if isinstance(node, AnyOf):
            node = node.list_or_self()
        if isinstance(node, ListNode):
            index = int(part[:9]) if part.isdecimal() else 0
            entries = value if isinstance(value, tuple) else ()
            node, value = node.item, entries[index] if index < len(entries) else None
            if part.isdecimal():
                continue
        prefix = ".".join(parts[:at])
        if not isinstance(node, SectionNode):
            return f"{prefix} has no keys"
        section = _without_indices(prefix)
        free = value is None or not moving.isdisjoint((section, f"{section}.{node.tag}"))
        kinds: list[type[BaseModel]] = node.distinct() if free else [type(value)]
        having = [kind for kind in kinds if part in fields(kind)]
        if not having and node.kinds_with(part):
            return no_such_key(value.kind, node.kinds_with(part))
        if not having:
            known = [name for kind in kinds for name in fields(kind)]
            meant = nearest(part, known)
            dotted = f"{prefix}.{meant}".lstrip(".") if meant else nearest(key, dotted_keys())
            dotted = dotted or path_in_other_section(part)
            return f"unknown key; did you mean {dotted}?" if dotted else "unknown key"
        node, value = fields(having[0])[part], getattr(value, part, None)
    return None


def _without_indices(key: str) -> str:
    return ".".join(part for part in key.split(".") if not part.isdecimal())


def _values(sweep: Sweep) -> Iterator[Problem]:
    """Infinities and NaNs, which the schema lets pass where any value may stand."""
    lists: dict[KeyPath, tuple[Any, ...]]
    lists = {("sweep", "grid", key): values for key, values in sweep.grid.items()}
    for key, axis in sweep.space.items():
        lists["sweep", "space", key, "choice"] = axis.choice or ()
    for where, values in lists.items():
        for at, value in enumerate(values):
            if not _is_finite(value):
                yield Problem((*where, at), f"{show(value)} is not finite")


def _is_finite(value: Any) -> bool:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return all(map(_is_finite, value))
    return not isinstance(value, float) or math.isfinite(value)
