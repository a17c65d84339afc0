"""Manifold mixup in a forward pass: hidden layers whose outputs are mixed within the batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from regrun.kinds.base import expand_members


@dataclass(frozen=True)
class HiddenMixing:
    """Mixes the outputs of one layer per member with the same batch in another order.

    Args:
        layers: Name of a hidden layer → its number, from 1.
        chosen: The number of each member's layer; that of no hidden layer mixes nothing.
        order: The other order of the batch.
        share: λ, the weight of an example itself.
    """

    layers: Mapping[str, int]
    chosen: Int64[Tensor, " K"]
    order: Int64[Tensor, "K B"]
    share: Float[Tensor, " K"]

    def __call__(self, layer: str, x: Float[Tensor, "K B ..."]) -> Float[Tensor, "K B ..."]:
        """Return the outputs x of a layer, mixed for the members that have chosen it."""
        number = self.layers.get(layer)
        if number is None:
            return x
        member = torch.arange(len(self.order), device=x.device).unsqueeze(1)
        share = torch.where(self.chosen == number, self.share, 1.0)
        return torch.lerp(x[member, self.order], x, expand_members(share.to(x.dtype), x))
