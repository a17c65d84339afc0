"""Datasets that come with scikit-learn, or that it downloads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from regrun.errors import CorruptInputError
from regrun.kinds.datasets.base import DatasetSection, Held, Progress, Subset, Task

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from regrun.data.dataset import Dataset, Split


class BundledDataset(Subset, DatasetSection):
    """Keys of the datasets that come through scikit-learn."""

    origin: ClassVar[str] = "scikit-learn"
    num_examples: ClassVar[int]
    num_features: ClassVar[int]

    test: Held = 0.2
    """Held out as the test set: a fraction below 1, or a count."""

    def estimate_bytes(self) -> int:
        """Count float64 features and targets."""
        return self.num_examples * (self.num_features + 1) * 8

    def _table(self, task: Task, x: Any, y: Any, features: Any, classes: Any = ()) -> Dataset:
        return self._split(
            task,
            _examples(task, x, y),
            self.test,
            standardize=True,
            feature_names=[str(name) for name in features],
            class_names=[str(name) for name in classes],
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
        return self._split(
            "classification",
            _examples("classification", bunch.images[:, None] / 16, bunch.target),
            self.test,
            standardize=False,
            class_names=[str(name) for name in bunch.target_names],
        )


class Diabetes(BundledDataset):
    """442 patients, 10 features, disease progression after a year (regression)."""

    fixed_task: ClassVar[Task | None] = "regression"
    num_examples: ClassVar[int] = 442
    num_features: ClassVar[int] = 10
    name: Literal["diabetes"]
    standardize: bool | None = None
    """Features to mean 0 and standard deviation 1 over the training examples. Default: true; false
    leaves them as scikit-learn scales them, norm 1 over all patients, as in its Lasso examples."""

    def load(self, progress: Progress | None = None) -> Dataset:
        """Ten measurements of each patient; the target, about 150 ± 77, stays in its own unit."""
        from sklearn.datasets import load_diabetes

        bunch = load_diabetes()
        return self._table("regression", bunch.data, bunch.target, bunch.feature_names)


class BreastCancer(BundledDataset):
    """569 tumours, 30 features, malignant or benign."""

    num_examples: ClassVar[int] = 569
    num_features: ClassVar[int] = 30
    name: Literal["breast_cancer"]
    task: Task = "classification"
    """`regression` fits the label, 0 or 1, as a number."""

    def load(self, progress: Progress | None = None) -> Dataset:
        """Class 0 is malignant, 1 benign; as regression the label is the target."""
        from sklearn.datasets import load_breast_cancer

        bunch = load_breast_cancer()
        classes = bunch.target_names if self.task == "classification" else ()
        return self._table(self.task, bunch.data, bunch.target, bunch.feature_names, classes)


class Wine(BundledDataset):
    """178 wines, 13 features, 3 cultivars."""

    fixed_task: ClassVar[Task | None] = "classification"
    num_examples: ClassVar[int] = 178
    num_features: ClassVar[int] = 13
    name: Literal["wine"]

    def load(self, progress: Progress | None = None) -> Dataset:
        """Chemical analyses of wines from three cultivars."""
        from sklearn.datasets import load_wine

        bunch = load_wine()
        return self._table(
            "classification", bunch.data, bunch.target, bunch.feature_names, bunch.target_names
        )


class CaliforniaHousing(BundledDataset):
    """20,640 districts, 8 features, median house value (regression; scikit-learn downloads it)."""

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
        from regrun.data.npz_file import read_npz

        path = self._find_or_download()
        arrays = read_npz(path, ("x", "y"))
        x, y = arrays.get("x"), arrays.get("y")
        if x is None or y is None or x.shape != (len(y), self.num_features):
            raise CorruptInputError(
                f"{path}: needs x (N, 8) and y (N,); delete it to download it again"
            )
        return self._table("regression", x, y, self.feature_names)

    def _find_or_download(self) -> Path:
        from regrun.data.files import data_folders, download_folder, download_into

        looked = [folder / self.file for folder in data_folders(self.root)]
        for path in looked:
            if path.is_file():
                return path
        folder = download_folder(self.root)
        by_hand = (
            f"run this on a machine with a connection and copy the file {self.file} from its "
            f"{folder}/ into {folder}/ here (looked at: {', '.join(map(str, looked))})"
        )
        download_into(folder, self._fetch, by_hand)
        return folder / self.file

    def _fetch(self, folder: Path) -> None:
        import shutil

        import numpy as np
        from sklearn.datasets import fetch_california_housing

        cache = folder / "scikit-learn"
        bunch = fetch_california_housing(data_home=str(cache))
        shutil.rmtree(cache)
        np.savez_compressed(folder / self.file, x=bunch.data, y=bunch.target)


def _examples(task: Task, x: NDArray[np.float64], y: NDArray[np.generic]) -> Split:
    """Return copies: inputs in float64, targets as class indices or as (N, 1) float64."""
    import numpy as np
    import torch

    from regrun.data.dataset import Split

    classes = task == "classification"
    targets = y.astype(np.int64) if classes else y.astype(np.float64).reshape(-1, 1)
    return Split(torch.from_numpy(x.astype(np.float64)), torch.from_numpy(targets))
