"""One rule for the task, whatever holds the targets."""

from __future__ import annotations

import numpy as np
import pytest

from regrun.data.targets import Array, infer_task, is_one_hot

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("y", "task"),
    [
        (np.array(["cat", "dog", "cat"]), "classification"),
        (np.array(["cat", "dog", None], dtype=object), "classification"),
        (np.array([True, False, True]), "classification"),
        (RNG.integers(1, 6, 100), "classification"),
        (RNG.integers(1, 6, 100).astype(float), "classification"),
        (np.repeat(np.arange(1, 27), 10), "classification"),
        (np.repeat(np.arange(1, 27), 9), "regression"),
        (np.repeat(np.arange(2, 28), 50), "regression"),
        (np.repeat([*range(25), 30], 50), "regression"),
        (np.repeat(np.arange(1001), 10), "regression"),
        (RNG.integers(1, 300, 500), "regression"),
        (np.arange(10), "regression"),
        (RNG.normal(size=50), "regression"),
        (RNG.integers(0, 3, 50) / 2, "regression"),
        (np.eye(3)[RNG.integers(0, 3, 50)], "classification"),
        (np.eye(3, dtype=bool)[RNG.integers(0, 3, 50)], "classification"),
        (RNG.integers(0, 2, (50, 3)), "regression"),
        (RNG.normal(size=(50, 2)), "regression"),
    ],
)
def test_the_task_is_that_of_the_documented_rule(y: Array, task: str) -> None:
    for shaped in (y, y[:, None]) if y.ndim == 1 else (y,):
        inferred = infer_task([shaped], "y")
        assert inferred.task == task
        assert inferred.reason


def test_integers_are_a_guess_and_text_is_none() -> None:
    assert infer_task([RNG.integers(1, 6, 100)], "stars").notes == [
        "task: classification, since stars holds 5 different integers, 1 to 5 "
        "(dataset.task: regression predicts them as numbers)"
    ]
    assert infer_task([RNG.integers(1, 300, 500)], "y").notes
    assert not infer_task([np.array(["a", "b"])], "y").notes
    assert not infer_task([RNG.normal(size=9)], "y").notes


def test_labels_as_libraries_encode_them_are_no_guess_and_columns_of_shares_are_one() -> None:
    assert not infer_task([RNG.integers(0, 5, 200)], "y").notes
    assert infer_task([RNG.integers(0, 5, 200).astype(float)], "y").notes
    assert infer_task([RNG.integers(0, 2, (50, 3))], "y").notes
    assert infer_task([RNG.dirichlet([1, 1, 1], 50)], "y").notes


def test_all_parts_decide_together() -> None:
    train, test = np.array([0, 1] * 20), np.array([0.5])
    assert infer_task([train], "y").task == "classification"
    assert infer_task([train, test], "y").task == "regression"


def test_a_single_column_is_not_one_hot() -> None:
    assert not is_one_hot([np.ones((5, 1))])
    assert is_one_hot([np.eye(4), np.eye(4)[:2]])
    assert not is_one_hot([np.eye(4), np.zeros((1, 4))])
