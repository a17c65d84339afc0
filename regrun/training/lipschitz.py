"""The learning rate 1/L, L the Lipschitz constant of the gradient of a linear model's objective."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from regrun.config.schema import Config
from regrun.data.dataset import Dataset
from regrun.errors import ConfigError
from regrun.training.batches import InputScales
from regrun.training.losses import resolve_loss

CHUNK = 2**24
"""Entries of the inputs that enter the Gram matrix at a time."""


def with_learning_rates(
    configs: Sequence[Config],
    dataset: Dataset,
    kept: Tensor | None = None,
    scales: InputScales | None = None,
) -> list[Config]:
    """Return the configs with the learning rate 1/L where `optimizer.lr` is None.

    configs: valid, of one stack. kept, scales: as `train_mask` and `input_scales` of `Engine`. L is
    the loss's curvature times the largest eigenvalue of X̃ᵀX̃/n, X̃ the member's inputs with a column
    of ones for the intercept, plus the curvature of smooth penalties and weight decay; the largest
    class weight multiplies it. Raises ConfigError when the loss does not say its curvature.
    """
    needing = [member for member, config in enumerate(configs) if config.optimizer.lr is None]
    resolved = list(configs)
    if not needing:
        return resolved
    loss = resolve_loss(configs[0], dataset)
    per_output = loss.curvature(loss.network_outputs(dataset.num_outputs))
    if per_output is None:
        raise ConfigError.at(
            "optimizer.lr", f"the curvature of {loss.kind} is unknown; give a rate"
        )
    if dataset.class_weights is not None:
        per_output *= float(dataset.class_weights.max())
    for member, eigenvalue in zip(
        needing, _eigenvalues(dataset, needing, kept, scales), strict=True
    ):
        config = configs[member]
        added = sum(penalty.curvature() or 0.0 for penalty in config.penalty)
        rate = 1 / (per_output * eigenvalue + added + config.optimizer.weight_decay)
        optimizer = config.optimizer.model_copy(update={"lr": rate})
        resolved[member] = config.model_copy(update={"optimizer": optimizer})
    return resolved


def _eigenvalues(
    dataset: Dataset, members: Sequence[int], kept: Tensor | None, scales: InputScales | None
) -> list[float]:
    """`largest_eigenvalue` of each member's own inputs, once for members that share them."""
    given = [each for each in (kept, *(scales or ())) if each is not None]
    if not given:
        return [largest_eigenvalue(dataset)] * len(members)
    own = torch.cat([each[list(members)].double() for each in given], dim=1)
    which = torch.unique(own, dim=0, return_inverse=True)[1].tolist()
    found: dict[int, float] = {}
    for member, index in zip(members, which, strict=True):
        if index not in found:
            chosen = None if kept is None else kept[member].nonzero().flatten()
            scale = None if scales is None else scales.of(member)
            found[index] = largest_eigenvalue(dataset, chosen, scale)
    return [found[index] for index in which]


def largest_eigenvalue(
    dataset: Dataset, chosen: Tensor | None = None, scale: tuple[Tensor, Tensor] | None = None
) -> float:
    """Return λ_max(X̃ᵀX̃/n) in float64, X̃ the n training inputs, flat, with a column of ones.

    chosen: indices of the inputs, ascending; None: all. scale: mean and standard deviation that
    standardize them, (features,) each; None: they are as they should be.
    """
    train = dataset.train if chosen is None else dataset.train.take(chosen)
    inputs = train.inputs
    count, width = len(inputs), inputs[0].numel() + 1
    if count < width:
        rows = _with_ones(dataset, inputs, scale)
        gram = rows @ rows.mT
    else:
        gram = inputs.new_zeros((width, width), dtype=torch.float64)
        for chunk in torch.split(inputs, max(1, CHUNK // width)):
            rows = _with_ones(dataset, chunk, scale)
            gram.addmm_(rows.mT, rows)
    return float(torch.linalg.eigvalsh(gram)[-1]) / count


def _with_ones(dataset: Dataset, inputs: Tensor, scale: tuple[Tensor, Tensor] | None) -> Tensor:
    rows = dataset.features(inputs, torch.float64).double().flatten(1)
    if scale is not None:
        mean, std = (each.to(rows.device) for each in scale)
        rows = (rows - mean) / std
    return torch.cat([rows, torch.ones_like(rows[:, :1])], dim=1)
