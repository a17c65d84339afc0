"""Losses and accuracies of every member on whole splits, in evaluation mode."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from regrun.data.dataset import Dataset, Split
from regrun.regularizers.activity import activity_sum
from regrun.stack.stacked import Stack

EVALUATION_ELEMENTS = 4_000_000
"""Activations of one layer held at once while evaluating, over all members."""


class Evaluator:
    """Measures one split.

    widest: the most numbers that any layer gives for one example; with the stack's size it decides
    how many examples go through at once. Sums are kept in float64 and divided last.
    """

    def __init__(
        self,
        dataset: Dataset,
        split: Split,
        per_example: Callable[[Tensor, Tensor], Tensor],
        dtype: torch.dtype,
        widest: int,
    ) -> None:
        self._dataset, self._split = dataset, split
        self._per_example, self._dtype, self._widest = per_example, dtype, widest

    @torch.no_grad()
    def __call__(
        self, stack: Stack, activity_types: Sequence[str] = (), chosen: Tensor | None = None
    ) -> dict[str, Tensor]:
        """``{"loss": (K,)}``, and for classification ``{"accuracy": (K,)}`` beside it.

        activity_types: of penalties whose mean over the examples is wanted too, under their type.
        chosen: (K, N) bool, the examples that count for each member; None: all. NaN for a member
        with none.
        """
        count = len(self._split)
        chunk = max(1, min(count, EVALUATION_ELEMENTS // (stack.size * self._widest)))
        totals: dict[str, Tensor] = {}
        for start in range(0, count, chunk):
            inputs = self._split.inputs[start : start + chunk].unsqueeze(0)
            targets = self._split.targets[start : start + chunk].unsqueeze(0)
            hidden: list[Tensor] | None = [] if activity_types else None
            features = self._dataset.features(inputs, self._dtype)
            outputs = stack(features, hidden=hidden).to(self._dtype)
            scores = {"loss": self._per_example(outputs, targets).double()}
            if self._dataset.task == "classification":
                scores["accuracy"] = (outputs.argmax(-1) == targets).double()
            if chosen is not None:
                part = chosen[:, start : start + chunk]
                scores = {name: score * part for name, score in scores.items()}
            sums = {name: score.sum(1) for name, score in scores.items()}
            for kind in activity_types:
                sums[kind] = activity_sum(kind, hidden or ()).double()
            totals = {name: totals.get(name, 0) + value for name, value in sums.items()}
        counts = count if chosen is None else chosen.sum(1)
        return {name: total / counts for name, total in totals.items()}
