"""Datasets that come with scikit-learn, or that it downloads."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from regrun.errors import CorruptInputError
from regrun.kinds.datasets.base import DatasetSection, Held, Progress, Subset, Task

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from regrun.data.dataset import Dataset


class BundledDataset(Subset, DatasetSection):
    """Keys of the datasets that come through scikit-learn."""

    origin: ClassVar[str] = "scikit-learn"
    num_examples: ClassVar[int]
    num_features: ClassVar[int]
    target_name: ClassVar[str] = "target"
    """The name of the number to predict."""

    test: Held = 0.2
    """Held out as the test set: a fraction below 1, or a count."""

    def load(self, progress: Progress | None = None) -> Dataset:
        """Load what comes with scikit-learn; classes keep its numbers."""
        from sklearn import datasets

        bunch = getattr(datasets, f"load_{self.name}")()
        classes = bunch.target_names if self.known_task == "classification" else ()
        return self._table(bunch.data, bunch.target, bunch.feature_names, classes)

    def estimate_bytes(self) -> int:
        return self.num_examples * (self.num_features + 1) * 8

    def _table(
        self,
        x: Any,
        y: Any,
        features: Any,
        classes: Any,
        value_range: tuple[float, float] | None = None,
        notes: Sequence[str] = (),
    ) -> Dataset:
        """Split (N, …) inputs and (N,) targets.

        features, classes: their names. value_range: what is black and what is white in images.
        notes: on where they were found.
        """
        from regrun.data.arrays import Options, decode_arrays

        arrays = {"x": x, "y": y}
        examples = decode_arrays(
            arrays,
            Options(self.known_task, self.test, value_range=value_range),
            f"dataset {self.name}",
            "name",
            target_names=(self.target_name,),
        )
        return self._split(
            replace(
                examples,
                feature_names=[str(name) for name in features],
                class_names=[str(name) for name in classes],
                notes=notes,
                # A table is read by the names of its columns.
                inputs=None if len(features) else examples.inputs,
            )
        )


class Digits(BundledDataset):
    """1,797 handwritten digits of 8×8 pixels, 10 classes."""

    fixed_task: ClassVar[Task | None] = "classification"
    num_examples: ClassVar[int] = 1797
    num_features: ClassVar[int] = 64
    name: Literal["digits"]

    def load(self, progress: Progress | None = None) -> Dataset:
        """Images (1, 8, 8), their 17 grey levels divided by 16 into [0, 1], in floating point."""
        from sklearn.datasets import load_digits

        bunch = load_digits()
        images = bunch.images[:, None]
        return self._table(images, bunch.target, (), bunch.target_names, value_range=(0.0, 16.0))


class Diabetes(BundledDataset):
    """442 patients, 10 features, disease progression after a year (regression)."""

    target_name: ClassVar[str] = "progression"

    fixed_task: ClassVar[Task | None] = "regression"
    num_examples: ClassVar[int] = 442
    num_features: ClassVar[int] = 10
    name: Literal["diabetes"]
    standardize: bool | None = None
    """Features to mean 0 and standard deviation 1 over the training examples. Default: true; false
    leaves them as scikit-learn scales them, norm 1 over all patients, as in its Lasso examples."""


class BreastCancer(BundledDataset):
    """569 tumours, 30 features, malignant or benign."""

    num_examples: ClassVar[int] = 569
    num_features: ClassVar[int] = 30
    name: Literal["breast_cancer"]
    task: Task = "classification"
    """`regression` fits the label, 0 or 1, as a number."""


class Wine(BundledDataset):
    """178 wines, 13 features, 3 cultivars."""

    fixed_task: ClassVar[Task | None] = "classification"
    num_examples: ClassVar[int] = 178
    num_features: ClassVar[int] = 13
    name: Literal["wine"]


class CaliforniaHousing(BundledDataset):
    """20,640 districts, 8 features, median house value (regression; scikit-learn downloads it)."""

    target_name: ClassVar[str] = "MedHouseVal"

    fixed_task: ClassVar[Task | None] = "regression"
    num_examples: ClassVar[int] = 20_640
    num_features: ClassVar[int] = 8
    feature_names: ClassVar[tuple[str, ...]] = (
        "MedInc", "HouseAge", "AveRooms", "AveBedrms",
        "Population", "AveOccup", "Latitude", "Longitude",
    )  # fmt: skip
    file: ClassVar[str] = "california_housing.npz"
    """x (20640, 8) and y (20640,). scikit-learn's own cache is a pickle, which could execute any
    code when it is loaded."""

    name: Literal["california_housing"]
    root: str | None = None
    """Folder of `california_housing.npz`. Default: `REGRUN_DATA`, else `data/`, else a download."""

    def load(self, progress: Progress | None = None) -> Dataset:
        """Median house value in units of 100,000 dollars."""
        from regrun.data.files import find_or_download, notes_on_place
        from regrun.data.npz_file import read_npz

        def by_hand(folder: Path, searched: list[Path]) -> str:
            looked = ", ".join(str(each / self.file) for each in searched)
            return (
                f"run this on a machine with a connection and copy the file {self.file} from its "
                f"{folder}/ into {folder}/ here (looked at: {looked})"
            )

        folder = find_or_download(self.root, [self.file], self._fetch, by_hand)
        path = folder / self.file
        arrays, _ = read_npz(path, ("x", "y"))
        x, y = arrays.get("x"), arrays.get("y")
        if x is None or y is None or x.shape != (len(y), self.num_features):
            raise CorruptInputError(
                f"{path}: needs x (N, 8) and y (N,); delete it to download it again"
            )
        notes = notes_on_place(self.root, folder, self.name)
        return self._table(x, y, self.feature_names, (), notes=notes)

    def _fetch(self, folder: Path) -> None:
        import shutil

        import numpy as np
        from sklearn.datasets import fetch_california_housing

        cache = folder / "scikit-learn"
        bunch = fetch_california_housing(data_home=str(cache))
        shutil.rmtree(cache)
        np.savez_compressed(folder / self.file, x=bunch.data, y=bunch.target)
