"""What one evaluation measures of every member: losses, accuracies, penalties, norms."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64, Shaped
from torch import Tensor

from regrun.config.training import Training
from regrun.data.dataset import Dataset, Split
from regrun.kinds.penalties import ActivityPenalty
from regrun.memory import holding_examples
from regrun.metrics import Score
from regrun.nn.class_scores import class_scores
from regrun.seeding import derive
from regrun.stack import Stack
from regrun.stack.penalties import StackedPenalties, activity_sum
from regrun.training.batches import TrainMask
from regrun.training.losses import PerExampleLoss
from regrun.training.waiting import wait_for

TRAIN_SUBSET = 10_000
"""Training examples that `evaluate_train: auto` measures on when there are more."""

EVALUATION_ELEMENTS = 4_000_000
"""Activations of one layer held at once while evaluating, over all members."""

ObjectiveFunction = Callable[[Tensor, Sequence[Tensor]], Tensor]
"""Data losses as training minimizes them, measured in evaluation mode, and penalties, (K,) each →
what training minimizes, (K,)."""


def train_subset_size(setting: int | Literal["auto", "all"], count: int) -> int:
    """How many of `count` training examples the train loss is measured on."""
    if setting == "all":
        return count
    return min(count, TRAIN_SUBSET if setting == "auto" else setting)


class _Chunk(NamedTuple):
    """Examples that went through the stack at once. hidden: as `Stack.__call__` fills it."""

    rows: slice
    targets: Tensor
    outputs: Tensor
    hidden: Sequence[Tensor]


class Evaluator:
    """Measures every member of a stack in evaluation mode; all results are (K,) tensors by tag.

    Args:
        dataset: The examples, on the stack's device.
        training: The members' common settings.
        seed: Draws the fixed training subset when the set is large (see `train_subset_size`).
        per_example: The data loss on the original scale, without class weights.
        minimized: The same as training minimizes it; None where it is the same.
        widest: The most numbers that any layer gives for one example. With the stack's size it
            decides how many examples are evaluated at once.
        scores: What is measured besides loss and accuracy, on the original scale of the targets.
        train_mask: Where members hold out examples, `train` is measured on those that each trains
            on, and `held_out` on the others.
    """

    def __init__(
        self,
        dataset: Dataset,
        training: Training,
        seed: int,
        per_example: PerExampleLoss,
        minimized: PerExampleLoss | None,
        widest: int,
        train_mask: TrainMask,
        scores: Sequence[Score] = (),
    ) -> None:
        self._dataset, self._per_example, self._widest = dataset, per_example, widest
        self._minimized, self._train_mask, self._scores = minimized, train_mask, scores
        self._dtype = torch.float64 if training.precision == "float64" else torch.float32
        size = train_subset_size(training.evaluate_train, len(dataset.train))
        if train_mask.mask is None:
            with holding_examples("use a smaller training.evaluate_train"):
                self._splits = {"train": _subset(dataset.train, size, seed)}
        else:
            self._splits = {"train": dataset.train, "held_out": dataset.train}
        if dataset.validation is not None:
            self._splits["val"] = dataset.validation
        if len(dataset.test):
            self._splits["test"] = dataset.test

    @torch.no_grad()
    def __call__(
        self, stack: Stack, penalties: StackedPenalties, objective: ObjectiveFunction
    ) -> dict[str, Float[Tensor, " K"]]:
        """Everything that is measured of the weights themselves."""
        measured = self.losses(stack, penalties.activity)
        data_loss = measured.pop("train/minimized", measured["train/loss"])
        activity = {kind: measured.pop(f"train/{kind}") for kind in penalties.activity}
        values = penalties.values(stack.parameters, activity)
        added = [value for label, value in values.items() if "/" not in label]
        measured["objective"] = objective(data_loss, added)
        measured |= {f"penalty/{label}": value for label, value in values.items()}
        measured |= weight_norms(
            {name: p for name, p in stack.parameters.items() if stack.roles[name] == "weight"}
        )
        return measured

    def losses(
        self, stack: Stack, activity: Mapping[str, ActivityPenalty] | None = None
    ) -> dict[str, Tensor]:
        """Losses and accuracies on every split, and activity penalties on the train split."""
        chosen = {"train": self._train_mask.mask, "held_out": self._train_mask.held_out}
        return {
            f"{name}/{quantity}": value
            for name, split in self._splits.items()
            for quantity, value in self._on_split(
                stack, split, (activity or {}) if name == "train" else {}, chosen.get(name)
            ).items()
            if quantity != "minimized" or (name == "train" and activity is not None)
        }

    @torch.no_grad()
    def test_examples(self, stack: Stack) -> dict[str, Shaped[Tensor, "K N"]]:
        """`loss` of each test example, on the original scale; of classes `correct`, 0 or 1."""
        found: dict[str, list[Tensor]] = {}
        for chunk in self._chunks(stack, self._splits["test"]):
            scores = self._example_scores(chunk.outputs, chunk.targets)
            found.setdefault("loss", []).append(scores["loss"].to(self._dtype))
            if "accuracy" in scores:
                found.setdefault("correct", []).append(scores["accuracy"].to(torch.uint8))
        return {name: torch.cat(parts, 1) for name, parts in found.items()}

    def _chunks(self, stack: Stack, split: Split, *, hidden: bool = False) -> Iterator[_Chunk]:
        """Every example of the split, as many at once as memory allows."""
        count = len(split)
        size = max(1, min(count, EVALUATION_ELEMENTS // (stack.size * self._widest)))
        for start in range(0, count, size):
            rows = slice(start, start + size)
            activations: list[Tensor] | None = [] if hidden else None
            features = self._dataset.features(split.inputs[rows].unsqueeze(0), self._dtype)
            outputs = stack(features, hidden=activations).to(self._dtype)
            if self._dataset.task == "classification":
                outputs = class_scores(outputs)
            yield _Chunk(rows, split.targets[rows].unsqueeze(0), outputs, activations or ())

    def _example_scores(
        self, outputs: Tensor, targets: Tensor
    ) -> dict[str, Float64[Tensor, "K B"]]:
        """The `loss` of each example, on the original scale; of classes `accuracy`, 0 or 1."""
        loss = self._per_example(*self._on_original_scale(outputs, targets))
        scores = {"loss": loss.double()}
        if self._dataset.task == "classification":
            scores["accuracy"] = (outputs.argmax(-1) == targets).double()
        return scores

    @torch.no_grad()
    def _on_split(
        self,
        stack: Stack,
        split: Split,
        activity: Mapping[str, ActivityPenalty],
        chosen: Tensor | None,
    ) -> dict[str, Tensor]:
        """`loss`, for classes `accuracy`, and each kind of activity: means over the examples.

        chosen: (K, N) bool, the examples that count for each member; None: all. The mean over no
        example is NaN. Sums are kept in float64 and divided last.
        """
        totals: dict[str, Tensor] = {}
        kept: list[Tensor] = []
        for rows, targets, outputs, hidden in self._chunks(stack, split, hidden=bool(activity)):
            scores = self._example_scores(outputs, targets)
            if self._scores:
                scaled = self._on_original_scale(outputs, targets)[0].double()
                kept.append(scaled.to("cpu", non_blocking=True))  # see `_scored`
            if self._minimized is not None:
                scores["minimized"] = self._minimized(outputs, targets).double()
            if chosen is not None:
                part = chosen[:, rows]
                scores = {name: score * part for name, score in scores.items()}
            sums = {name: score.sum(1) for name, score in scores.items()}
            for kind, penalty in activity.items():
                sums[kind] = activity_sum(penalty, hidden).double()
            totals = {name: totals.get(name, 0) + value for name, value in sums.items()}
        counts = len(split) if chosen is None else chosen.sum(1)
        measured = {name: total / counts for name, total in totals.items()}
        return measured | self._scored(kept, split, chosen)

    def _scored(
        self, kept: Sequence[Tensor], split: Split, chosen: Tensor | None
    ) -> dict[str, Float64[Tensor, " K"]]:
        """The scores of every member, from the outputs (K, b, C) of all chunks."""
        if not kept:
            return {}
        wait_for(split.targets.device)  # once, for all chunks
        outputs = torch.cat(list(kept), 1).numpy()
        targets = self._on_original_scale(split.targets, split.targets)[0].cpu().numpy()
        rows = [slice(None)] * len(outputs) if chosen is None else list(chosen.cpu().numpy())
        device = split.targets.device
        return {
            score.name: torch.tensor(
                [score(targets[row], each[row]) for each, row in zip(outputs, rows, strict=True)],
                dtype=torch.float64,
                device=device,
            )
            for score in self._scores
        }

    def _on_original_scale(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Both with the spread of the original targets; their mean does not change a loss."""
        std = self._dataset.target_std
        return (outputs, targets) if std is None else (outputs * std, targets * std)


def weight_norms(
    weights: dict[str, Float[Tensor, "K ..."]],
) -> dict[str, Float64[Tensor, " K"]]:
    """Σ|w|, ‖w‖₂ and the fraction of exact zeros over all weights of each member: (K,) each."""
    flat = [weight.reshape(len(weight), -1) for weight in weights.values()]
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
