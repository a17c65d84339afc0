"""Error rates of a small classifier on splits of small data sets, which are drawn from digits."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

EXAMPLES, TEST = 300, 60
"""Of a data set, and how many of them a split tests on."""


def expected_error_rate(rng: np.random.Generator, draws: int) -> float:
    """The mean error rate on examples of their own, over data sets of the training size."""
    rates = []
    for _ in range(draws):
        order = rng.permutation(len(_digits()[1]))
        rates.append(_error_rate(order[: EXAMPLES - TEST], order[EXAMPLES : EXAMPLES + 500]))
    return float(np.mean(rates))


def error_rates_of_splits(rng: np.random.Generator, splits: int) -> tuple[Floats, float]:
    """The error rates of splits of one data set, and test over training examples."""
    chosen = rng.permutation(len(_digits()[1]))[:EXAMPLES]
    rates = []
    for _ in range(splits):
        order = rng.permutation(chosen)
        rates.append(_error_rate(order[TEST:], order[:TEST]))
    return np.array(rates), TEST / (EXAMPLES - TEST)


def _error_rate(train: Indices, test: Indices) -> float:
    """The share of test examples whose nearest class mean is another class's."""
    inputs, classes = _digits()
    means = np.array([inputs[train[classes[train] == each]].mean(0) for each in range(10)])
    distances = ((inputs[test][:, None] - means) ** 2).sum(-1)
    return float((distances.argmin(1) != classes[test]).mean())


@cache
def _digits() -> tuple[Floats, Indices]:
    digits = load_digits()
    return np.asarray(digits.data, np.float64), np.asarray(digits.target, np.int64)
