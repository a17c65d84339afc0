"""What each ingredient of a config does: all of them, each left out, each alone, none.

An ingredient is anything that regularizes and that a config has switched on. Its effect is the
metric with it minus the metric without it, of losses the ratio, paired on shared replicates. All
effects and interactions of a study are tested together by `analysis.rotation`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from regrun.analysis.cells import Cell, Replicate
from regrun.analysis.effects import Contrast, estimate_contrasts
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
    by_removal = dict(zip(subsets, cells, strict=True))
    everything = frozenset(found)
    contrasts: list[Contrast[Replicate]] = []
    for one in found:
        whole, without, alone, none = (
            by_removal[removed].values(metric)
            for removed in (frozenset(), frozenset({one}), everything - {one}, everything)
        )
        contrasts += [
            Contrast([whole], [without]),
            Contrast([alone], [none]),
            Contrast([whole, none], [without, alone]),
        ]
    first = cells[0]
    estimates = estimate_contrasts(contrasts, first.scale(metric), first.overlap(metric))
    return [
        Effect(
            ingredient=one.name,
            left_out=estimates[3 * index],
            alone=estimates[3 * index + 1],
            interaction=estimates[3 * index + 2],
            interacts=estimates[3 * index + 2].is_certain,
        )
        for index, one in enumerate(found)
    ]
