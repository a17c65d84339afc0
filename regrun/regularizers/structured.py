"""Penalties on the rows and columns of weights, at strength 1, for autograd to differentiate.

Each takes one parameter of some members, (K, out, in, ...), and gives (K,). A neuron is a slice
along the first axis of a member's own parameter: a row of a dense layer, a filter of a convolution.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from regrun.errors import ConfigError
from regrun.kinds.penalties import GroupLasso, Penalty
from regrun.kinds.plugins import MeasuresWeights
from regrun.regularizers.active import Active
from regrun.regularizers.entrywise import ACTIVITY, ENTRYWISE, is_proximal, penalty_type

Groups = Literal["in", "out", "filter"]


def group_axes(groups: Groups, dim: int) -> tuple[int, ...]:
    """The axes of a stacked parameter of `dim` axes that run within a group."""
    return (1, *range(3, dim)) if groups == "out" else tuple(range(2, dim))


def group_size(weight: Tensor, groups: Groups) -> int:
    """|g|: entries of one group of a stacked parameter."""
    return math.prod(weight.shape[axis] for axis in group_axes(groups, weight.dim()))


def group_lasso(weight: Tensor, groups: Groups) -> Tensor:
    """Σ_g √|g| ‖w_g‖₂, with gradient 0 where a group is 0. Yuan & Lin 2006."""
    norms: Tensor = torch.linalg.vector_norm(weight, dim=group_axes(groups, weight.dim()))
    return norms.flatten(1).sum(1) * math.sqrt(group_size(weight, groups))


def orthogonal(weight: Tensor) -> Tensor:
    """Σ_{i≠j} cos²(w_i, w_j) over a layer's neurons; a neuron of zeros is orthogonal to all."""
    rows = weight.flatten(2)
    norms = torch.linalg.vector_norm(rows, dim=2, keepdim=True)
    directions = rows / torch.where(norms > 0, norms, 1.0)
    cosines: Tensor = directions @ directions.mT
    return 2 * cosines.square().tril(-1).sum((1, 2))


def spectral(weight: Tensor) -> Tensor:
    """½ σ_max(W)², W with a row per neuron. Yoshida & Miyato 2017, eq. 5.

    With v the first singular vector it is ½ ‖W v‖², and its gradient σ u vᵀ is that of v held
    fixed. v comes from the eigenvectors of the smaller of W Wᵀ and Wᵀ W: exact, without a state
    between steps, and far cheaper than an SVD.
    """
    matrix = weight.flatten(2)
    tall = matrix if matrix.shape[1] >= matrix.shape[2] else matrix.mT
    with torch.no_grad():
        gram = tall.mT @ tall
        finite = gram.isfinite().all(2, keepdim=True).all(1, keepdim=True)
        # A diverged member would stop the solver for all; its value is not finite anyway.
        first = torch.linalg.eigh(gram.where(finite, 0.0)).eigenvectors[:, :, -1:]
    along: Tensor = tall @ first
    return 0.5 * along.square().sum((1, 2))


def _group_lasso(penalty: GroupLasso) -> Callable[[Tensor], Tensor]:
    return partial(group_lasso, groups=penalty.groups)


STRUCTURED: Mapping[str, Callable[[Any], Callable[[Tensor], Tensor]]] = {
    "group_lasso": _group_lasso,
    "orthogonal": lambda penalty: orthogonal,
    "spectral": lambda penalty: spectral,
}
"""The schema's `type` → what one section measures of a parameter."""


def measure_of(penalty: Penalty) -> Callable[[Tensor], Tensor]:
    """What a section, built-in or plugged in, measures of a parameter: (K, ...) → (K,)."""
    built_in = STRUCTURED.get(penalty_type(penalty))
    if built_in is not None:
        return built_in(penalty)
    assert isinstance(penalty, MeasuresWeights)  # else the schema has no such penalty

    def value(weight: Tensor) -> Tensor:
        measured = penalty.value(weight)
        if measured.shape != weight.shape[:1]:
            kind = type(penalty)
            raise ConfigError.at(
                "penalty",
                f"{penalty_type(penalty)}: {kind.__module__}.{kind.__qualname__}.value gave shape "
                f"{list(measured.shape)} for weights of {list(weight.shape)}; it has to give "
                f"{list(weight.shape[:1])}, one value for each member",
            )
        return measured

    return value


def structure_of(penalty: Penalty) -> str:
    """What must be equal for the members of a stack to be measured together."""
    if isinstance(penalty, GroupLasso):
        return penalty.groups
    if penalty_type(penalty) in (*ENTRYWISE, *STRUCTURED, *ACTIVITY):
        return ""
    return penalty.model_dump_json(exclude={"strength", "method", "apply_to"})


class StructuredTerm:
    """One structured penalty under one label, on one choice of parameters.

    members: each member's own section, None where it has none; alike but for strength and method.
    """

    def __init__(
        self,
        label: str,
        parameters: Sequence[str],
        members: Sequence[Penalty | None],
        device: torch.device | str,
    ) -> None:
        present = [member for member in members if member is not None]
        self._label, self._parameters = label, tuple(parameters)
        self._measure = measure_of(present[0])
        self._all = Active([0.0 if m is None else m.strength for m in members], device)
        self._by_gradient = Active(
            [0.0 if m is None or is_proximal(m) else m.strength for m in members], device
        )

    def values(self, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Label → (K,)."""
        return {self._label: self._total(self._all, parameters)}

    def objective(self, parameters: Mapping[str, Tensor]) -> Tensor | None:
        """Of the members with the gradient method: (K,), differentiable; None without any."""
        if not self._by_gradient or not self._parameters:
            return None
        return self._total(self._by_gradient, parameters)

    def _total(self, active: Active, parameters: Mapping[str, Tensor]) -> Tensor:
        weights = [active.take(parameters[name]) for name in self._parameters]
        return active.weighted(torch.stack([self._measure(w) for w in weights]).sum(0))


def check_shape(penalty: Penalty, name: str, shape: Sequence[int], path: str) -> None:
    """Raise ConfigError when a penalty has no meaning for a parameter of this shape.

    shape: of one member. path: of the penalty in the config.
    """
    written = "×".join(map(str, shape))
    if penalty_type(penalty) in STRUCTURED and len(shape) < 2:
        raise ConfigError.at(
            f"{path}.apply_to",
            f"{name} is a vector of {written}: {penalty_type(penalty)} needs matrices or filters; "
            "choose weights only",
        )
    if isinstance(penalty, GroupLasso) and penalty.groups == "filter" and len(shape) < 3:
        raise ConfigError.at(
            f"{path}.groups",
            f"filter: {name} is a matrix of {written}, not of filters; "
            "use in, or an apply_to of convolutions only",
        )
