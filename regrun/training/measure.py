"""Everything that one evaluation says about every member."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from regrun.config.training import Training
from regrun.data.dataset import Dataset, Split
from regrun.regularizers.penalties import StackedPenalties
from regrun.seeding import derive
from regrun.stack import Stack
from regrun.training.evaluate import Evaluator
from regrun.training.examples import Examples

TRAIN_SUBSET = 10_000
"""Training examples that `evaluate_train: auto` measures on when there are more."""


def train_subset_size(setting: int | Literal["auto", "all"], count: int) -> int:
    """How many of `count` training examples the train loss is measured on."""
    if setting == "all":
        return count
    return min(count, TRAIN_SUBSET if setting == "auto" else setting)


class Measure:
    """Losses and accuracies by split, objective, penalties, weights; all (K,) tensors by tag.

    seed: draws the fixed training subset when the set is large (see `train_subset_size`). examples:
    where members hold some out, `train` is all that each trains on, and `held_out` all others.
    """

    def __init__(
        self,
        dataset: Dataset,
        training: Training,
        seed: int,
        per_example: Callable[[Tensor, Tensor], Tensor],
        widest: int,
        examples: Examples,
    ) -> None:
        self._examples = examples
        size = train_subset_size(training.evaluate_train, len(dataset.train))
        if examples.kept is None:
            splits = {"train": _subset(dataset.train, size, seed)}
        else:
            splits = {"train": dataset.train, "held_out": dataset.train}
        if dataset.validation is not None:
            splits["val"] = dataset.validation
        splits["test"] = dataset.test
        dtype = torch.float64 if training.precision == "float64" else torch.float32
        self._evaluators = {
            name: Evaluator(dataset, split, per_example, dtype, widest)
            for name, split in splits.items()
        }

    @torch.no_grad()
    def __call__(self, stack: Stack, penalties: StackedPenalties) -> dict[str, Tensor]:
        """Tag → (K,). `objective` is the train loss plus all penalties."""
        kinds = penalties.activity_types
        measured = self.losses(stack, kinds)
        activity = {kind: measured.pop(f"train/{kind}") for kind in kinds}
        added = penalties.values(stack.parameters, activity)
        whole = [value for label, value in added.items() if "/" not in label]
        measured["objective"] = measured["train/loss"] + sum(whole)
        measured |= {f"penalty/{name}": value for name, value in added.items()}
        measured |= weight_norms(
            {name: p for name, p in stack.parameters.items() if stack.roles[name] == "weight"}
        )
        return measured

    def losses(self, stack: Stack, activity_types: Sequence[str] = ()) -> dict[str, Tensor]:
        """Losses and accuracies alone, and what activity penalties measure on the train split."""
        chosen = {"train": self._examples.kept, "held_out": self._examples.held_out}
        return {
            f"{name}/{metric}": value
            for name, evaluator in self._evaluators.items()
            for metric, value in evaluator(
                stack, activity_types if name == "train" else (), chosen.get(name)
            ).items()
        }


def weight_norms(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Σ|w|, ‖w‖₂ and the share of exact zeros, over all weights of each member: (K,) each."""
    flat = [weight.flatten(1) for weight in weights.values()]
    count = sum(weight.shape[1] for weight in flat)
    absolute = sum(weight.abs().sum(1, dtype=torch.float64) for weight in flat)
    squares = sum(torch.linalg.vector_norm(weight, dim=1).double().square() for weight in flat)
    nonzero = sum(weight.count_nonzero(dim=1) for weight in flat)
    return {
        "weights/l1": torch.as_tensor(absolute),
        "weights/l2": torch.as_tensor(squares).sqrt(),
        "weights/sparsity": 1 - torch.as_tensor(nonzero).double() / count,
    }


def _subset(split: Split, size: int, seed: int) -> Split:
    if size == len(split):
        return split
    chosen = np.random.default_rng(derive(seed, "train subset")).permutation(len(split))[:size]
    index = torch.from_numpy(np.sort(chosen)).to(split.inputs.device)
    return Split(split.inputs[index], split.targets[index])
