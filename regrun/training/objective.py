"""The data loss in the metric `objective`: that which training minimizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from regrun.config.schema import Config
from regrun.errors import CorruptInputError
from regrun.nn.modules import has_noise
from regrun.stack.state import check_tensors


def follows_from_weights(config: Config, module: nn.Module) -> bool:
    """Whether the weights alone decide the training loss of an example.

    Noise, augmented inputs and batch norm, which sees the rest of the batch, add to it.
    """
    if config.augment.changes_inputs or config.augment.mixes_examples:
        return False
    normalized = any(isinstance(layer, _BatchNorm) for layer in module.modules())
    return not normalized and not has_noise(module)


class BatchLosses:
    """The losses of the batches that K members have trained on since the last evaluation.

    They stay on the device, and none is read there before an evaluation.

    drawn: (K,) bool, the members whose losses do not follow from their weights alone.
    """

    def __init__(self, drawn: Sequence[bool], device: torch.device) -> None:
        self._any = any(drawn)
        self._drawn: Bool[Tensor, " K"] = torch.tensor(drawn, device=device)
        self.sums = torch.zeros(len(drawn), dtype=torch.float64, device=device)
        """(K,), of the losses of examples."""
        self._examples = 0

    def add(self, losses: Float[Tensor, " K"], examples: int) -> None:
        """Add the mean losses of a batch of so many examples."""
        if self._any:
            self.sums.add_(losses, alpha=examples)

    def count(self, examples: int) -> None:
        """Count the examples of a batch whose losses were added."""
        if self._any:
            self._examples += examples

    def instead_of(self, measured: Float64[Tensor, " K"]) -> Float64[Tensor, " K"]:
        """Mean over the examples where losses were drawn, else what was measured; then forget."""
        if not self._any:
            return measured
        mean = self.sums / self._examples
        self.sums.zero_()
        self._examples = 0
        return torch.where(self._drawn, mean, measured)

    def shrink_to(self, rows: Int64[Tensor, " rows"]) -> None:
        """Keep these members only. rows: indices, int64."""
        self._drawn, self.sums = self._drawn[rows], self.sums[rows]

    def state_dict(self) -> dict[str, Tensor]:
        """All that has been added."""
        return {"sums": self.sums, "examples": torch.tensor(self._examples)}

    def load_state_dict(self, state: Mapping[str, Tensor], added: int) -> None:
        """Copy a `state_dict` in. added: the examples of the steps since the last evaluation.

        Raises CorruptInputError for what no such stack has added.
        """
        check_tensors(self.state_dict(), state)
        if state["examples"] != (added if self._any else 0):
            raise CorruptInputError(f"examples: {state['examples'].item():,}, not {added:,}")
        if not state["examples"] and state["sums"].any():
            raise CorruptInputError("sums: of no examples")
        self.sums.copy_(state["sums"])
        self._examples = int(state["examples"])
