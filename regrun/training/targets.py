"""What a training batch is compared with: its targets, perhaps mixed, perhaps smoothed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from regrun.stack.layers import spread


@dataclass(frozen=True)
class Targets:
    """Targets of one batch, for the training loss.

    first: (S, B, …), as the dataset gives them. second: (R, B, …), those of the examples mixed in,
    where there are any; share: (R, 1), of the first in the loss. smoothing: (R, 1), the ε of label
    smoothing. S and R divide K.
    """

    first: Tensor
    second: Tensor | None = None
    share: Tensor | None = None
    smoothing: Tensor | None = None

    def losses(self, per_example: Callable[[Tensor, Tensor], Tensor], outputs: Tensor) -> Tensor:
        """Loss of every example, (K, B). per_example: see `regrun.training.losses`.

        A share of 1 and an ε of 0 change nothing, to the last bit.
        """
        members = outputs.shape[0]
        losses = per_example(outputs, self.first)
        if self.second is not None and self.share is not None:
            mixed_in = per_example(outputs, self.second)
            losses = torch.lerp(mixed_in, losses, spread(self.share, members))
        if self.smoothing is not None:
            over_classes = -F.log_softmax(outputs, -1).mean(-1)
            losses = torch.lerp(losses, over_classes, spread(self.smoothing, members))
        return losses
