"""Which examples are for training, for validation, for testing.

Drawn from the pool of training examples, in this order: the test set (where the dataset comes
without one), the validation set, then `num_train` of what is left. So `num_train` is the number of
examples that are trained on, and changing it leaves the validation and test sets as they were.
Each draw has its own random stream, derived from `dataset.seed`; the run's seed plays no part.
Classes are stratified: every part holds them in the proportions of the pool.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from regrun.errors import ConfigError
from regrun.seeding import derive


@dataclass(frozen=True)
class Parts:
    """Ascending int64 indices of each part.

    ``test`` points into the test examples where the dataset comes with some, else into the same
    pool as ``train`` and ``validation``.
    """

    train: Tensor
    validation: Tensor | None
    test: Tensor
    description: str = ""
    """One sentence: how the examples were divided."""


@dataclass(frozen=True)
class Splitter:
    """Draws the parts, of these sizes. Errors are ConfigErrors at the key that asks too much."""

    validation: float = 0
    """A count, or a fraction below 1 of the training examples."""
    num_train: int | None = None
    """Draw this many of the remaining training examples; None: use all."""
    num_test: int | None = None
    seed: int = 0
    class_names: Sequence[str] = ()

    def split(self, targets: Tensor, test: Tensor | float) -> Parts:
        """Draw the parts.

        targets: of the pool, (N,) int64 (stratified) or (N, T) float.
        test: the targets of the test examples, or how many examples of the pool to hold out.
        """
        pool, test_targets = torch.arange(len(targets)), targets
        if isinstance(test, Tensor):
            tested, test_targets = torch.arange(len(test)), test
        elif test:
            pool, tested = self._draw(pool, targets, test, "test")
        else:
            raise ConfigError.at("dataset.test", f"{test}: there must be at least one test example")
        validation = None
        if self.validation:
            pool, validation = self._draw(pool, targets, self.validation, "validation")
        pool = self._subset(pool, targets, self.num_train, "num_train")
        tested = self._subset(tested, test_targets, self.num_test, "num_test")
        return Parts(pool, validation, tested)

    def _draw(self, pool: Tensor, targets: Tensor, held: float, key: str) -> tuple[Tensor, Tensor]:
        """Divide ``pool``: what stays, and what is drawn. held: a count, or a fraction of it."""
        size = len(pool)
        count = held if isinstance(held, int) else max(1, round(held * size))
        if count >= size:
            raise ConfigError.at(f"dataset.{key}", f"{held}: only {size} training examples")

        labels = None if targets.is_floating_point() else targets[pool]
        if labels is not None:
            self._check_classes(labels, count, held, key)

        from sklearn.model_selection import train_test_split

        kept, taken = train_test_split(
            pool.numpy(),
            test_size=count,
            random_state=derive(self.seed, f"split/{key}") % 2**32,
            stratify=None if labels is None else labels.numpy(),
        )
        return torch.from_numpy(kept).sort().values, torch.from_numpy(taken).sort().values

    def _subset(self, pool: Tensor, targets: Tensor, count: int | None, key: str) -> Tensor:
        """Draw ``count`` of ``pool``; None: all of it."""
        if count is None or count == len(pool):
            return pool
        if count > len(pool):
            which = "test" if key == "num_test" else "training"
            raise ConfigError.at(f"dataset.{key}", f"{count}: only {len(pool)} {which} examples")
        return self._draw(pool, targets, count, key)[1]

    def _check_classes(self, labels: Tensor, count: int, held: float, key: str) -> None:
        """A stratified draw needs room for every class, and two examples of each."""
        counts = torch.bincount(labels)
        if (counts == 1).any():
            index = int((counts == 1).nonzero()[0])
            name = self.class_names[index] if self.class_names else index
            raise ConfigError.at(
                f"dataset.{key}", f"{held}: class {name!r} has 1 example; a split needs 2 of each"
            )
        present = int(counts.count_nonzero())
        if min(count, len(labels) - count) < present:
            raise ConfigError.at(
                f"dataset.{key}",
                f"{held}: {count} of {len(labels)} examples; both parts need at least one of each "
                f"of the {present} classes",
            )
