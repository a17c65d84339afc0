"""Proximal steps: prox_f(v) = argmin_w ½‖w − v‖² + f(w), f being a penalty times a step's length.

They act after the optimizer's step with the learning rate of that step, and make exact zeros.
Parikh & Boyd 2014.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from regrun.regularizers.structured import Groups, group_axes, group_size


def soft_threshold_(weight: Tensor, amount: Tensor) -> None:
    """argmin_w ½‖w − v‖² + amount Σ|w|, entry by entry: v moved towards 0 by amount, at most to 0.

    weight: (K, ...), v, changed in place; amount: (K,), ≥ 0; 0 leaves a member alone.
    Parikh & Boyd 2014, §6.5.2.
    """
    bound = _against(amount, weight)
    weight.sub_(weight.clamp(-bound, bound))


def shrink_groups_(weight: Tensor, amount: Tensor, groups: Groups) -> None:
    """argmin_w ½‖w − v‖² + amount Σ_g ‖w_g‖₂: each group's norm is lowered by amount, at most to 0.

    weight: (K, out, in, ...), v, changed in place; amount: (K,), ≥ 0; 0 leaves a member alone.
    Parikh & Boyd 2014, §6.5.1.
    """
    axes = group_axes(groups, weight.dim())
    norm = torch.linalg.vector_norm(weight, dim=axes, keepdim=True)
    bound = _against(amount, weight)
    factor = torch.where(norm > bound, 1 - bound / norm, 0.0)
    weight.mul_(torch.where(bound > 0, factor, 1.0))


class ProximalTerm:
    """All proximal penalties on one parameter: a Σ|w| + q Σw² + λ Σ_g √|g| ‖w_g‖₂.

    Their sum has an exact prox: threshold, shrink groups, divide (Simon et al. 2013 for the first
    two; the last since the others are homogeneous). A member has groups of one kind at most.
    """

    def __init__(
        self, parameter: str, absolute: Tensor, square: Tensor, groups: Mapping[Groups, Tensor]
    ) -> None:
        """absolute, square: a and q. groups: their kind → λ. All (K,), float64."""
        self.parameter = parameter
        self._absolute, self._square, self._groups = absolute, square, groups
        self._has_absolute, self._has_square = bool(absolute.any()), bool(square.any())
        self.active = torch.stack([absolute, square, *groups.values()]).sum(0) > 0
        """Whether a member has any of them: (K,), bool."""

    def keep(self, rows: Tensor) -> ProximalTerm:
        """Of some members only."""
        return self._mapped(lambda numbers: numbers[rows])

    def to(self, device: torch.device | str) -> ProximalTerm:
        """On a device."""
        return self._mapped(lambda numbers: numbers.to(device))

    def step_(self, weight: Tensor, rate: Tensor) -> None:
        """The prox of rate times the penalties. weight: (K, ...), in place; rate: η, (K,)."""
        dtype = weight.dtype
        if self._has_absolute:
            soft_threshold_(weight, (rate * self._absolute).to(dtype))
        for kind, strength in self._groups.items():
            amount = rate * strength * group_size(weight, kind) ** 0.5
            shrink_groups_(weight, amount.to(dtype), kind)
        if self._has_square:
            weight.div_(_against((1 + 2 * rate * self._square).to(dtype), weight))

    def _mapped(self, change: Callable[[Tensor], Tensor]) -> ProximalTerm:
        groups = {kind: change(strength) for kind, strength in self._groups.items()}
        return ProximalTerm(self.parameter, change(self._absolute), change(self._square), groups)


def _against(numbers: Tensor, like: Tensor) -> Tensor:
    """(K,) → (K, 1, …, 1) with as many axes as `like`."""
    return numbers.view(-1, *[1] * (like.dim() - 1))
