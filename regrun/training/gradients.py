"""Gradients before the optimizer gets them: sharpness-aware minimisation and clipping."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf

import torch
from jaxtyping import Float
from torch import Tensor

from regrun.config.training import Training
from regrun.kinds.base import expand_members
from regrun.stack import Noise, Stack

GradientFunction = Callable[[], tuple[Tensor, Sequence[Tensor]]]
"""A forward and a backward pass: (K,) losses and the objective's gradients, (K, ...) each."""


def member_norms(tensors: Sequence[Float[Tensor, "K ..."]]) -> Float[Tensor, " K"]:
    """‖·‖₂ of each member over all its tensors."""
    norms_of = [torch.linalg.vector_norm(each.reshape(len(each), -1), dim=1) for each in tensors]
    norms: Tensor = torch.linalg.vector_norm(torch.stack(norms_of), dim=0)
    return norms


class SAM:
    """Takes the gradient at w + ρ g / ‖g‖₂, where g is the gradient at w over all parameters.

    Foret et al. 2021. Both gradients are of one function: same batch, same noise. The second pass
    does not change batch norm's statistics, so that they belong to the weights before the step.
    radii: ρ of each member; 0 is the ordinary gradient.
    """

    def __init__(self, radii: Sequence[float], device: torch.device) -> None:
        self._radii = torch.tensor(radii, dtype=torch.float64, device=device)
        self._any = any(radii)

    def __bool__(self) -> bool:
        """Whether any member has a ρ above 0."""
        return self._any

    def __call__(
        self, stack: Stack, noise: Noise, gradient: GradientFunction
    ) -> tuple[Tensor, Sequence[Tensor]]:
        """Return the losses at w, (K,), and the gradients at w + ρ g / ‖g‖₂; w stays."""
        if not self._any:
            return gradient()
        streams = noise.position()
        losses, uphill = gradient()
        weights = [parameter.detach() for parameter in stack.parameters.values()]
        before = [weight.clone() for weight in weights]
        buffers = {name: buffer.clone() for name, buffer in stack.buffers.items()}
        scale = self._radii / (member_norms(uphill).double() + 1e-12)
        for weight, direction in zip(weights, uphill, strict=True):
            weight.add_(direction * expand_members(scale.to(direction.dtype), direction))
        noise.return_to(streams)
        _, gradients = gradient()
        for weight, old in zip(weights, before, strict=True):
            weight.copy_(old)
        for name, buffer in buffers.items():
            stack.buffers[name].copy_(buffer)
        return losses, gradients


class Clipping:
    """`clip_value`, then `clip_norm`, as torch.nn.utils has them (Pascanu et al. 2013).

    sections: one per member; a limit of None changes nothing.
    """

    def __init__(self, sections: Sequence[Training], device: torch.device) -> None:
        def limits(given: Sequence[float | None]) -> Tensor | None:
            if not any(given):
                return None
            each = [inf if limit is None else limit for limit in given]
            return torch.tensor(each, dtype=torch.float64, device=device)

        self._value = limits([section.clip_value for section in sections])
        self._norm = limits([section.clip_norm for section in sections])

    def __bool__(self) -> bool:
        """Whether any member has a limit."""
        return self._value is not None or self._norm is not None

    def __call__(
        self, gradients: Sequence[Float[Tensor, "K ..."]]
    ) -> Sequence[Float[Tensor, "K ..."]]:
        """Return the clipped gradients; those given are not changed."""
        if self._value is not None:
            limits = [expand_members(self._value.to(g.dtype), g) for g in gradients]
            gradients = [g.clamp(-limit, limit) for g, limit in zip(gradients, limits, strict=True)]
        if self._norm is not None:
            # torch adds 1e-6, so a gradient a hair above the limit ends a hair below it.
            factor = (self._norm / (member_norms(gradients).double() + 1e-6)).clamp(max=1.0)
            factor = torch.where(self._norm < inf, factor, 1.0)
            gradients = [g * expand_members(factor.to(g.dtype), g) for g in gradients]
        return gradients
