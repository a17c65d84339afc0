"""The metric that a sweep selects by, and the cell it selects."""

from __future__ import annotations

from typing import Any

import pytest

from regrun.config.load import config_from_mapping
from regrun.config.schema import Config
from regrun.errors import ConfigError
from regrun.sweeps.selection import check_selection, metric_of

SPACE = {"optimizer.lr": {"log_uniform": [0.01, 1.0]}}


def config(sweep: dict[str, Any] | None, validation: float = 0) -> Config:
    return config_from_mapping(
        {
            "dataset": {"name": "digits", "validation": validation},
            "model": {"name": "linear"},
            "optimizer": {"name": "sgd", "lr": 0.1},
            "sweep": sweep,
        }
    ).config


@pytest.mark.parametrize(
    ("sweep", "validation", "expected"),
    [
        (None, 0, ("test/loss", "minimize")),
        (None, 0.2, ("val/loss", "minimize")),
        ({}, 0, ("test/loss", "minimize")),
        ({"metric": "test/loss"}, 0.2, ("test/loss", "minimize")),
        ({"metric": "val/accuracy"}, 0.2, ("val/accuracy", "maximize")),
        ({"grid": {"dataset.validation": [0.1, 0.2]}}, 0, ("val/loss", "minimize")),
        ({"grid": {"dataset.validation": [0, 0.2]}}, 0.2, ("test/loss", "minimize")),
        (
            {"search": "random", "space": {"dataset.validation": {"uniform": [0.1, 0.3]}}},
            0,
            ("val/loss", "minimize"),
        ),
        (
            {"search": "random", "space": {"dataset.validation": {"uniform": [0.0, 0.3]}}},
            0.2,
            ("test/loss", "minimize"),
        ),
    ],
)
def test_cells_are_ordered_by_validation_where_every_cell_has_one(
    sweep: dict[str, Any] | None, validation: float, expected: tuple[str, str]
) -> None:
    metric = metric_of(config(sweep, validation))
    assert (metric.name, metric.direction) == expected


@pytest.mark.parametrize(
    ("sweep", "validation", "message"),
    [
        (
            {"search": "tpe", "space": SPACE},
            0,
            "tpe chooses by the validation set and there is none; give dataset.validation",
        ),
        (
            {"pruner": "asha", "grid": {"optimizer.lr": [1, 2]}},
            0,
            "asha chooses by the validation set and there is none; give dataset.validation",
        ),
        (
            {"search": "random", "space": SPACE, "metric": "test/accuracy"},
            0.2,
            "random would choose by the test set (test/accuracy); use val/accuracy",
        ),
        ({"metric": "val/acuracy"}, 0.2, 'did you mean "val/accuracy"?'),
    ],
)
def test_choosing_by_the_test_set_is_refused(
    sweep: dict[str, Any], validation: float, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        check_selection(config(sweep, validation))
    assert message in str(caught.value)
    assert caught.value.problems[0].path == ("sweep", "metric")


@pytest.mark.parametrize(
    ("sweep", "validation"),
    [
        (None, 0),
        ({"grid": {"optimizer.lr": [1, 2]}}, 0),
        ({"search": "tpe", "space": SPACE}, 0.2),
        ({"search": "tpe", "space": SPACE, "select_on_test": True}, 0),
        ({"search": "tpe", "space": SPACE, "metric": "test/loss", "select_on_test": True}, 0.2),
        ({"pruner": "median", "metric": "train/loss", "grid": {"optimizer.lr": [1, 2]}}, 0),
    ],
)
def test_what_does_not_choose_by_the_test_set_or_says_so_is_let_pass(
    sweep: dict[str, Any] | None, validation: float
) -> None:
    check_selection(config(sweep, validation))


def averaged(sweep: dict[str, Any]) -> Config:
    tree = config(None, 0.2).model_dump()
    tree["training"] |= {"ema": 0.9, "swa": {"start": 2}}
    return config_from_mapping({**tree, "sweep": sweep}).config


def test_the_test_set_does_not_choose_through_an_average_either() -> None:
    with pytest.raises(ConfigError, match=r"use ema/val/loss with dataset\.validation"):
        check_selection(averaged({"search": "tpe", "space": SPACE, "metric": "ema/test/loss"}))
    check_selection(averaged({"search": "tpe", "space": SPACE, "metric": "swa/val/loss"}))
    metric = metric_of(averaged({"metric": "ema/val/accuracy"}))
    assert (metric.name, metric.direction) == ("ema/val/accuracy", "maximize")


def test_no_pruner_waits_for_an_average_that_begins_late() -> None:
    grid = {"optimizer.lr": [1, 2]}
    with pytest.raises(ConfigError, match="use ema/val/loss or val/loss") as caught:
        check_selection(averaged({"grid": grid, "pruner": "median", "metric": "swa/val/loss"}))
    assert caught.value.problems[0].path == ("sweep", "metric")
    check_selection(averaged({"grid": grid, "pruner": "median", "metric": "ema/val/loss"}))
