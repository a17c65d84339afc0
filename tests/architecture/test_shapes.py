"""Shapes in annotations hold while stacks of every kind of layer, penalty and noise train.

The check costs two thirds of a step, so it runs in one interpreter over a few stacks, not in all
tests.
"""

from __future__ import annotations

from tests.support.program import run_python

PROGRAM = """
from jaxtyping import TypeCheckError, install_import_hook

hook = install_import_hook(["regrun.stack", "regrun.training"], "beartype.beartype")

import torch

from regrun.config.schema import Config
from regrun.stack.layers import linear_map
from regrun.training.engine import Engine
from regrun.kinds.losses import MSE, CrossEntropy
from regrun.training.losses import losses_of

DIGITS = {"name": "digits", "num_train": 60, "num_test": 40, "validation": 20}
STACKS = [
    [
        {
            "dataset": DIGITS,
            "seed": seed,
            "model": {"name": "mlp", "hidden": [6, 6], "dropout": 0.2 * seed, "norm": "batch",
                      "residual": True, "stochastic_depth": 0.2, "drop_connect": 0.1,
                      "input_noise": 0.1, "input_dropout": 0.1},
            "penalty": [
                {"type": "elastic_net", "strength": 1e-3},
                {"type": "group_lasso", "strength": 1e-3},
                {"type": "orthogonal", "strength": 1e-3},
                {"type": "spectral", "strength": 1e-3 * seed},
                {"type": "activity_l1", "strength": 1e-3},
            ],
            "constraints": [{"type": "max_norm", "limit": 1.0}, {"type": "unit_norm"}],
            "optimizer": {"name": "adam", "lr": 0.01, "sam": 0.05, "weight_decay": 1e-3},
            "augment": {"mixup": 0.2, "label_smoothing": 0.1},
            "training": {"epochs": 2, "ema": 0.9, "swa": {"start": 1}, "clip_norm": 1.0,
                         "early_stopping": {"patience": 1}},
        }
        for seed in (0, 1, 1)
    ],
    [
        {
            "dataset": DIGITS,
            "seed": seed,
            "model": {"name": "cnn", "channels": [3, 4], "hidden": [5], "norm": "layer",
                      "conv_dropout": 0.2, "dropout_type": "spatial"},
            "penalty": {"type": "l1", "strength": 1e-3, "method": "proximal"},
            "optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.5},
            "schedule": "cosine",
            "augment": {"flip": 0.5, "crop": 1, "cutout": 2, "cutmix": 0.5},
            "training": {"epochs": 2, "precision": "float64"},
        }
        for seed in (0, 1)
    ],
    [
        {
            "dataset": DIGITS,
            "seed": seed,
            "model": {"name": "cnn", "channels": [3, 4], "hidden": [5], "conv_dropout": 0.2,
                      "dropout_type": "drop_block", "block_size": 2},
            "optimizer": {"name": "sgd", "lr": 0.1, "lookahead": {"k": 2}},
            "schedule": {"type": "plateau", "patience": 0},
            "augment": {"manifold_mixup": 0.5},
            "training": {"epochs": 2, "r_drop": {"alpha": 0.5 * seed}},
        }
        for seed in (0, 1, 1)
    ],
    [
        {
            "dataset": {"name": "diabetes"},
            "model": {"name": "linear"},
            "penalty": {"type": "l1", "strength": 1.0, "method": "proximal"},
            "optimizer": {"name": "fista"},
            "training": {"epochs": 3, "batch_size": "full", "precision": "float64"},
        }
    ],
]
for stack in STACKS:
    configs = [Config.model_validate(config) for config in stack]
    dtype = getattr(torch, configs[0].training.precision)
    dataset = configs[0].dataset.load().to("cpu", dtype)
    for _ in Engine(configs, dataset, torch.device("cpu")).run():
        pass

outputs = torch.zeros(3, 4, 2)
mse, cross_entropy = MSE(type="mse"), CrossEntropy(type="cross_entropy")
losses_of(mse, outputs, torch.zeros(1, 4, 2))
for wrong in (
    lambda: losses_of(mse, outputs, torch.zeros(1, 4, 1)),
    lambda: losses_of(cross_entropy, outputs, torch.zeros(3, 4)),
    lambda: linear_map(torch.zeros(1, 5, 4), torch.zeros(3, 2, 4), torch.zeros(3, 4)),
):
    try:
        wrong()
    except TypeCheckError:
        continue
    raise SystemExit("a wrong shape was accepted")
print("checked", len(STACKS))
"""


def test_shapes_of_training_stacks_are_those_of_the_annotations() -> None:
    ended = run_python(PROGRAM)
    assert ended.stdout == "checked 4\n", ended.stderr[-3000:]
