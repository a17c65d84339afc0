"""What all datasets have: keys, facts that are known without loading, and `load`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, Strict

from regrun.kinds.base import Count, Section, Seed, running
from regrun.results import Task

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from regrun.data.assemble import Scaling
    from regrun.data.dataset import Dataset, Examples
    from regrun.data.splits import Parts, SplitOrder
    from regrun.data.written_keys import WrittenKey
    from regrun.kinds.optimizers.base import Optimizer

__all__ = ["DatasetSection", "Held", "Progress", "Subset", "Task", "ValueRange"]

Held = Annotated[int, Field(ge=0)] | Annotated[float, Field(ge=0, lt=1)]
"""How many examples to hold out: a count, or a fraction below 1."""


_MOST_PERCENT = 50
"""Nobody means to hold out more."""


def _ascending(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] >= bounds[1]:
        raise ValueError(f"{list(bounds)}: write [black, white], the lower number first")
    return bounds


ValueRange = Annotated[tuple[float, float], Strict(False), AfterValidator(_ascending)]
"""What is black and what is white in images."""

Weight = Annotated[float, Field(gt=0)]

Progress = Callable[[str], None]
"""Receives a line before anything that takes long."""


class DatasetSection(Section):
    """Base class of all datasets.

    A dataset of your own needs `name: Literal["…"]`, a docstring (the line in `regrun list`) and
    `arrays`. Its other fields are its keys; three of them have a meaning if they are there: `task`
    lets the user choose between classification and regression, `test` is how much of `x` and `y`
    to hold out as the test set, and those in `path_keys` are absolute paths by the time `arrays`
    is called. Derive from `Subset` too to have `num_train` and `num_test`.

    Example:
        >>> import numpy as np
        >>> from typing import Literal
        >>> from regrun.plugins import DatasetSection
        >>> class Line(DatasetSection):
        ...     "Points on a line."
        ...     name: Literal["line"] = "line"
        ...     slope: float = 2.0
        ...     test: int = 10
        ...     def arrays(self):
        ...         x = np.linspace(0, 1, 50)
        ...         return {"x": x, "y": self.slope * x}
        >>> data = Line(slope=3.0).load()
        >>> data.task, len(data.train), len(data.test), data.input_shape
        ('regression', 40, 10, (1,))
    """

    origin: ClassVar[str]
    """``generated``, ``scikit-learn``, ``torchvision`` or ``your file``; `regrun list` shows it."""
    fixed_task: ClassVar[Task | None] = None
    """The task, where the class leaves no choice."""
    own_validation: ClassVar[str] = "x_val and y_val"
    """What a validation set of its own would come from, for messages."""
    path_keys: ClassVar[tuple[str, ...]] = ("path", "test_path", "root", "labels")
    """Keys that name files or folders, in every dataset. Loading a config makes them absolute."""

    name: str
    """Which dataset; the other keys depend on it."""

    validation: Held = 0
    """Held out of the training examples: a fraction below 1, or a count; 0 holds out none. Drawn
    before `num_train`, so that changing that leaves the validation set as it was."""
    seed: Seed = 0
    """Draws synthetic data and every split. The run's own seed does not touch the data."""
    standardize: bool | None = None
    """Subtract the mean and divide by the standard deviation of the training examples, feature by
    feature (images: channel by channel). Default: true for tables, false for synthetic data and
    images, whose pixels are scaled to [0, 1] either way."""
    standardize_target: bool | Literal["auto"] = "auto"
    """Train on (y − mean) / std of the training targets, target by target. Losses and predictions
    stay on the original scale; `objective` and the strengths of penalties are on that of training.
    auto: where the root mean square of a target is not in [0.1, 10], unless the data are synthetic
    or the optimizer is `fista`, whose strengths are those of scikit-learn."""
    class_weights: Literal["none", "balanced"] | dict[str, Weight] = "none"
    """Weight of each class in the training loss, whose mean is over the examples. balanced:
    N / (C · N_c), as in scikit-learn. A mapping: class → weight; others have 1. The reported losses
    are without weights; `objective` is with them."""

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """Give the examples. Import numpy inside the method, so that `regrun list` stays quick.

        Returns:
            `x_train, y_train, x_test, y_test`, and `x_val, y_val` if there is a validation set; or
            `x, y`, which are split. x (N, …): 4 axes are images, (N, C, H, W) or (N, H, W, C), and
            so are uint8 of 3 axes, (N, H, W); other numbers are features, used as float64. y (N,)
            of strings, booleans or few different integers are classes, and so are one-hot rows;
            other y, (N,) or (N, T), are the numbers to predict.
        """
        raise NotImplementedError

    @classmethod
    def first_keys(cls, path: Path, target: str | None) -> list[WrittenKey] | None:
        """Find the keys, besides `name` and `path`, under which a file can be trained on.

        Args:
            path: A file or folder of the user's own.
            target: What to predict, where the file leaves a choice; None: what is usual.

        Returns:
            Keys with their reasons; None where the dataset does not read such files.

        Raises:
            ConfigError: There is nothing to learn from, or no such target.
            CorruptInputError: The file is damaged.
        """
        return None

    def load(self, progress: Progress | None = None) -> Dataset:
        """Load, split, encode and standardize the examples.

        Args:
            progress: Receives a line before anything that takes long.

        Returns:
            Tensors on the CPU: float64 features or uint8 images, int64 classes or float64 targets.

        Raises:
            ConfigError: A key does not suit the data.
            UsageError: Something has to be installed, or fetched by hand.
            CorruptInputError: A file is damaged; the message names it.
            StorageError: A download cannot be written.
        """
        return self._from_arrays(self._checked_arrays(), f"dataset {self.name}", "name")

    def load_draws(self, seeds: Sequence[int]) -> Iterator[Dataset]:
        """Load one dataset after the other, as `load` does with these seeds in turn.

        Override it where files can be read once for all of them.

        Args:
            seeds: What `seed` is instead of its own value.

        Yields:
            A dataset for each seed.

        Raises:
            RegrunError: What `load` raises.
        """
        for seed in seeds:
            yield self.model_copy(update={"seed": seed}).load()

    def estimate_bytes(self) -> int | None:
        """Estimate the memory of the examples as loaded.

        Returns:
            Bytes; None where the size is known only from the user's own files.
        """
        return None

    @property
    def known_task(self) -> Task | None:
        """The task, as far as the config alone settles it; else the targets do."""
        return self.fixed_task or getattr(self, "task", None)

    def notes_on_counts(self) -> list[str]:
        """What is held out as a count and may have been meant as a percentage."""
        given = {key: getattr(self, key, None) for key in ("validation", "test")}
        return [
            f"dataset.{key}: {held} holds out {held} examples; {held}% would be {held / 100:g}"
            for key, held in given.items()
            if isinstance(held, int) and 1 <= held <= _MOST_PERCENT
        ]

    @property
    def may_have_validation(self) -> bool:
        """Whether the examples may come with a validation set: `arrays` may hold one."""
        return type(self).arrays is not DatasetSection.arrays

    def has_own_validation(self) -> bool:
        """Whether the examples come with a validation set, whatever `validation` holds out.

        Raises:
            RegrunError: What `load` raises for missing or damaged files.
        """
        from regrun.data.arrays import holds_validation

        return self.may_have_validation and holds_validation(self._checked_arrays())

    def has_test(self) -> bool:
        """Whether there is a test set: `test` is not 0, or the examples come with one.

        Raises:
            RegrunError: What `load` raises for missing or damaged files.
        """
        asked = getattr(self, "test", None) != 0 or getattr(self, "test_path", None) is not None
        return asked or self.has_own_test()

    def has_own_test(self) -> bool:
        """Whether the examples come with a test set.

        Raises:
            RegrunError: What `load` raises for missing or damaged files.
        """
        from regrun.data.arrays import holds_test

        own_arrays = type(self).arrays is not DatasetSection.arrays
        return own_arrays and holds_test(self._checked_arrays())

    def draws_data(self) -> bool:
        """Whether `seed` decides which examples are trained on, or are in any part.

        A dataset of your own whose `arrays` draw examples by `self.seed` returns true.

        Returns:
            True for generated data, and where the test set, the validation set, `num_train` or
            `num_test` is drawn; false where all parts are given.

        Raises:
            RegrunError: What `load` raises for missing or damaged files.
        """
        drawn = (self.validation, getattr(self, "num_train", None), getattr(self, "num_test", None))
        generated = getattr(self, "origin", "") == "generated"
        return generated or any(drawn) or self._draws_test()

    def _draws_test(self) -> bool:
        """Whether the test set is cut off by `seed`."""
        cuts = type(self).arrays is not DatasetSection.arrays or hasattr(self, "test")
        given = getattr(self, "test", None) == 0 or getattr(self, "test_path", None) is not None
        return cuts and not given and not self.has_own_test()

    def named_paths(self) -> list[str]:
        """Return the files and folders that the section names."""
        return [path for key in self.path_keys if (path := getattr(self, key, None)) is not None]

    def with_targets_for(self, optimizer: Optimizer) -> Self:
        """Settle what `standardize_target: auto` means for an optimizer.

        Args:
            optimizer: The config's. One that works out its own step needs no scaled targets.

        Returns:
            The same section, or a copy.
        """
        if self.standardize_target != "auto" or not optimizer.full_batch:
            return self
        return self.model_copy(update={"standardize_target": False})

    @classmethod
    def undefined(cls) -> list[str]:
        """A dataset has `arrays`, unless it overrides `load`."""
        loads = cls.load is not DatasetSection.load or cls.arrays is not DatasetSection.arrays
        return [*super().undefined(), *([] if loads else ["arrays"])]

    def _checked_arrays(self) -> dict[str, NDArray[Any]]:
        import numpy as np

        with running(self, "arrays"):
            return {name: np.asarray(array) for name, array in self.arrays().items()}

    def _from_arrays(self, arrays: Mapping[str, NDArray[Any]], origin: str, key: str) -> Dataset:
        """Decode, split and standardize. origin, key: where the arrays come from, for messages."""
        from regrun.data.arrays import Options, decode_arrays

        options = Options(self.known_task, getattr(self, "test", 0.2), standardize=self.standardize)
        return self._split(decode_arrays(arrays, options, origin, key))

    def _split(self, examples: Examples) -> Dataset:
        """Draw the parts of decoded examples and standardize them."""
        from regrun.data.assemble import assemble

        test = examples.test
        held_out = test if isinstance(test, int | float) else test.targets
        came = examples.provenance
        if not came.task_reason:
            chosen = self.fixed_task is None and "task" in self.model_fields_set
            reason = "dataset.task" if chosen else f"{self.name} is a {examples.task} dataset"
            examples = replace(examples, provenance=replace(came, task_reason=reason))
        parts = self._parts(examples.train.targets, held_out, examples.class_names)
        standardize = self._standardizes(examples.train.inputs.ndim == 4)
        return assemble(self.name, examples, parts, self._scaling(standardize))

    def _scaling(self, standardize: bool) -> Scaling:
        """What is done to the numbers once they are split."""
        from regrun.data.assemble import Scaling

        return Scaling(standardize, self.standardize_target, self.class_weights)

    def _parts(
        self,
        train: Tensor,
        test: Tensor | float,
        class_names: Sequence[str],
        order: SplitOrder | None = None,
    ) -> Parts:
        """Divide examples with these targets. test: those of the test set, or how many to draw.

        order: what decides besides the classes.
        """
        from regrun.data.splits import SplitOrder, Splitter

        pool = self if isinstance(self, Subset) else Subset()
        sizes = Splitter(
            self.validation,
            pool.num_train,
            pool.num_test,
            self.seed,
            class_names,
            order or SplitOrder(),
        )
        return sizes.split(train, test)

    def _standardizes(self, images: bool) -> bool:
        """Whether to standardize; where the config leaves it open, tables alone."""
        return not images if self.standardize is None else self.standardize


class Subset(Section):
    """Keys of datasets with a fixed pool of examples. Derive from it before `DatasetSection`."""

    num_train: Count | None = None
    """Use only this many training examples (drawn by `dataset.seed`, stratified by class)."""
    num_test: Count | None = None
    """Use only this many test examples (drawn by `dataset.seed`, stratified by class)."""
