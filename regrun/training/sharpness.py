"""Sharpness-aware minimisation (Foret et al. 2021): the gradient from uphill of the weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from regrun.stack import Noise, Stack
from regrun.training.clipping import member_norms, per_member

Pass = Callable[[], tuple[Tensor, Sequence[Tensor]]]
"""One pass forward and back: (K,) losses and the objective's gradients."""


class Sharpness:
    """Takes the gradient at w + ρ g / ‖g‖, g being the gradient at w over all parameters.

    Both gradients are of one function: same batch, same noise. The second pass leaves no trace in
    batch norm's statistics, so they belong to the weights as they are. radii: ρ of each member; 0
    is the ordinary gradient.
    """

    def __init__(self, radii: Sequence[float], device: torch.device) -> None:
        self._radii = torch.tensor(radii, dtype=torch.float64, device=device)
        self._any = any(radii)

    def __bool__(self) -> bool:
        """Whether any member has a ρ above 0."""
        return self._any

    def __call__(
        self, stack: Stack, noise: Noise, gradient: Pass
    ) -> tuple[Tensor, Sequence[Tensor]]:
        """The losses at w, (K,), and the gradients uphill of it; weights are left as they are."""
        if not self._any:
            return gradient()
        streams = noise.state_dict()
        losses, uphill = gradient()
        weights = [parameter.detach() for parameter in stack.parameters.values()]
        before = [weight.clone() for weight in weights]
        buffers = {name: buffer.clone() for name, buffer in stack.buffers.items()}
        scale = self._radii / (member_norms(uphill).double() + 1e-12)
        for weight, direction in zip(weights, uphill, strict=True):
            weight.add_(direction * per_member(scale, direction))
        noise.load_state_dict(streams)
        _, gradients = gradient()
        for weight, old in zip(weights, before, strict=True):
            weight.copy_(old)
        for name, buffer in buffers.items():
            stack.buffers[name].copy_(buffer)
        return losses, gradients
