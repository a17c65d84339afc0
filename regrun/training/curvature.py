"""FISTA's own learning rate: 1/L, L the largest curvature that a linear model's objective has."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from regrun.config.optimizers import Fista
from regrun.config.penalties import L2
from regrun.config.schema import Config
from regrun.data.dataset import Dataset
from regrun.regularizers.entrywise import coefficients
from regrun.training.losses import LossName, resolve_loss

LOSS_CURVATURE: dict[LossName, float] = {"mse": 2.0, "half_mse": 1.0, "cross_entropy": 0.5}
"""The largest second derivative of an example's loss along its outputs. Squared errors are means
over T outputs, which divides it by T. Cross-entropy: Böhning 1992, for any number of classes."""

CHUNK = 2**24
"""Entries of the inputs that are looked at together."""


def with_learning_rates(configs: Sequence[Config], dataset: Dataset) -> list[Config]:
    """The configs, with the learning rate of each `fista` that has none.

    configs: valid (see `undefined_pairs`), of one stack. L is the loss's curvature times the
    largest eigenvalue of X̃ᵀX̃/n, X̃ the inputs with a column of ones for the intercept, plus those
    of l2 penalties and weight decay.
    """

    @cache
    def data_curvature() -> float:
        config = configs[0]
        loss = resolve_loss(config, dataset)
        shared = 1 if loss == "cross_entropy" else dataset.num_outputs
        return LOSS_CURVATURE[loss] / shared * largest_eigenvalue(dataset)

    def resolved(config: Config) -> Config:
        optimizer = config.optimizer
        if not isinstance(optimizer, Fista) or optimizer.lr is not None:
            return config
        added = sum(2 * coefficients(p).square for p in config.penalty if isinstance(p, L2))
        rate = 1 / (data_curvature() + added + optimizer.weight_decay)
        return config.model_copy(update={"optimizer": optimizer.model_copy(update={"lr": rate})})

    return [resolved(config) for config in configs]


def largest_eigenvalue(dataset: Dataset) -> float:
    """Of X̃ᵀX̃/n, X̃ the n training inputs, flat, with a column of ones; in float64."""
    inputs = dataset.train.inputs
    count, width = len(inputs), inputs[0].numel() + 1
    if count < width:
        rows = _with_ones(dataset, inputs)
        gram = rows @ rows.mT
    else:
        gram = inputs.new_zeros((width, width), dtype=torch.float64)
        for chunk in torch.split(inputs, max(1, CHUNK // width)):
            rows = _with_ones(dataset, chunk)
            gram.addmm_(rows.mT, rows)
    return float(torch.linalg.eigvalsh(gram)[-1]) / count


def _with_ones(dataset: Dataset, inputs: Tensor) -> Tensor:
    rows = dataset.features(inputs, torch.float64).double().flatten(1)
    return torch.cat([rows, torch.ones_like(rows[:, :1])], dim=1)
