"""Every noise that a config switches on stands in the update rule, and no other."""

from __future__ import annotations

from typing import Any

import pytest

from regrun.config.schema import Config
from regrun.inspection.update_rule import update_rule


def lines(model: dict[str, Any], **augment: Any) -> list[str]:
    """The rule's lines that a config without noise does not have."""

    def rule(model: dict[str, Any], augment: dict[str, Any]) -> list[str]:
        config = Config.model_validate(
            {
                "dataset": {"name": "digits"},
                "model": model,
                "optimizer": {"name": "sgd", "lr": 0.1},
                "loss": "cross_entropy",
                "augment": augment,
            }
        )
        return update_rule(config)

    quiet = rule({"name": model["name"]}, {})
    noisy = rule(model, augment)
    assert set(quiet) <= set(noisy)
    return [line for line in noisy if line not in quiet]


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"name": "mlp"}, []),
        (
            {"name": "mlp", "input_noise": 0.5, "input_dropout": 0.1},
            [
                "x ← x + N(0, 0.5²)   (input noise)",
                "x ← x · m / (1−p),  m ~ Bernoulli(1−p)   (input dropout, p = 0.1)",
            ],
        ),
        (
            {"name": "mlp", "dropout": [0.2, 0.5]},
            ["h ← h · m / (1−p),  m ~ Bernoulli(1−p)   (dropout, standard, p = 0.2, 0.5)"],
        ),
        (
            {"name": "mlp", "dropout": 0.5, "dropout_type": "gaussian"},
            ["h ← h · N(1, p/(1−p))   (dropout, gaussian, p = 0.5)"],
        ),
        (
            {"name": "mlp", "dropout": 0.5, "dropout_type": "alpha", "activation": "selu"},
            [
                "h ← a (h where m, else −1.7581) + b,  m ~ Bernoulli(1−p)   "
                "(dropout, alpha, p = 0.5)"
            ],
        ),
        (
            {"name": "cnn", "conv_dropout": 0.3, "dropout_type": "spatial"},
            [
                "h ← h · m / (1−p),  m ~ Bernoulli(1−p) per channel   "
                "(conv_dropout, spatial, p = 0.3)"
            ],
        ),
        (
            {
                "name": "cnn",
                "conv_dropout": [0.1, 0.2],
                "dropout": 0.5,
                "dropout_type": "drop_block",
                "block_size": 5,
            },
            [
                "h ← h · m |m| / Σm,  m = 0 in k×k squares, each with probability "
                "p H W / (k² (H−k+1) (W−k+1))   (conv_dropout, drop_block, p = 0.1, 0.2, "
                "k = 5, or a side that is shorter)",
                "h ← h · m / (1−p),  m ~ Bernoulli(1−p)   (dropout, standard, p = 0.5)",
            ],
        ),
        (
            {"name": "mlp", "drop_connect": 0.5},
            [
                "W ← W · m / (1−p),  m ~ Bernoulli(1−p), one per step   "
                "(DropConnect, p = 0.5, hidden layers)"
            ],
        ),
        (
            {"name": "mlp", "residual": True, "hidden": [8, 8, 8], "stochastic_depth": 0.5},
            [
                "h ← h + layer(h) · m / (1−p),  m ~ Bernoulli(1−p) per example   "
                "(stochastic depth, p = 0.5 · l / 2)"
            ],
        ),
        (
            {"name": "squeezenet1_1", "dropout": 0.5},
            ["h ← h · m / (1−p),  m ~ Bernoulli(1−p)   (dropout, p = 0.5)"],
        ),
    ],
)
def test_the_noise_of_the_network_is_said(model: dict[str, Any], said: list[str]) -> None:
    assert lines(model) == said


def test_what_is_done_to_batches_is_said_in_the_order_it_is_done() -> None:
    said = lines(
        {"name": "mlp", "dropout": 0.5},
        flip=0.5, crop=4, cutout=8, mixup=0.2, cutmix=1, label_smoothing=0.1,
    )  # fmt: skip
    assert said == [
        "x ← x moved by up to ±4 pixels, 0 outside   (crop)",
        "x ← x mirrored left to right with probability 0.5   (flip)",
        "x ← 0 in a square of 8×8 pixels anywhere   (cutout)",
        "x ← λ x + (1−λ) x′,  λ ~ Beta(0.2, 0.2)   (mixup, one of the two per batch)",
        "x ← x′ in a box of the share 1−λ,  λ ~ Beta(1, 1)   (cutmix, one of the two per batch)",
        "h ← h · m / (1−p),  m ~ Bernoulli(1−p)   (dropout, standard, p = 0.5)",
        "L ← λ L(y) + (1−λ) L(y′)   (targets mixed as the inputs)",
        "L ← 0.9 L + 0.1 mean over classes of −log p   (label smoothing)",
    ]


def test_manifold_mixup_is_said_with_the_loss_that_it_mixes() -> None:
    assert lines({"name": "mlp"}, manifold_mixup=0.5) == [
        "h_l ← λ h_l + (1−λ) h_l′,  λ ~ Beta(0.5, 0.5),  l uniform on the input, 0, and the hidden "
        "layers   (manifold mixup)",
        "L ← λ L(y) + (1−λ) L(y′)   (targets mixed as the inputs)",
    ]
