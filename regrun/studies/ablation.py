"""What each ingredient of a config does: all of them, each left out, each alone, none.

An ingredient is anything that regularizes and that a config has switched on. Its effect is the
metric with it minus the metric without it, paired on shared seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from regrun.analysis.cells import Cell
from regrun.analysis.statistics import paired_difference
from regrun.analysis.sweeps import sweep_cells
from regrun.config.load import Loaded
from regrun.errors import UsageError
from regrun.execution.observer import Observer
from regrun.kinds.ingredients import Ingredient, ingredients_of, overrides_without
from regrun.results import AblationResult, Effect
from regrun.store.sweep_dir import SweepDir
from regrun.sweeps.run import Options, run_sweep
from regrun.sweeps.selection import metric_of


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
    section = {
        "cells": [dict(overrides_without(config, removed)) for removed in subsets],
        "seeds": seeds,
        "metric": config.sweep.metric if config.sweep else None,
        "vary": config.sweep.vary if config.sweep else None,
    }
    sweep = run_sweep(
        loaded.with_keys(sweep=section), runs_dir=runs_dir, options=options, observer=observer
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
        interaction = paired_difference(_minus(whole, without), _minus(alone, none))
        effects.append(
            Effect(
                ingredient=one.name,
                left_out=paired_difference(whole, without),
                alone=paired_difference(alone, none),
                interaction=interaction,
                interacts=interaction.excludes_zero,
            )
        )
    return effects


def _minus(a: Mapping[int, float], b: Mapping[int, float]) -> dict[int, float]:
    return {seed: a[seed] - b[seed] for seed in a if seed in b}
