"""Averages of the weights, member by member: EMA and SWA."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float64
from torch import Tensor

from regrun.config.schema import Config
from regrun.kinds.base import expand_members
from regrun.stack import Noise, Stack
from regrun.stack.state import check_statistics, check_tensors
from regrun.training.state import with_prefix

EMA, SWA = "ema", "swa"


class Averages:
    """Averaged copies of the stack's networks, by label: `ema` and `swa`.

    Both follow m ← m + a (w − m). `ema`, after step t: a = (1 − β) / (1 − βᵗ), which is β's moving
    average divided by 1 − βᵗ (Kingma & Ba 2015, §7.2). `swa`, after each averaged epoch: a = 1 / n
    for the n-th (Izmailov et al. 2018). So neither has any state but the average itself. Members
    without an average are averaged with the others, and their result is never read.

    configs: one per row of the stack.
    """

    def __init__(self, configs: Sequence[Config], stack: Stack, steps_per_epoch: int) -> None:
        self._per_epoch = steps_per_epoch
        self._set_members(configs, next(iter(stack.parameters.values())).device)
        self._tensors: dict[str, dict[str, Tensor]] = {
            label: {name: tensor.clone() for name, tensor in stack.state_dict().items()}
            for label, used in ((EMA, self._decay.any()), (SWA, any(self._sections)))
            if used
        }

    def _set_members(self, configs: Sequence[Config], device: torch.device) -> None:
        self._epochs = configs[0].training.epochs
        self._sections = [config.training.swa for config in configs]
        decay = [config.training.ema for config in configs]
        self._decay = torch.tensor(decay, dtype=torch.float64, device=device)
        self._has_ema = [value > 0 for value in decay]

    def labels(self, row: int, epoch: int) -> list[str]:
        """The averages that a member has after an epoch."""
        if not self._tensors:
            return []
        has = {EMA: self._has_ema[row], SWA: self._counted(row, epoch) > 0}
        return [label for label, present in has.items() if present]

    def _counted(self, row: int, epoch: int) -> int:
        section = self._sections[row]
        return section.count(epoch, self._epochs) if section is not None else 0

    def follow(self, steps: Float64[Tensor, " K"], stack: Stack) -> None:
        """Average in the weights after these steps, for `ema`."""
        if EMA in self._tensors:
            self._move(EMA, (1 - self._decay) / (1 - self._decay**steps), stack)

    def take(self, steps: int, stack: Stack) -> None:
        """Average in the weights after these steps, for `swa`, where they end an epoch."""
        if SWA in self._tensors:
            gain = self._swa_gain(steps)
            if gain is not None:
                self._move(SWA, gain, stack)

    @torch.no_grad()
    def _move(self, label: str, gain: Float64[Tensor, " K"], stack: Stack) -> None:
        tensors = self._tensors[label]
        for name, parameter in stack.parameters.items():
            tensors[name].lerp_(parameter, expand_members(gain.to(parameter.dtype), parameter))

    def _swa_gain(self, steps: int) -> Tensor | None:
        epoch, within = divmod(steps, self._per_epoch)
        if within:
            return None
        rows = range(len(self._sections))
        counts = [(self._counted(row, epoch - 1), self._counted(row, epoch)) for row in rows]
        gains = [1 / now if now > before else 0.0 for before, now in counts]
        return self._decay.new_tensor(gains) if any(gains) else None

    @contextmanager
    def standing_in(self, label: str, stack: Stack) -> Iterator[None]:
        """Replace the stack's network by this average inside the block."""
        own = stack.parameters, stack.buffers
        average = self._tensors[label]
        stack.parameters = {name: average[name] for name in stack.parameters}
        stack.buffers = {name: average[name] for name in stack.buffers}
        try:
            yield
        finally:
            stack.parameters, stack.buffers = own

    def shrink_to(self, rows: Tensor, configs: Sequence[Config]) -> None:
        """Keep these rows only. rows: indices, int64; configs: one per remaining row."""
        self._set_members(configs, self._decay.device)
        self._tensors = {
            label: {name: tensor[rows] for name, tensor in tensors.items()}
            for label, tensors in self._tensors.items()
        }

    def state_dict(self) -> dict[str, Tensor]:
        """`<label>/<name>` → (K, ...): the live tensors, not copies."""
        parts = [with_prefix(label, tensors) for label, tensors in self._tensors.items()]
        return {name: tensor for part in parts for name, tensor in part.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Copy a `state_dict` in. Raises CorruptInputError for what no such stack has."""
        own = self.state_dict()
        check_tensors(own, state)
        for name, tensor in own.items():
            check_statistics(name, state[name])
            tensor.copy_(state[name])


@torch.no_grad()
def refresh_statistics(stack: Stack, batches: Iterable[Tensor], noise: Noise) -> None:
    """Set batch norm's running statistics to their mean over the batches.

    As torch.optim.swa_utils.update_bn, in training mode. batches: inputs, (S, B, *input_shape).
    """
    if not stack.momenta:
        return
    kinds = ("running_mean", "running_var")
    means = {
        f"{layer}.{kind}": torch.zeros_like(stack.buffers[f"{layer}.{kind}"])
        for layer in stack.momenta
        for kind in kinds
    }
    for layer in stack.momenta:
        stack.buffers[f"{layer}.num_batches_tracked"].zero_()
    for count, inputs in enumerate(batches, 1):
        for name in means:
            stack.buffers[name].zero_()
        stack(inputs, noise)
        for layer, momentum in stack.momenta.items():
            for name in (f"{layer}.{kind}" for kind in kinds):
                # Statistics reset to 0 hold momentum times those of the batch.
                means[name] += (stack.buffers[name] / momentum - means[name]) / count
    for name, mean in means.items():
        stack.buffers[name].copy_(mean)
