"""What penalties do within the optimizer's step: add to gradients, and take proximal steps.

prox_f(v) = argmin_w ½‖w − v‖² + f(w), f being a penalty times a step's length, acts after the
optimizer's step with the learning rate of that step, and makes exact zeros (Parikh & Boyd 2014).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from regrun.kinds.base import expand_members
from regrun.kinds.penalties import WeightPenalty
from regrun.kinds.penalties.base import soft_threshold_
from regrun.stack.members import MemberMask


@dataclass(frozen=True)
class EntrywiseTerm:
    """What all penalties together add to the gradient of one parameter: sign·sign(w) + linear·w."""

    parameter: str
    sign: Float64[Tensor, " K"]
    linear: Float64[Tensor, " K"]

    def columns(self, like: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """View both against a weight, (K, ...); None where all are 0."""
        sign, linear = (
            expand_members(numbers.to(like), like) if numbers.any() else None
            for numbers in (self.sign, self.linear)
        )
        return sign, linear


def add_gradient(
    weight: Float[Tensor, " *tile"],
    gradient: Float[Tensor, " *tile"],
    sign: Float[Tensor, " *#tile"] | None,
    linear: Float[Tensor, " *#tile"] | None,
    total: Float[Tensor, " *tile"],
    scratch: Float[Tensor, " *tile"],
) -> Float[Tensor, " *tile"]:
    """Return gradient + sign·sign(weight) + linear·weight without allocating anything.

    The result is `total`, overwritten, or `gradient` itself when nothing is to be added.
    """
    if sign is not None:
        torch.sign(weight, out=scratch)
        gradient = torch.addcmul(gradient, scratch, sign, out=total)
    if linear is not None:
        gradient = torch.addcmul(gradient, weight, linear, out=total)
    return gradient


def add_penalty_gradient(
    parameters: Mapping[str, Tensor],
    gradients: Sequence[Tensor],
    columns: Mapping[str, tuple[Tensor | None, Tensor | None]],
) -> list[Tensor]:
    """The whole gradients, for what needs them before the optimizer's step (clipping, SAM).

    gradients: in the order of the parameters. columns: those of `EntrywiseTerm`, by parameter.
    """
    whole = list(gradients)
    for index, (name, parameter) in enumerate(parameters.items()):
        if name in columns:
            weight = parameter.detach()
            total, scratch = torch.empty_like(weight), torch.empty_like(weight)
            whole[index] = add_gradient(weight, whole[index], *columns[name], total, scratch)
    return whole


class ProximalTerm:
    """All proximal penalties on one parameter: a Σ|w| + q Σw² + Σ λ f(w).

    Their sum has an exact prox: threshold, the others, divide. For norms of groups f see Simon et
    al. 2013; the division is last since |w| and f are homogeneous. Other f come without a and q:
    see `WeightPenalty.proximal_conflicts`.
    """

    def __init__(
        self,
        parameter: str,
        absolute: Sequence[float],
        square: Sequence[float],
        others: Sequence[tuple[WeightPenalty, Sequence[float]]],
        device: torch.device | str,
    ) -> None:
        """absolute, square: each member's a and q. others: for every f its section and λ."""
        self.parameter = parameter
        self._others = [penalty for penalty, _ in others]
        columns = [absolute, square, *(strengths for _, strengths in others)]
        self._build(torch.tensor(columns, dtype=torch.float64, device=device))

    def _build(self, columns: Tensor) -> None:
        """columns: the members' a, q, and λ of each other penalty, (2 + others, K)."""
        self._columns = columns
        self._absolute, self._square = columns[:2]
        self._has_absolute, self._has_square = columns[:2].any(1).tolist()
        masks = [MemberMask(row, columns.device) for row in columns[2:].tolist()]
        self._steps = [
            (penalty, mask) for penalty, mask in zip(self._others, masks, strict=True) if mask
        ]
        self.active = columns.sum(0) > 0
        """Whether a member has any of them: (K,), bool."""

    def shrink_to(self, rows: Tensor) -> None:
        """Keep the members at these indices."""
        self._build(self._columns[:, rows])

    def step_(self, weight: Tensor, rate: Tensor) -> None:
        """Apply the prox of η times the penalties. weight: (K, ...), in place; rate: η, (K,)."""
        dtype = weight.dtype
        if self._has_absolute:
            soft_threshold_(weight, expand_members((rate * self._absolute).to(dtype), weight))
        for penalty, mask in self._steps:
            own = mask.take(weight)
            of_members = [expand_members(each, own) for each in (mask.take(rate), mask.strengths)]
            penalty.prox_at_(own, *of_members)
            mask.put_(weight, own)
        if self._has_square:
            weight.div_(expand_members((1 + 2 * rate * self._square).to(dtype), weight))
