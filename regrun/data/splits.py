"""Which examples are trained on, held out for validation, tested on.

From the pool of training examples come, in this order: the test set (where the dataset has none of
its own), the validation set, then `num_train` of what is left. So `num_train` is the number of
examples that are trained on, and changing it leaves the validation and test sets as they were.
Each draw has a stream of its own from `dataset.seed`; the run's seed plays no part. Classes are
stratified: every part holds them in the proportions of the whole.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from regrun.errors import ConfigError
from regrun.kinds.datasets import DatasetSection, Subset
from regrun.seeding import derive


@dataclass(frozen=True)
class Parts:
    """Ascending int64 indices.

    ``test`` points into the test examples where those were given apart, else into the same pool
    as ``train`` and ``validation``.
    """

    train: Tensor
    validation: Tensor | None
    test: Tensor


def split(
    section: DatasetSection,
    targets: Tensor,
    test: Tensor | int | float,
    class_names: tuple[str, ...] = (),
) -> Parts:
    """Draws the parts.

    targets: of the pool, (N,) int64 (stratified) or (N, T) float.
    test: the targets of a test set given apart, or how much of the pool to hold out.
    Raises ConfigError at the key that asks for more than there is.
    """
    seed, pool = section.seed, torch.arange(len(targets))
    if isinstance(test, Tensor):
        tested, test_targets = torch.arange(len(test)), test
    else:
        pool, tested = _draw(pool, targets, test, "test", seed, class_names)
        test_targets = targets
        if not len(tested):
            raise ConfigError.at("dataset.test", f"{test}: there must be at least one test example")

    pool, validation = _draw(pool, targets, section.validation, "validation", seed, class_names)
    if isinstance(section, Subset):
        pool = _subset(pool, targets, section.num_train, "num_train", seed, class_names)
        tested = _subset(tested, test_targets, section.num_test, "num_test", seed, class_names)
    return Parts(pool, validation if len(validation) else None, tested)


def _draw(
    pool: Tensor,
    targets: Tensor,
    held: int | float,
    key: str,
    seed: int,
    class_names: tuple[str, ...],
) -> tuple[Tensor, Tensor]:
    """``pool`` in two: what stays, and the fraction or count ``held`` that is taken out."""
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
    """``count`` of ``pool``."""
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
