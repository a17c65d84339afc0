"""Training batches of a stack: which examples each member sees at each step."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from math import ceil
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int64, Shaped
from torch import Tensor

from regrun.config.schema import Config
from regrun.data.dataset import Dataset
from regrun.kinds.penalties import ActivityPenalty
from regrun.memory import holding_examples
from regrun.seeding import derive

BatchSize = int | Literal["full"]


def steps_per_epoch(num_examples: int, batch_size: BatchSize) -> int:
    """The number of batches in an epoch; the last one may be smaller."""
    return 1 if batch_size == "full" else ceil(num_examples / batch_size)


def epoch_order(
    seeds: Sequence[int], epoch: int, num_examples: int
) -> Int64[Tensor, "S {num_examples}"]:
    """The order of the training examples in one epoch: (S, N) int64 on the CPU, a row per seed.

    Row s is a permutation of 0 … N−1 that depends on ``(seeds[s], epoch, num_examples)`` alone, so
    a member sees the same batches in any stack and after a resume.
    """
    order = torch.empty(len(seeds), num_examples, dtype=torch.int64)
    generator = torch.Generator()
    for seed, row in zip(seeds, order.unbind(0), strict=True):
        generator.manual_seed(derive(seed, "order", epoch))
        torch.randperm(num_examples, generator=generator, out=row)
    return order


class Orders:
    """The orders of epochs, on a device that need not wait for them.

    Those of an epoch of 60,000 examples take a CPU 1 ms a seed. They are made in a thread, which
    ends with this object.

    ahead: how many epochs there are; 0: orders are made when they are asked for.
    """

    def __init__(self, num_examples: int, device: torch.device, ahead: int) -> None:
        self._count, self._device, self._epochs = num_examples, device, ahead
        self._seeds: tuple[int, ...] = ()
        self._thread = ThreadPoolExecutor(1, "orders") if ahead else None
        self._following: tuple[int, Future[Tensor]] | None = None
        """The next epoch and its orders."""

    def set_seeds(self, seeds: tuple[int, ...]) -> None:
        """One for each row of the orders that come."""
        self._seeds, self._following = seeds, None

    def of(self, epoch: int) -> Int64[Tensor, "S N"]:
        """A row per seed, on the device. Raises what making them ahead raised."""
        following = self._following
        if following is not None and following[0] == epoch:
            order = following[1].result()
        else:
            order = self._make(self._seeds, epoch)
        # Batch norm's statistics are measured on the first epoch, in the middle of later ones.
        earlier = following is not None and following[0] > epoch
        if self._thread is not None and not earlier and epoch + 1 < self._epochs:
            made = self._thread.submit(self._make, self._seeds, epoch + 1)
            self._following = epoch + 1, made
        return order.to(self._device, non_blocking=True)

    def _make(self, seeds: Sequence[int], epoch: int) -> Tensor:
        order = epoch_order(seeds, epoch, self._count)
        if self._device.type != "cuda":
            return order
        with torch.cuda.device(self._device):  # a thread begins on the first
            return order.pin_memory()


class BatchSampler:
    """Gathers the batches of K members, step by step.

    Members with the same seed see the same batches. When every seed has equally many members, a
    batch is gathered once per seed (S groups), otherwise once per member. A batch depends on
    (seed, step) alone, so a sampler has no state to save.

    `turn_to` says which batch, and `gather` reads that from tensors which stay where they are, so
    that gathering can be recorded (`Replay`).

    ahead: of how many epochs the orders are made while the epoch before them is trained; of the
    others they are made when they are needed.
    """

    def __init__(
        self, dataset: Dataset, batch_size: BatchSize, dtype: torch.dtype, ahead: int = 0
    ) -> None:
        self._dataset, self._dtype = dataset, dtype
        self._count = len(dataset.train)
        self._size = self._count if batch_size == "full" else min(batch_size, self._count)
        self.steps_per_epoch = steps_per_epoch(self._count, batch_size)
        whole = self._size == self._count
        with holding_examples("use a smaller training.batch_size"):
            self._whole = self._features(dataset.train.inputs.unsqueeze(0)) if whole else None
        self._seeds: tuple[int, ...] = ()
        self._orders = Orders(self._count, dataset.train.inputs.device, ahead)
        self._epoch = -1
        self._order = torch.empty(0)
        self._chosen: dict[int, Tensor] = {}
        """Examples in a batch → which ones, (S, B); another one for the last, smaller batch."""
        self._examples = self._size

    def set_members(self, seeds: Sequence[int]) -> None:
        """Set the seed of each row of the stack; rows with equal seeds are adjacent."""
        distinct = list(dict.fromkeys(seeds))
        share = len(seeds) // len(distinct)
        grouped = [seed for seed in distinct for _ in range(share)]
        self._seeds = tuple(distinct if grouped == list(seeds) else seeds)
        self._orders.set_seeds(self._seeds)
        self._epoch = -1
        self._chosen.clear()

    def __call__(self, step: int) -> tuple[Float[Tensor, "S B ..."], Shaped[Tensor, "S B ..."]]:
        """Inputs (S, B, *input_shape), as floats, and targets (S, B, …) of a step."""
        self.turn_to(step)
        return self.gather()

    def turn_to(self, step: int) -> None:
        """Let `gather` gather the batch of a step."""
        self._examples = self.examples(step)
        if self._whole is not None:
            return
        epoch, index = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            self._order, self._epoch = self._orders.of(epoch), epoch
        chosen = self._order[:, index * self._size : (index + 1) * self._size]
        if self._examples in self._chosen:
            self._chosen[self._examples].copy_(chosen)
        else:
            self._chosen[self._examples] = chosen.contiguous().clone()

    def gather(self) -> tuple[Float[Tensor, "S B ..."], Shaped[Tensor, "S B ..."]]:
        """Inputs (S, B, *input_shape), as floats, and targets (S, B, …)."""
        if self._whole is not None:
            return self._whole, self._dataset.train.targets.unsqueeze(0)
        chosen = self._chosen[self._examples]
        inputs, targets = self._dataset.train.inputs, self._dataset.train.targets
        flat = chosen.view(-1)
        return (
            self._features(inputs.index_select(0, flat).view(*chosen.shape, *inputs.shape[1:])),
            targets.index_select(0, flat).view(*chosen.shape, *targets.shape[1:]),
        )

    def examples(self, step: int) -> int:
        """The number of examples in the batch of a step."""
        return min(self._size, self._count - step % self.steps_per_epoch * self._size)

    def _features(self, inputs: Tensor) -> Tensor:
        return self._dataset.features(inputs, self._dtype)


class TrainMask:
    """Which of the N training examples each of K members trains on; the others are held out.

    All members see the same full batch; a held-out example has weight 0 in the member's loss. This
    is how the folds of a cross-validation share one stack.

    Args:
        mask: (K, N) bool, at least one example per member; None: every member trains on all.
    """

    def __init__(self, mask: Bool[Tensor, "K N"] | None) -> None:
        self.mask = mask
        self._set_weights()

    def _set_weights(self) -> None:
        mask = self.mask
        self._weights = None if mask is None else mask.double() / mask.sum(1, keepdim=True)
        self._trains_on_all: list[bool] = [] if mask is None else mask.all(1).tolist()

    def holds_out(self, row: int) -> bool:
        """Whether a member holds out any example."""
        return bool(self._trains_on_all) and not self._trains_on_all[row]

    @property
    def held_out(self) -> Bool[Tensor, "K N"] | None:
        """(K, N) bool, the examples that each member does not train on."""
        return None if self.mask is None else ~self.mask

    def mean(self, values: Float[Tensor, "K N"]) -> Float[Tensor, " K"]:
        """The mean over the examples that each member trains on: (K, N) → (K,)."""
        if self._weights is None:
            return values.mean(1)
        return (values * self._weights.to(values.dtype)).sum(1)

    def shrink_to(self, rows: Int64[Tensor, " rows"]) -> None:
        """Keep these members only. rows: indices, int64."""
        if self.mask is not None:
            self.mask = self.mask[rows]
            self._set_weights()


class InputScales(NamedTuple):
    """What standardizes the inputs of each of K members; on the CPU."""

    mean: Float[Tensor, "K features"]
    std: Float[Tensor, "K features"]

    def of(self, member: int) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of one member's inputs, (features,) each."""
        return self.mean[member], self.std[member]


def check_train_mask(
    mask: Tensor, configs: Sequence[Config], num_examples: int, *, batch_norm: bool
) -> None:
    """Raise ValueError where a held-out example would still influence a member.

    mask: see `TrainMask`. batch_norm: whether a layer normalises over the batch.
    """
    expected = (len(configs), num_examples)
    if mask.shape != expected or mask.dtype != torch.bool:
        raise ValueError(f"train mask: {tuple(mask.shape)} {mask.dtype}, expected {expected} bool")
    if not mask.any(1).all():
        raise ValueError("train mask: a member trains on no example")
    batch_size = configs[0].training.batch_size
    if batch_size != "full":
        raise ValueError(f"train mask: needs training.batch_size full, not {batch_size}")
    if batch_norm or any(_mixes_examples(config) for config in configs):
        raise ValueError("train mask: held-out examples would influence a member")


def _mixes_examples(config: Config) -> bool:
    """Whether the objective depends on a batch's examples other than through the mean loss."""
    activity = any(isinstance(penalty, ActivityPenalty) for penalty in config.penalty)
    return activity or config.augment.mixes_examples or config.model.mixes_examples
