"""Which examples are for training, for validation, for testing.

Drawn from the pool of training examples, in this order: the test set (where the dataset comes
without one), the validation set, then `num_train` of what is left. So `num_train` is the number of
examples that are trained on, and changing it leaves the validation and test sets as they were.
Each draw has its own random stream, derived from `dataset.seed`; the run's seed plays no part.
Classes are stratified: every part holds them in the proportions of the pool.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from regrun.errors import ConfigError
from regrun.seeding import derive


@dataclass(frozen=True)
class SplitSizes:
    """How many examples go into each part, and the seed of the draws."""

    validation: int | float = 0
    """A count, or a fraction below 1 of the training examples."""
    num_train: int | None = None
    """Draw this many of the remaining training examples; None: use all."""
    num_test: int | None = None
    seed: int = 0


@dataclass(frozen=True)
class Parts:
    """Ascending int64 indices of each part.

    ``test`` points into the test examples where the dataset comes with some, else into the same
    pool as ``train`` and ``validation``.
    """

    train: Tensor
    validation: Tensor | None
    test: Tensor


def split(
    sizes: SplitSizes,
    targets: Tensor,
    test: Tensor | int | float,
    class_names: tuple[str, ...] = (),
) -> Parts:
    """Draw the parts.

    targets: of the pool, (N,) int64 (stratified) or (N, T) float.
    test: the targets of the test examples, or how many examples of the pool to hold out.
    Raises ConfigError at the key that asks for more than there is.
    """
    seed, pool = sizes.seed, torch.arange(len(targets))
    if isinstance(test, Tensor):
        tested, test_targets = torch.arange(len(test)), test
    else:
        pool, tested = _draw(pool, targets, test, "test", seed, class_names)
        test_targets = targets
        if not len(tested):
            raise ConfigError.at("dataset.test", f"{test}: there must be at least one test example")

    pool, validation = _draw(pool, targets, sizes.validation, "validation", seed, class_names)
    pool = _subset(pool, targets, sizes.num_train, "num_train", seed, class_names)
    tested = _subset(tested, test_targets, sizes.num_test, "num_test", seed, class_names)
    return Parts(pool, validation if len(validation) else None, tested)


def _draw(
    pool: Tensor,
    targets: Tensor,
    held: int | float,
    key: str,
    seed: int,
    class_names: tuple[str, ...],
) -> tuple[Tensor, Tensor]:
    """Divide ``pool``: what stays, and what is drawn, a count or a fraction of it (``held``)."""
    if not held:
        return pool, pool[:0]
    size = len(pool)
    count = held if isinstance(held, int) else max(1, round(held * size))
    if count >= size:
        raise ConfigError.at(f"dataset.{key}", f"{held}: only {size} training examples")

    labels = None if targets.is_floating_point() else targets[pool]
    if labels is not None:
        _check_classes(labels, count, held, key, class_names)

    from sklearn.model_selection import train_test_split

    kept, taken = train_test_split(
        pool.numpy(),
        test_size=count,
        random_state=derive(seed, f"split/{key}") % 2**32,
        stratify=None if labels is None else labels.numpy(),
    )
    return torch.from_numpy(kept).sort().values, torch.from_numpy(taken).sort().values


def _subset(
    pool: Tensor,
    targets: Tensor,
    count: int | None,
    key: str,
    seed: int,
    class_names: tuple[str, ...],
) -> Tensor:
    """Draw ``count`` of ``pool``; None: all of it."""
    if count is None or count == len(pool):
        return pool
    if count > len(pool):
        which = "test" if key == "num_test" else "training"
        raise ConfigError.at(f"dataset.{key}", f"{count}: only {len(pool)} {which} examples")
    return _draw(pool, targets, count, key, seed, class_names)[1]


def _check_classes(
    labels: Tensor, count: int, held: int | float, key: str, class_names: tuple[str, ...]
) -> None:
    """A stratified draw needs room for every class, and two examples of each."""
    counts = torch.bincount(labels)
    present = int((counts > 0).sum())
    for index, examples in enumerate(counts.tolist()):
        if examples == 1:
            name = class_names[index] if class_names else index
            raise ConfigError.at(
                f"dataset.{key}", f"{held}: class {name!r} has 1 example; a split needs 2 of each"
            )
    if min(count, len(labels) - count) < present:
        raise ConfigError.at(
            f"dataset.{key}",
            f"{held}: {count} of {len(labels)} examples; both parts need at least one of each of "
            f"the {present} classes",
        )
