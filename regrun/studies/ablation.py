"""What each ingredient of a config does: all of them, each left out, each alone, none.

An ingredient is anything that regularizes and that a config has switched on. Its effect is the
metric with it minus the metric without it, paired on shared seeds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from regrun.analysis.cells import Cell
from regrun.analysis.statistics import paired_difference
from regrun.analysis.sweeps import sweep_cells
from regrun.config.load import Loaded, config_from_mapping
from regrun.config.schema import Config
from regrun.errors import UsageError
from regrun.execution.observer import Observer
from regrun.results import AblationResult, Difference, Effect
from regrun.store.sweep_dir import SweepDir
from regrun.sweeps.run import Options, run_sweep
from regrun.sweeps.selection import metric_of

OFF: Mapping[str, Any] = {
    "optimizer.weight_decay": 0.0,
    "optimizer.sam": 0.0,
    "model.input_dropout": 0.0,
    "model.dropout": 0.0,
    "model.conv_dropout": 0.0,
    "model.drop_connect": 0.0,
    "model.input_noise": 0.0,
    "model.stochastic_depth": 0.0,
    "model.norm": "none",
    "augment.label_smoothing": 0.0,
    "augment.mixup": 0.0,
    "augment.cutmix": 0.0,
    "augment.cutout": 0,
    "augment.flip": 0.0,
    "augment.crop": 0,
    "training.clip_norm": None,
    "training.clip_value": None,
    "training.early_stopping": None,
}
"""Dotted key → the value that switches it off."""


@dataclass(frozen=True)
class Ingredient:
    """One thing that regularizes. key: where it stands, such as `penalty.0` or `model.dropout`."""

    name: str
    key: str


def ingredients_of(config: Config) -> list[Ingredient]:
    """Everything that regularizes in a config, in the order of its sections."""
    tree = config.model_dump(mode="json")
    found = [
        Ingredient(
            f"penalty {item['type']}" + (f" {index + 1}" if index else ""), f"penalty.{index}"
        )
        for index, item in enumerate(tree["penalty"])
        if item["strength"]
    ]
    found += [
        Ingredient(item["type"], f"constraints.{index}")
        for index, item in enumerate(tree["constraints"])
    ]
    for key, off in OFF.items():
        value = _at(tree, key)
        active = any(value) if isinstance(value, list) else value not in (None, off)
        if active:
            found.append(Ingredient(key.rpartition(".")[2], key))
    return found


def overrides_without(config: Config, removed: Iterable[Ingredient]) -> dict[str, Any]:
    """Dotted key → value that switch these ingredients off."""
    tree = config.model_dump(mode="json")
    keys = {ingredient.key for ingredient in removed}
    off = {key: OFF[key] for key in OFF if key in keys}
    off |= {f"{key}.strength": 0.0 for key in sorted(keys) if key.startswith("penalty.")}
    if any(key.startswith("constraints.") for key in keys):
        off["constraints"] = [
            item
            for index, item in enumerate(tree["constraints"])
            if f"constraints.{index}" not in keys
        ]
    return off


def ablate(
    loaded: Loaded,
    *,
    runs_dir: Path,
    seeds: int,
    options: Options,
    observer: Observer,
) -> AblationResult:
    """Train the cells of the ablation as a sweep; returns its summary with the effects.

    Raises UsageError when the config has no ingredient, and what `run_sweep` raises.
    """
    config = loaded.config
    found = ingredients_of(config)
    if not found:
        raise UsageError("nothing to ablate: the config has no penalty, constraint, decay or noise")
    subsets = removals(found)
    tree = config.model_dump(mode="json", exclude={"sweep"})
    tree["penalty"] = list(tree["penalty"])
    tree["sweep"] = {
        "cells": [overrides_without(config, removed) for removed in subsets],
        "seeds": seeds,
        "metric": config.sweep.metric if config.sweep else None,
    }
    sweep = run_sweep(
        config_from_mapping(tree), runs_dir=runs_dir, options=options, observer=observer
    )
    cells = sweep_cells(SweepDir(Path(sweep.sweep_dir)))
    metric = metric_of(config).name
    return AblationResult(
        **dict(sweep),
        metric=metric,
        ingredients=[ingredient.name for ingredient in found],
        effects=effects_of(found, subsets, cells, metric),
    )


def removals(found: Sequence[Ingredient]) -> list[frozenset[Ingredient]]:
    """What each cell leaves out: nothing, each one, all but each one, all; each set once."""
    everything = frozenset(found)
    wanted = [
        frozenset(),
        *(frozenset({one}) for one in found),
        *(everything - {one} for one in found),
        everything,
    ]
    return list(dict.fromkeys(wanted))


def effects_of(
    found: Sequence[Ingredient],
    subsets: Sequence[frozenset[Ingredient]],
    cells: Sequence[Cell],
    metric: str,
) -> list[Effect]:
    """The effect of every ingredient, from the cells in the order of the subsets."""
    values = {removed: cell.values(metric) for removed, cell in zip(subsets, cells, strict=True)}
    everything = frozenset(found)
    effects = []
    for one in found:
        whole, without = values[frozenset()], values[frozenset({one})]
        alone, none = values[everything - {one}], values[everything]
        interaction = _difference(_minus(whole, without), _minus(alone, none))
        effects.append(
            Effect(
                ingredient=one.name,
                left_out=_difference(whole, without),
                alone=_difference(alone, none),
                interaction=interaction,
                interacts=interaction.excludes_zero,
            )
        )
    return effects


def _difference(a: Mapping[int, float], b: Mapping[int, float]) -> Difference:
    return Difference(**asdict(paired_difference(a, b)))


def _minus(a: Mapping[int, float], b: Mapping[int, float]) -> dict[int, float]:
    return {seed: a[seed] - b[seed] for seed in a if seed in b}


def _at(tree: Mapping[str, Any], key: str) -> Any:
    value: Any = tree
    for part in key.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(part)
    return value
