"""Which of the training examples each member trains on, where they do not all train on all."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from regrun.config.schema import Config
from regrun.kinds.penalties import ActivityPenalty


class Examples:
    """The N training examples as each of K members has them: to train on, or held out.

    All members see one and the same batch; what a member holds out has no part in its loss.

    kept: (K, N) bool, the examples that each member trains on, at least one; None: all, each.
    """

    def __init__(self, kept: Tensor | None) -> None:
        self.kept = kept
        self._read()

    def _read(self) -> None:
        kept = self.kept
        self._shares = None if kept is None else kept.double() / kept.sum(1, keepdim=True)
        self._whole: list[bool] = [] if kept is None else kept.all(1).tolist()

    def holds_out(self, row: int) -> bool:
        """Whether a member holds any out."""
        return bool(self._whole) and not self._whole[row]

    @property
    def held_out(self) -> Tensor | None:
        """(K, N) bool, the examples that each member does not train on."""
        return None if self.kept is None else ~self.kept

    def mean(self, values: Tensor) -> Tensor:
        """Over the examples that a member trains on: (K, N) → (K,)."""
        if self._shares is None:
            return values.mean(1)
        return (values * self._shares.to(values.dtype)).sum(1)

    def keep(self, index: Tensor) -> None:
        """Shrink to these rows."""
        if self.kept is not None:
            self.kept = self.kept[index]
            self._read()


def check_examples(kept: Tensor, configs: Sequence[Config], count: int, mixing: bool) -> None:
    """Raise ValueError where members cannot have examples of their own.

    count: N. mixing: whether a layer lets the examples of a batch feel each other.
    """
    if kept.shape != (len(configs), count) or kept.dtype != torch.bool:
        raise ValueError(f"kept: {tuple(kept.shape)} {kept.dtype}, expected {len(configs), count}")
    if not kept.any(1).all():
        raise ValueError("kept: a member trains on nothing")
    first = configs[0].training
    if first.batch_size != "full":
        raise ValueError(f"training.batch_size {first.batch_size}: not the same for every member")
    if mixing or any(_mixes(config) for config in configs):
        raise ValueError("examples that are held out would be felt by a member")


def _mixes(config: Config) -> bool:
    """Whether more than the mean loss depends on a batch's examples, or they on each other."""
    activity = any(isinstance(penalty, ActivityPenalty) for penalty in config.penalty)
    return activity or bool(config.augment.mixup or config.augment.cutmix)
