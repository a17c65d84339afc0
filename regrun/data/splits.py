"""Which examples are for training, for validation, for testing.

Drawn from the pool of training examples, in this order: the test set (where the dataset comes
without one), the validation set, then `num_train` of what is left. So `num_train` is the number of
examples that are trained on, and changing it leaves the validation and test sets as they were.
Each draw has its own random stream, derived from `dataset.seed`; the run's seed plays no part.

Draws are stratified by class, or by other strata. Where examples belong to groups, whole groups are
drawn instead: a fraction is one of the groups. Where examples have times, nothing is drawn: the
latest are for testing, those before them for validation, and examples of one time stay together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from regrun.errors import ConfigError
from regrun.results import Part
from regrun.seeding import derive


@dataclass(frozen=True)
class Parts:
    """Ascending int64 indices of each part.

    ``test`` points into the test examples where the dataset comes with some, else into the same
    pool as ``train`` and ``validation``; empty: there is no test set.
    """

    train: Tensor
    validation: Tensor | None
    test: Tensor
    description: str = ""
    """One sentence: how the examples were divided."""
    drawn: tuple[Part, ...] = ()
    """Those that another seed would make anew."""
    pool: int = 0
    """The examples that they are drawn from."""


@dataclass(frozen=True)
class SplitOrder:
    """What decides which examples go together, besides their classes; at most one of them."""

    strata: Tensor | None = None
    """(N,) int64 of the pool, to stratify by instead of the classes."""
    groups: Tensor | None = None
    """(N,) int64 of the pool; examples of one group stay in one part."""
    times: Tensor | None = None
    """(N,) of the pool, ascending into the future."""


@dataclass(frozen=True)
class Splitter:
    """Draws the parts, of these sizes. Errors are ConfigErrors at the key that asks too much."""

    validation: float = 0
    """A count, or a fraction below 1 of the training examples."""
    num_train: int | None = None
    """Draw this many of the remaining training examples; None: use all. Of examples with times the
    latest are used."""
    num_test: int | None = None
    seed: int = 0
    class_names: Sequence[str] = ()
    order: SplitOrder = SplitOrder()

    def split(self, targets: Tensor, test: Tensor | float) -> Parts:
        """Draw the parts.

        targets: of the pool, (N,) int64 (stratified) or (N, T) float.
        test: the targets of the test examples, or how many examples of the pool to hold out; 0:
        there is no test set.
        """
        pool, test_targets = torch.arange(len(targets)), targets
        tested = pool[:0]
        described = []
        if isinstance(test, Tensor):
            tested, test_targets = torch.arange(len(test)), test
            described.append("test: as given")
        elif test:
            pool, tested = self._hold_out(pool, targets, test, "test")
            described.append(self._described("test", tested, len(targets)))
        else:
            described.append("test: none")
        validation = None
        if self.validation:
            size = len(pool)
            pool, validation = self._hold_out(pool, targets, self.validation, "validation")
            described.append(self._described("validation", validation, size))
        left = len(pool)
        if self.num_train is not None and self.order.times is not None:
            pool = self._latest_of(pool, self.num_train)
        else:
            pool = self._subset(pool, targets, self.num_train, "num_train")
        if len(tested):
            tested = self._subset(tested, test_targets, self.num_test, "num_test")
        elif self.num_test is not None:
            raise ConfigError.at("dataset.num_test", f"{self.num_test}: there is no test set")
        holds_out = not isinstance(test, Tensor) and bool(test)
        redrawn: dict[Part, bool] = {
            "train": holds_out or validation is not None or len(pool) < left,
            "validation": validation is not None,
            "test": holds_out or 0 < len(tested) < len(test_targets),
        }
        by_seed = self.order.times is None
        drawn = tuple(part for part, is_drawn in redrawn.items() if is_drawn and by_seed)
        return Parts(pool, validation, tested, "; ".join(described), drawn, len(targets))

    def _described(self, part: str, held: Tensor, size: int) -> str:
        """``test: 20 of 100 examples, stratified``."""
        how = ", drawn by dataset.seed"
        if self.order.times is not None:
            how = ", the latest"
        elif self.order.groups is not None:
            how = f" ({len(torch.unique(self.order.groups[held])):,} groups), drawn by dataset.seed"
        return f"{part}: {len(held):,} of {size:,} examples{how}"

    def _hold_out(
        self, pool: Tensor, targets: Tensor, held: float, key: str
    ) -> tuple[Tensor, Tensor]:
        """Divide ``pool``: what stays, and what is held out. held: a count, or a fraction of it."""
        if self.order.times is not None:
            return self._latest(pool, held, key)
        if self.order.groups is not None:
            return self._whole_groups(pool, held, key)
        return self._draw(pool, targets, held, key)

    def _latest(self, pool: Tensor, held: float, key: str) -> tuple[Tensor, Tensor]:
        """The latest examples, with all of the same time as the first of them."""
        count = self._count(len(pool), held, key)
        assert self.order.times is not None
        times = self.order.times[pool]
        first = times.sort().values[len(pool) - count]
        late = times >= first
        if bool(late.all()):
            raise ConfigError.at(
                f"dataset.{key}", f"{held}: no example is earlier than these {count:,} latest ones"
            )
        return pool[~late], pool[late]

    def _latest_of(self, pool: Tensor, count: int) -> Tensor:
        """The ``count`` latest examples."""
        if count > len(pool):
            raise ConfigError.at(
                "dataset.num_train", f"{count}: only {len(pool)} training examples"
            )
        assert self.order.times is not None
        order = self.order.times[pool].argsort(stable=True)
        return pool[order[len(pool) - count :]].sort().values

    def _whole_groups(self, pool: Tensor, held: float, key: str) -> tuple[Tensor, Tensor]:
        """Draw whole groups: the share of them that the examples have of the pool."""
        from sklearn.model_selection import GroupShuffleSplit

        assert self.order.groups is not None
        groups = self.order.groups[pool]
        number = len(torch.unique(groups))
        count = self._count(len(pool), held, key)
        drawn = max(1, round(count / len(pool) * number))
        if drawn >= number:
            raise ConfigError.at(f"dataset.{key}", f"{held}: only {number} groups (dataset.group)")
        splitter = GroupShuffleSplit(
            n_splits=1, test_size=drawn, random_state=derive(self.seed, f"split/{key}") % 2**32
        )
        kept, taken = next(splitter.split(pool.numpy(), groups=groups.numpy()))
        return pool[torch.from_numpy(kept)], pool[torch.from_numpy(taken)]

    def _count(self, size: int, held: float, key: str) -> int:
        count = held if isinstance(held, int) else max(1, round(held * size))
        if count >= size:
            raise ConfigError.at(f"dataset.{key}", f"{held}: only {size} training examples")
        return count

    def _draw(self, pool: Tensor, targets: Tensor, held: float, key: str) -> tuple[Tensor, Tensor]:
        """Draw at random, in the proportions of the strata."""
        size = len(pool)
        count = self._count(size, held, key)
        labels = self._labels(pool, targets, key)
        if labels is not None:
            self._check_strata(labels, count, held, key)

        from sklearn.model_selection import train_test_split

        kept, taken = train_test_split(
            pool.numpy(),
            test_size=count,
            random_state=derive(self.seed, f"split/{key}") % 2**32,
            stratify=None if labels is None else labels.numpy(),
        )
        return torch.from_numpy(kept).sort().values, torch.from_numpy(taken).sort().values

    def _labels(self, pool: Tensor, targets: Tensor, key: str) -> Tensor | None:
        """What to stratify by. The strata are known of the pool, not of given test examples."""
        if self.order.strata is not None and key != "num_test":
            return self.order.strata[pool]
        return None if targets.is_floating_point() else targets[pool]

    def _subset(self, pool: Tensor, targets: Tensor, count: int | None, key: str) -> Tensor:
        """Draw ``count`` of ``pool``; None: all of it."""
        if count is None or count == len(pool):
            return pool
        if count > len(pool):
            which = "test" if key == "num_test" else "training"
            raise ConfigError.at(f"dataset.{key}", f"{count}: only {len(pool)} {which} examples")
        return self._draw(pool, targets, count, key)[1]

    def _check_strata(self, labels: Tensor, count: int, held: float, key: str) -> None:
        """A stratified draw needs room for every stratum, and two examples of each."""
        noun, plural = ("class", "classes") if self.order.strata is None else ("stratum", "strata")
        counts = torch.bincount(labels)
        if (counts == 1).any():
            index = int((counts == 1).nonzero()[0])
            named = self.order.strata is None and self.class_names
            name = self.class_names[index] if named else index
            raise ConfigError.at(
                f"dataset.{key}", f"{held}: {noun} {name!r} has 1 example; a split needs 2 of each"
            )
        present = int(counts.count_nonzero())
        if min(count, len(labels) - count) < present:
            raise ConfigError.at(
                f"dataset.{key}",
                f"{held}: {count} of {len(labels)} examples; both parts need at least one of each "
                f"of the {present} {plural}",
            )
