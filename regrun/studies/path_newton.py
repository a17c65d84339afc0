"""Exact solutions of the models of a path, by Newton's method.

A proximal Newton method, as glmnet's (Friedman, Hastie & Tibshirani 2010, §3; Lee, Sun & Saunders
2014): the loss is replaced by its quadratic expansion, the lasso on it is solved by scikit-learn's
coordinate descent and then exactly on its support, and a line search leads there. From the solution
for the strength before, three or four such steps reach the rounding of the gradient, where FISTA
may need ten thousand: its rate depends on the condition of the data, Newton's does not.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regrun.config.schema import Config
from regrun.data.dataset import Dataset
from regrun.kinds.penalties import EntrywisePenalty
from regrun.nn.class_scores import class_scores
from regrun.nn.roles import roles_of, select
from regrun.training.batches import InputScales
from regrun.training.losses import PerExampleLoss, Targets, training_loss
from regrun.training.network import build_network

Array = NDArray[np.float64]
Weights = Mapping[str, Tensor]

MOST_STEPS = 50
"""Newton steps after which a model is left to FISTA."""

MOST_NUMBERS = 2**25
"""Entries of the inputs above which copies of them are not worth their memory."""

MOST_ACTIVE = 1_000
"""Weights that may be nonzero at once; the matrices have so many rows and columns."""

PRECISION = 1e-10
"""What may be left of a gradient that should be zero, as a share of the strength."""

CERTAIN = 1e-6
"""What may be left of it for a model to count as solved."""

SINGULAR = 1e-13
"""Eigenvalues that are rounding, as a share of the largest: softmax takes any common offset."""

WEIGHT, BIAS = "output.weight", "output.bias"


def minimized_loss(config: Config, data: Dataset) -> PerExampleLoss:
    """The data loss that a path minimizes, of the outputs of the network; for data in float64."""
    minimized, smoothing = training_loss(config, data), config.augment.label_smoothing
    level = torch.tensor([[smoothing]], dtype=torch.float64) if smoothing else None

    def per_example(outputs: Tensor, targets: Tensor) -> Tensor:
        scores = class_scores(outputs) if data.task == "classification" else outputs
        smoothed = Targets(targets, smoothing=level, class_weights=data.class_weights)
        return smoothed.losses(minimized, scores)

    return per_example


@dataclass(frozen=True)
class Slopes:
    """Mean loss at some parameters, its gradient, and its curvature by example.

    Args:
        loss: Without the penalty.
        gradient: (C, features + 1), the last column being the intercepts; without the L1 part.
        curvature: (n, C, C), of the loss of each example by its outputs.
        rounding: What of the gradient is rounding.
    """

    loss: float
    gradient: Array
    curvature: Array
    rounding: float


class Newton:
    """Solves single models of a path.

    Args:
        config: What `path_config` gives.
        dataset: Its data.
        parts: (P, N) bool, the examples of each part.
        scales: What standardizes the inputs of each part, on the CPU; None: nothing.
    """

    def __init__(
        self, config: Config, dataset: Dataset, parts: Tensor, scales: InputScales | None
    ) -> None:
        self.affordable = dataset.train.inputs.numel() <= MOST_NUMBERS
        """Whether the data are small enough; of others nothing is copied, and nothing solved."""
        if not self.affordable:
            return
        data = dataset.to("cpu", torch.float64)
        inputs = data.features(data.train.inputs, torch.float64).double().flatten(1)
        self._inputs, self._targets = inputs, data.train.targets
        self._parts, self._scales = parts.cpu(), scales
        self._loss = minimized_loss(config, data)
        (penalty,) = config.penalty
        assert isinstance(penalty, EntrywisePenalty)  # see `path_config`
        self._l1, self._square = penalty.coefficients()
        roles = roles_of(build_network(config, data, seed=0))
        chosen = select(penalty.apply_to, roles, "penalty.apply_to")
        self._penalised = np.repeat([WEIGHT in chosen, BIAS in chosen], [inputs.shape[1], 1])
        self._design: tuple[int, Array, Tensor] | None = None

    def solve(self, part: int, strength: float, start: Weights) -> dict[str, Tensor] | None:
        """The weights that minimize the objective, from some of its own; None: not found."""
        if not self.affordable:
            return None
        at = _joined(start)
        here = self._slopes(part, strength, at)
        for _ in range(MOST_STEPS):
            left = self._violation(at, here, strength)
            if left <= max(PRECISION * strength * self._l1, here.rounding):
                found = torch.from_numpy(at.copy())
                return {WEIGHT: found[:, :-1], BIAS: found[:, -1]}
            aim = self._aim(part, strength, at, here)
            if aim is None or not np.isfinite(aim).all():
                return None
            moved = self._searched(part, strength, at, here, aim, left)
            if moved is None:
                return None
            at, here = moved
        return None

    def is_minimum(self, part: int, strength: float, weights: Weights) -> bool:
        """Whether no entry of the subgradient is far from 0, as measured by the strength.

        True also where that is not affordable.
        """
        if not self.affordable:
            return True
        at = _joined(weights)
        here = self._slopes(part, strength, at)
        near = max(CERTAIN * strength * self._l1, 100 * here.rounding)
        return self._violation(at, here, strength) <= near

    def _examples(self, part: int) -> tuple[Array, Tensor]:
        """Inputs of a part with a column of ones, and targets; those of the last part are kept."""
        if self._design is None or self._design[0] != part:
            chosen = self._parts[part].nonzero().flatten()
            inputs = self._inputs[chosen]
            if self._scales is not None:
                mean, std = self._scales.of(part)
                inputs = (inputs - mean) / std
            ones = torch.ones_like(inputs[:, :1])
            design = torch.cat([inputs, ones], dim=1).numpy()
            self._design = (part, design, self._targets[chosen])
        return self._design[1:]

    def _slopes(self, part: int, strength: float, at: Array) -> Slopes:
        inputs, targets = self._examples(part)
        count = len(inputs)
        outputs = torch.from_numpy(inputs @ at.T).requires_grad_()
        losses = self._loss(outputs.unsqueeze(0), targets.unsqueeze(0))
        (slope,) = torch.autograd.grad(losses.sum(), outputs, create_graph=True)
        curvature = torch.zeros(count, slope.shape[1], slope.shape[1], dtype=torch.float64)
        for output in range(slope.shape[1] if slope.requires_grad else 0):
            (curvature[:, output],) = torch.autograd.grad(
                slope[:, output].sum(), outputs, retain_graph=True
            )
        each = slope.detach().numpy()
        gradient = each.T @ inputs / count + 2 * strength * self._square * at * self._penalised
        rounding = 16 * np.finfo(float).eps * float((abs(each).T @ abs(inputs)).max()) / count
        return Slopes(float(losses.detach().mean()), gradient, curvature.numpy(), rounding)

    def _violation(self, at: Array, here: Slopes, strength: float) -> float:
        """The largest entry of the subgradient that is nearest to 0."""
        limit = strength * self._l1
        on_l1 = np.where(
            at != 0,
            abs(here.gradient + limit * np.sign(at)),
            np.maximum(abs(here.gradient) - limit, 0),
        )
        return float(np.where(self._penalised, on_l1, abs(here.gradient)).max())

    def _objective(self, at: Array, here: Slopes, strength: float) -> float:
        penalised = at[:, self._penalised]
        cost = self._l1 * abs(penalised).sum() + self._square * (penalised**2).sum()
        return here.loss + strength * float(cost)

    def _aim(self, part: int, strength: float, at: Array, here: Slopes) -> Array | None:
        """The minimum of the quadratic expansion plus the L1 part; None: too many weights.

        Over the weights that are not 0 or whose gradient is about to move them.
        """
        limit = strength * self._l1
        active = (at != 0) | (abs(here.gradient) > 0.999 * limit) | ~self._penalised
        if active.sum() > MOST_ACTIVE:
            return None
        free = ~np.broadcast_to(self._penalised, at.shape)[active]
        second = self._second(part, here.curvature, active)
        second[np.diag_indices_from(second)] += 2 * strength * self._square * ~free
        linear = second @ at[active] - here.gradient[active]
        # Without what is not penalised, which follows from the rest.
        inverse = np.linalg.pinv(second[np.ix_(free, free)], SINGULAR, hermitian=True)
        across = second[np.ix_(~free, free)] @ inverse
        reduced = second[np.ix_(~free, ~free)] - across @ second[np.ix_(free, ~free)]
        found = np.zeros(len(linear))
        found[~free] = _lasso(
            reduced, linear[~free] - across @ linear[free], limit, at[active][~free]
        )
        found[free] = inverse @ linear[free] - across.T @ found[~free]
        aim = np.zeros_like(at)
        aim[active] = found
        return aim

    def _second(self, part: int, curvature: Array, active: NDArray[np.bool_]) -> Array:
        """The second derivatives of the mean loss by the active parameters."""
        inputs, _ = self._examples(part)
        outputs, features = active.nonzero()
        found = np.empty((len(outputs), len(outputs)))
        places = [np.flatnonzero(outputs == output) for output in range(len(active))]
        for one, rows in enumerate(places):
            for other, columns in enumerate(places[: one + 1]):
                weighted = curvature[:, one, other, None] * inputs[:, features[columns]]
                block = inputs[:, features[rows]].T @ weighted / len(inputs)
                found[np.ix_(rows, columns)] = block
                found[np.ix_(columns, rows)] = block.T
        return found

    def _searched(
        self, part: int, strength: float, at: Array, here: Slopes, aim: Array, left: float
    ) -> tuple[Array, Slopes] | None:
        """The first point from the aim backwards that is better than this one; None: there is none.

        Better is a lower objective, or near the minimum, where that is rounded, a smaller gradient.
        """
        before = self._objective(at, here, strength)
        share = 1.0
        while share > 1e-6:
            point = aim if share == 1 else at + share * (aim - at)
            there = self._slopes(part, strength, point)
            gain = before - self._objective(point, there, strength)
            if gain > 1e-12 * abs(before) or self._violation(point, there, strength) < left / 2:
                return point, there
            share /= 2
        return None


def _joined(weights: Weights) -> Array:
    """(C, features + 1): the weights of each output, then its intercept."""
    joined: Array = torch.cat([weights[WEIGHT], weights[BIAS].unsqueeze(1)], 1).double().numpy()
    return joined


def _lasso(second: Array, linear: Array, limit: float, start: Array) -> Array:
    """The u that minimizes ½ uᵀ S u − lᵀ u + limit Σ|u|, for a symmetric S without negative values.

    By coordinate descent; where that has found the signs, by the linear system that they leave.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import enet_path

    if not len(linear):
        return linear
    # S as RᵀR, l as Rᵀy. Scaled to a diagonal of ones, so that units do not matter.
    unit = 1 / np.sqrt(np.maximum(np.diag(second), np.finfo(float).tiny))
    values, vectors = np.linalg.eigh(unit[:, None] * second * unit)
    kept = values > SINGULAR * values[-1]
    if not kept.any():
        return start
    roots, vectors = np.sqrt(values[kept])[:, None], vectors[:, kept].T
    design, target = roots * vectors / unit, vectors @ (unit * linear) / roots[:, 0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the line search judges
        _, path, _ = enet_path(
            design, target, l1_ratio=1.0, alphas=[limit / len(design)], coef_init=start,
            tol=1e-8, max_iter=10_000,
        )  # fmt: skip
    found: Array = path[:, 0]
    support = found != 0
    own, signs = unit[support], np.sign(found[support])
    scaled = own[:, None] * second[np.ix_(support, support)] * own
    exact = own * np.linalg.lstsq(scaled, own * (linear[support] - limit * signs), rcond=None)[0]
    if (np.sign(exact) == signs).all():
        found = np.zeros_like(found)
        found[support] = exact
    return found
