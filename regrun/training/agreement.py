"""The forward pass of a batch and its loss, with R-Drop twice for K members."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from regrun.kinds.r_drop import RDrop
from regrun.stack import Noise, Stack
from regrun.stack.mixing import HiddenMixing
from regrun.training.losses import PerExampleLoss, Targets


class Agreement:
    """Passes a batch through the network, with R-Drop twice, and joins the losses; see `RDrop`.

    sections: one per member, all None or none of them.
    """

    def __init__(self, sections: Sequence[RDrop | None], device: torch.device) -> None:
        alphas = [section.alpha for section in sections if section is not None]
        self._weight = torch.tensor(alphas, dtype=torch.float64, device=device).unsqueeze(-1)

    def outputs(
        self,
        stack: Stack,
        inputs: Float[Tensor, "S B ..."],
        noise: Noise,
        hidden: list[Tensor] | None,
        mixing: HiddenMixing | None,
    ) -> Float[Tensor, "K batch C"]:
        """The outputs of one pass, or of two one after the other, (K, 2B, C); hidden likewise."""
        first = stack(inputs, noise, hidden, mixing)
        if not len(self._weight):
            return first
        again: list[Tensor] | None = None if hidden is None else []
        second = stack(inputs, noise, again, mixing)
        if hidden is not None and again is not None:
            hidden[:] = [torch.cat(pair, 1) for pair in zip(hidden, again, strict=True)]
        return torch.cat([first, second], 1)

    def losses(
        self, targets: Targets, per_example: PerExampleLoss, outputs: Float[Tensor, "K batch C"]
    ) -> Float[Tensor, "K B"]:
        """The loss of every example of the batch, (K, B). outputs: see `outputs`."""
        if not len(self._weight):
            return targets.losses(per_example, outputs)
        first, second = outputs.chunk(2, 1)
        losses = torch.lerp(
            targets.losses(per_example, first), targets.losses(per_example, second), 0.5
        )
        return losses + self._weight.to(losses.dtype) * RDrop.divergence(first, second)
