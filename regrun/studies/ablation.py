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
from regrun.analysis.sweeps import StoredSweep
from regrun.config.changes import Reload
from regrun.config.load import Loaded, load_config
from regrun.errors import CorruptInputError, UsageError
from regrun.execution.interrupt import catching_signals
from regrun.execution.observer import Observer
from regrun.kinds.ingredients import Ingredient, ingredients_of, overrides_without
from regrun.results import AblationResult, Effect, SweepSummary
from regrun.store.atomic import remove_stale_temporaries
from regrun.store.reading import read_document
from regrun.store.study import AblatedIngredient, AblationStudy
from regrun.store.sweep_dir import SweepDir
from regrun.sweeps.run import Options, resume_sweep, run_sweep
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
    study = AblationStudy(
        verb="ablate",
        ingredients=[AblatedIngredient(name=one.name, key=one.key) for one in found],
    )
    sweep = run_sweep(
        loaded.with_keys(sweep=section),
        runs_dir=runs_dir,
        options=options,
        observer=observer,
        study=study,
    )
    with catching_signals():  # all is trained: too late to stop
        return with_effects(sweep, study)


def resume_ablation(
    directory: Path,
    study: AblationStudy,
    *,
    reload: Reload | None = None,
    seeds: int | None = None,
    options: Options,
    observer: Observer,
) -> AblationResult:
    """Carry on the sweep of an ablation, or give it more; see `resume_sweep`."""
    remove_stale_temporaries(directory)
    sweep = resume_sweep(directory, reload=reload, seeds=seeds, options=options, observer=observer)
    with catching_signals():
        return with_effects(sweep, study)


def with_effects(sweep: SweepSummary, study: AblationStudy) -> AblationResult:
    """The summary with the effects, which is stored in place of that of a mere sweep."""
    files = SweepDir(Path(sweep.sweep_dir))
    found = [Ingredient(one.name, one.key) for one in study.ingredients]
    subsets = removals(found)
    cells = StoredSweep(files).cells
    if len(cells) < len(subsets):
        raise CorruptInputError(
            f"{files.plan}: {len(cells)} cells, where an ablation of {len(found)} ingredients has "
            f"{len(subsets)}"
        )
    metric = metric_of(load_config(read_document(files.config)).config).name
    result = AblationResult(
        **dict(sweep),
        metric=metric,
        ingredients=[ingredient.name for ingredient in found],
        effects=effects_of(found, subsets, cells[: len(subsets)], metric),
    )
    if files.summary.exists():
        files.store_summary(result)
    return result


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
            by_removal[removed]
            for removed in (frozenset(), frozenset({one}), everything - {one}, everything)
        )
        contrasts += [
            _contrast([whole], [without], metric),
            _contrast([alone], [none], metric),
            _contrast([whole, none], [without, alone], metric),
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


def _contrast(plus: Sequence[Cell], minus: Sequence[Cell], metric: str) -> Contrast[Replicate]:
    """The contrast of some cells, with the error of their test set where all runs stored it."""
    sides = [*plus, *minus]
    values = [cell.values(metric) for cell in sides]
    examples = [cell.test_examples(metric) for cell in sides]
    known = [each for each in examples if each is not None]
    count = len(plus)
    add_errors = None
    if len(known) == len(sides) and len({each.shape[1] for each in known}) == 1:
        from regrun.analysis.test_sets import contrast_sampling_error, with_sampling_error

        positive = all(value > 0 for each in values for value in each.values())
        relative = sides[0].scale(metric) == "log" and positive
        error = contrast_sampling_error(known[:count], known[count:], relative=relative)
        add_errors = with_sampling_error(error, known[0].shape[1])
    return Contrast(values[:count], values[count:], add_errors)
