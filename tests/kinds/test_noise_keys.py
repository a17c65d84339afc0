"""The keys of noise: what they refuse, and where they say it."""

from __future__ import annotations

from typing import Any

import pytest

from regrun.config.load import config_from_mapping
from regrun.errors import ConfigError

BASE: dict[str, Any] = {"dataset": {"name": "digits"}, "optimizer": {"name": "sgd", "lr": 0.1}}


@pytest.mark.parametrize(
    ("model", "where", "said"),
    [
        ({"name": "mlp", "dropout": [0.1]}, "dropout", "1 rates for 2 hidden layers"),
        ({"name": "cnn", "conv_dropout": [0.1]}, "conv_dropout", "1 rates for 2 blocks"),
        ({"name": "mlp", "conv_dropout": 0.1}, "conv_dropout", "mlp has no such key; cnn has it"),
        ({"name": "linear", "dropout": 0.1}, "dropout", "linear has no such key; mlp, cnn and "),
        (
            {"name": "mlp", "dropout": [0.1, 1], "dropout_type": "gaussian"},
            "dropout",
            "1 under dropout_type: gaussian is noise of infinite variance p/(1−p); "
            "use a rate below 1",
        ),
        (
            {"name": "cnn", "conv_dropout": 1, "dropout_type": "gaussian"},
            "conv_dropout",
            "1 under dropout_type: gaussian",
        ),
        (
            {"name": "mlp", "dropout_type": "alpha"},
            "dropout_type",
            "alpha keeps the mean and variance that SELU gives, not those of relu",
        ),
        (
            {"name": "mlp", "dropout_type": "spatial"},
            "dropout_type",
            "'spatial' is not one of standard, gaussian, alpha",
        ),
        ({"name": "mlp", "residual": True, "hidden": [3, 4]}, "residual", "of one width"),
        ({"name": "mlp", "residual": True, "hidden": [3]}, "residual", "two or more hidden layers"),
        ({"name": "mlp", "stochastic_depth": 0.1}, "stochastic_depth", "use residual: true"),
        ({"name": "mlp", "drop_connect": 1.1}, "drop_connect", "1.1"),
        ({"name": "linear", "input_noise": -1}, "input_noise", "-1"),
    ],
)
def test_noise_that_means_nothing_is_refused_at_its_key(
    model: dict[str, Any], where: str, said: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        config_from_mapping({**BASE, "model": model})
    (problem,) = caught.value.problems
    assert problem.path == ("model", where)
    assert said in problem.message


@pytest.mark.parametrize(
    ("augment", "where"),
    [
        ({"label_smoothing": 1.1}, "label_smoothing"),
        ({"mixup": -0.1}, "mixup"),
        ({"cutout": 0.5}, "cutout"),
        ({"crop": -1}, "crop"),
        ({"flip": 2}, "flip"),
        ({"cut_mix": 1}, "cut_mix"),
    ],
)
def test_augmentations_refuse_what_is_out_of_bounds(augment: dict[str, Any], where: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config_from_mapping({**BASE, "model": {"name": "mlp"}, "augment": augment})
    assert [problem.path for problem in caught.value.problems] == [("augment", where)]


def test_a_rate_of_one_is_allowed_where_it_means_zeros() -> None:
    for model in (
        {"name": "mlp", "dropout": 1, "drop_connect": 1},
        {"name": "mlp", "dropout": 1, "dropout_type": "alpha", "activation": "selu"},
        {"name": "cnn", "conv_dropout": 1, "dropout_type": "spatial"},
        {"name": "mlp", "residual": True, "stochastic_depth": 1},
    ):
        config_from_mapping({**BASE, "model": model})
