"""Ingredients of a config, and what leaving them out does."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import regrun
from regrun.analysis.cells import Cell, ScaleChoice
from regrun.analysis.statistics import mean_interval
from regrun.analysis.sweeps import SweptRun
from regrun.analysis.test_sets import combine
from regrun.config.load import config_from_mapping
from regrun.config.schema import Config
from regrun.errors import UsageError
from regrun.execution.observer import Observer
from regrun.kinds.base import Choices, Described, Section
from regrun.kinds.ingredients import Ingredient, ingredients_of, overrides_without
from regrun.results import RunSummary
from regrun.store.run_dir import RunDir
from regrun.studies.ablation import (
    ablate,
    effects_of,
    removals,
)
from regrun.sweeps.run import Options

BASE: dict[str, Any] = {
    "dataset": {"name": "digits", "num_train": 40, "num_test": 40},
    "model": {"name": "mlp", "hidden": [6]},
    "optimizer": {"name": "sgd", "lr": 0.1},
    "training": {"epochs": 2, "batch_size": 20},
}
ALL_ON: dict[str, Any] = {
    "optimizer.weight_decay": 0.1,
    "optimizer.sam": 0.05,
    "optimizer.lookahead": {"k": 3},
    "model.input_dropout": 0.1,
    "model.dropout": [0.2],
    "model.drop_connect": 0.1,
    "model.input_noise": 0.1,
    "model.norm": "layer",
    "model.weight_standardization": True,
    "augment.label_smoothing": 0.1,
    "augment.mixup": 0.2,
    "augment.cutmix": 0.2,
    "augment.manifold_mixup": 0.2,
    "augment.cutout": 2,
    "augment.flip": 0.5,
    "augment.crop": 1,
    "training.r_drop": {"alpha": 0.5},
    "training.clip_norm": 1.0,
    "training.clip_value": 0.1,
    "training.early_stopping": {"metric": "test/loss"},
}


def config(**overrides: Any) -> Config:
    return config_from_mapping(BASE, overrides).config


def names(found: Sequence[Ingredient]) -> list[str]:
    return [ingredient.name for ingredient in found]


def test_a_plain_config_has_no_ingredient() -> None:
    assert ingredients_of(config()) == []


@pytest.mark.parametrize("key", ALL_ON)
def test_everything_that_regularizes_is_found_and_can_be_switched_off(key: str) -> None:
    loaded = config_from_mapping(BASE, {key: ALL_ON[key]})
    found = ingredients_of(loaded.config)
    assert [ingredient.key for ingredient in found] == [key]
    without = overrides_without(loaded.config, found)
    assert list(without) == [key]
    assert ingredients_of(loaded.member(without).config) == []


@pytest.mark.parametrize(
    ("model", "key", "value"),
    [
        ({"name": "cnn", "channels": [2], "hidden": [4]}, "model.conv_dropout", 0.2),
        (
            {"name": "mlp", "hidden": [4, 4], "residual": True},
            "model.stochastic_depth",
            0.5,
        ),
    ],
)
def test_so_are_the_keys_of_other_models(model: dict[str, Any], key: str, value: float) -> None:
    loaded = config_from_mapping({**BASE, "model": model}, {key: value})
    found = ingredients_of(loaded.config)
    assert [ingredient.key for ingredient in found] == [key]
    assert ingredients_of(loaded.member(overrides_without(loaded.config, found)).config) == []


def test_every_key_that_regularizes_is_one_of_those_tested() -> None:
    """A new key with a mark says here how it is switched on."""
    marked = {
        f"{part}.{key}"
        for part, field in Config.model_fields.items()
        for section in sections_of(field.annotation)
        for key, inner in section.model_fields.items()
        for mark in inner.metadata
        for each in (mark.values() if isinstance(mark, Choices) else [mark])
        if isinstance(each, Described) and each.regularizes
    }
    elsewhere = {"model.conv_dropout", "model.stochastic_depth"}
    assert marked == {*ALL_ON, *elsewhere}


def sections_of(annotation: Any) -> Iterator[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    for argument in get_args(annotation):
        yield from sections_of(argument)


def test_averages_are_no_ingredients() -> None:
    """They are evaluated on their own: leaving one out changes nothing that is compared."""
    averaged = {"training.ema": 0.9, "training.swa": {"start": 1}}
    assert ingredients_of(config(**averaged)) == []


def test_penalties_and_constraints_are_ingredients_one_by_one() -> None:
    loaded = config_from_mapping(
        BASE,
        {
            "penalty": [
                {"type": "l1", "strength": 0.1},
                {"type": "l2", "strength": 0},
                {"type": "l2", "strength": 0.3},
            ],
            "constraints": [{"type": "max_norm", "limit": 1}, {"type": "non_negative"}],
        },
    )
    found = ingredients_of(loaded.config)
    assert [ingredient.key for ingredient in found] == [
        "penalty.0",
        "penalty.2",
        "constraints.0",
        "constraints.1",
    ]
    assert len(set(names(found))) == 4
    member = loaded.member(overrides_without(loaded.config, [found[1], found[2]])).config
    assert names(ingredients_of(member)) == [found[0].name, found[3].name]


def made(count: int) -> list[Ingredient]:
    return [Ingredient(f"i{index}", f"k{index}") for index in range(count)]


@given(st.integers(1, 9))
def test_each_set_of_ingredients_is_trained_once(count: int) -> None:
    found = made(count)
    subsets = removals(found)
    assert len(subsets) == len(set(subsets))
    # With one or two, leaving one out and keeping one alone are the same cells.
    assert len(subsets) == {1: 2, 2: 4}.get(count, 2 * count + 2)
    everything = frozenset(found)
    for one in found:
        assert {frozenset({one}), everything - {one}} <= set(subsets)


def ended(seed: int, value: float | None) -> SweptRun:
    metrics: dict[str, float | None] = {} if value is None else {"test/loss": value}
    summary = RunSummary(run_dir="", status="completed", metrics=metrics)
    return SweptRun(RunDir(Path()), {"seed": seed}, summary)


def cells_of(
    found: Sequence[Ingredient],
    losses: Mapping[frozenset[str], Sequence[float | None]],
    scale: ScaleChoice = "linear",
) -> list[Cell]:
    """A cell per subset of `removals`; losses: names kept → a value per seed."""
    everything = frozenset(found)
    return [
        Cell(
            {},
            [
                ended(seed, value)
                for seed, value in enumerate(losses[frozenset(names(list(everything - removed)))])
            ],
            scale,
        )
        for removed in removals(found)
    ]


TWO = {
    frozenset({"i0", "i1"}): [1.0, 1.2, 0.9],
    frozenset({"i0"}): [2.0, 2.4, 2.1],
    frozenset({"i1"}): [1.5, 1.8, 1.3],
    frozenset[str](): [3.0, 3.1, 3.3],
}
"""Two ingredients, three seeds."""


def test_effects_are_the_paired_differences_by_hand() -> None:
    found = made(2)
    first, second = effects_of(found, removals(found), cells_of(found, TWO), "test/loss")
    assert first.ingredient == "i0"
    assert first.left_out.mean == pytest.approx((-0.5 - 0.6 - 0.4) / 3)
    assert first.alone.mean == pytest.approx((-1.0 - 0.7 - 1.2) / 3)
    # (1 − 1.5) − (2 − 3) = 0.5, 0.1 and 0.8.
    expected = mean_interval([0.5, 0.1, 0.8])
    assert first.interaction.mean == pytest.approx(expected.mean)
    assert first.interaction.low == pytest.approx(expected.low)
    assert first.interaction.high == pytest.approx(expected.high)
    assert second.left_out.mean == pytest.approx((-1.0 - 1.2 - 1.2) / 3)
    # Of two ingredients the interaction is one and the same number.
    assert second.interaction.mean == pytest.approx(first.interaction.mean)


def test_of_losses_they_are_ratios_by_hand() -> None:
    found = made(2)
    first, _ = effects_of(found, removals(found), cells_of(found, TWO, "auto"), "test/loss")
    assert first.left_out.scale == "log"
    assert first.left_out.mean == pytest.approx((1.0 / 1.5 * 1.2 / 1.8 * 0.9 / 1.3) ** (1 / 3))
    interactions = [1.0 * 3.0 / 1.5 / 2.0, 1.2 * 3.1 / 1.8 / 2.4, 0.9 * 3.3 / 1.3 / 2.1]
    expected = mean_interval(interactions, "log")
    assert first.interaction.mean == pytest.approx(expected.mean)
    assert first.interaction.low == pytest.approx(expected.low)
    assert first.interaction.high == pytest.approx(expected.high)


def additive(noise: Sequence[float], joint: float = 0.0) -> dict[frozenset[str], list[float]]:
    """Losses 3 − 1·[i0] − 0.5·[i1] − 0.25·[i2] + joint·[i0 and another], plus noise per seed."""
    losses = {}
    worth = {"i0": 1.0, "i1": 0.5, "i2": 0.25}
    for kept in [
        ["i0", "i1", "i2"], ["i1", "i2"], ["i0", "i2"], ["i0", "i1"], ["i0"], ["i1"], ["i2"], [],
    ]:  # fmt: skip
        mean = 3 - sum(worth[name] for name in kept)
        mean += joint if "i0" in kept and len(kept) > 1 else 0
        jitter = 0.01 * len(kept)
        losses[frozenset(kept)] = [mean + each * (1 + jitter) for each in noise]
    return losses


def test_what_adds_up_does_not_interact() -> None:
    found = made(3)
    cells = cells_of(found, additive([-1.0, 0.2, 0.5, 0.3]))
    for effect in effects_of(found, removals(found), cells, "test/loss"):
        assert not effect.interacts
        assert effect.left_out.mean == pytest.approx(effect.alone.mean, abs=0.02)


def test_an_ingredient_that_acts_only_alone_is_flagged() -> None:
    found = made(3)
    cells = cells_of(found, additive([-0.1, 0.02, 0.05, 0.03], joint=1.0))
    effects = {e.ingredient: e for e in effects_of(found, removals(found), cells, "test/loss")}
    assert effects["i0"].interacts
    assert effects["i0"].left_out.mean == pytest.approx(0, abs=0.01)
    assert effects["i0"].alone.mean == pytest.approx(-1, abs=0.01)


def test_of_one_ingredient_company_and_alone_are_the_same() -> None:
    found = made(1)
    losses = {frozenset({"i0"}): [1.0, 2.0], frozenset[str](): [2.0, 2.5]}
    (effect,) = effects_of(found, removals(found), cells_of(found, losses), "test/loss")
    assert effect.left_out == effect.alone
    assert effect.interaction.mean == 0
    assert not effect.interacts


def test_one_seed_cannot_separate_an_effect_from_chance() -> None:
    found = made(2)
    losses = {kept: values[:1] for kept, values in TWO.items()}
    effect = effects_of(found, removals(found), cells_of(found, losses), "test/loss")[0]
    assert effect.left_out.mean == pytest.approx(-0.5)
    assert (effect.left_out.low, effect.left_out.high, effect.interacts) == (None, None, False)


def test_a_run_without_a_value_takes_its_seed_out_of_the_pair() -> None:
    found = made(2)
    losses: dict[frozenset[str], Sequence[float | None]] = {
        **TWO,
        frozenset({"i1"}): [1.5, None, 1.3],
    }
    effect = effects_of(found, removals(found), cells_of(found, losses), "test/loss")[0]
    assert effect.left_out.n == 2
    assert effect.left_out.mean == pytest.approx((-0.5 - 0.4) / 2)
    assert effect.alone.n == 3
    assert effect.interaction.n == 2


def test_without_ingredients_there_is_nothing_to_ablate(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing to ablate"):
        ablate(
            config_from_mapping(BASE),
            runs_dir=tmp_path,
            seeds=2,
            options=Options(),
            observer=Observer(),
        )
    assert list(tmp_path.iterdir()) == []


def test_a_small_ablation_has_the_effects_that_its_runs_have(tmp_path: Path) -> None:
    loaded = config_from_mapping(
        BASE,
        {
            "name": "small",
            "model.dropout": 0.5,
            "optimizer.weight_decay": 0.2,
            "penalty": {"type": "l1", "strength": 0.01},
        },
    )
    result = ablate(
        loaded,
        runs_dir=tmp_path,
        seeds=2,
        options=Options(device="cpu", workers=0),
        observer=Observer(),
    )
    assert result.ingredients == ["dropout", "penalty l1", "weight_decay"]
    assert (result.runs, result.completed) == (16, 16)
    assert result.metric == "test/loss"
    loss: dict[tuple[frozenset[str], int], float] = {}
    for path in Path(result.sweep_dir).glob("*/summary.json"):
        run = config_from_mapping(path.parent / "config.yaml").config
        kept = frozenset(names(ingredients_of(run)))
        loss[kept, run.seed] = json.loads(path.read_text())["metrics"]["test/loss"]
    everything = frozenset(result.ingredients)
    assert len(loss) == 16
    for effect in result.effects:
        one = effect.ingredient
        company = [loss[everything, s] / loss[everything - {one}, s] for s in (0, 1)]
        alone = [loss[frozenset({one}), s] / loss[frozenset(), s] for s in (0, 1)]
        assert effect.left_out.mean == pytest.approx(math.sqrt(math.prod(company)))
        assert effect.alone.mean == pytest.approx(math.sqrt(math.prod(alone)))
        p = effect.interaction.adjusted_p
        assert p is not None
        assert effect.interacts == (p <= 0.05)


@pytest.mark.parametrize(("metric", "relative"), [("test/loss", True), ("test/accuracy", False)])
def test_with_stored_test_examples_effects_hold_for_another_test_set(
    metric: str, relative: bool, tmp_path: Path
) -> None:
    """The interval of each effect by hand, from the results on single examples."""
    config: dict[str, Any] = {
        "dataset": {"name": "digits", "num_train": 60, "num_test": 80},
        "model": {"name": "mlp", "hidden": [8], "dropout": 0.5},
        "optimizer": {"name": "sgd", "lr": 0.1, "weight_decay": 0.05},
        "training": {"epochs": 2},
        "sweep": {"metric": metric, "vary": ["seed"]},
    }
    plain, stored = (
        regrun.ablate(
            config, {"training.test_examples": kept}, seeds=3, runs_dir=tmp_path, device="cpu"
        )
        for kept in (False, True)
    )
    column = metric.partition("/")[2].replace("accuracy", "correct")

    def contributions(**setting: float) -> np.ndarray:
        """What each example adds to the mean, or to its logarithm."""
        keys = {"dropout": "model.dropout", "decay": "optimizer.weight_decay"}
        runs = stored.runs
        for name, key in keys.items():
            value = setting.get(name, 0.0)
            own = runs[key].fillna(config["model" if name == "dropout" else "optimizer"]
                                   [key.partition(".")[2]])  # fmt: skip
            runs = runs[own.astype(float) == value]
        assert len(runs) == 3
        losses = np.stack(
            [regrun.load_run(each).test_examples[column] for each in runs["run_dir"]]
        ).astype(float)
        found: np.ndarray = losses / losses.mean(1, keepdims=True) if relative else losses
        return np.asarray(found.mean(0))

    whole, none = contributions(dropout=0.5, decay=0.05), contributions()
    alone = {"dropout": contributions(dropout=0.5), "weight_decay": contributions(decay=0.05)}
    for effect, before in zip(stored.summary.effects, plain.summary.effects, strict=True):
        own, other = alone.pop(effect.ingredient), next(iter(alone.values()))
        alone[effect.ingredient] = own
        wanted = {"left_out": whole - other, "alone": own - none}
        wanted["interaction"] = whole + none - other - own
        for name, examples in wanted.items():
            found, seeds = getattr(effect, name), getattr(before, name)
            assert found.mean == pytest.approx(seeds.mean)
            if seeds.low is None:
                continue
            ends = [seeds.low, seeds.high, found.low, found.high]
            low, high, wider_low, wider_high = np.log(ends) if relative else ends
            quantile = stats.t.ppf(0.975, 2)
            combined = combine((high - low) / 2 / quantile, 2, stats.sem(examples), 79)
            half = combined.error * stats.t.ppf(0.975, combined.df)
            assert (wider_high - wider_low) / 2 == pytest.approx(half, rel=1e-4)
            assert found.adjusted_p >= seeds.adjusted_p
