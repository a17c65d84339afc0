"""The kinds of datasets: a class a name, its docstring the line that `regrun list` shows."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, Strict

from regrun.kinds.base import Count, Section, Seed

Task = Literal["regression", "classification"]
Held = Annotated[int, Field(ge=0)] | Annotated[float, Field(ge=0, lt=1)]


class DatasetSection(Section):
    """Keys that every dataset has."""

    origin: ClassVar[str]
    """``generated``, ``scikit-learn``, ``torchvision`` or ``your file``."""

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


class Subset(Section):
    """Keys of datasets with a fixed pool of examples."""

    num_train: Count | None = None
    """Use only this many training examples (drawn by `dataset.seed`, stratified by class)."""
    num_test: Count | None = None
    """Use only this many test examples (drawn by `dataset.seed`, stratified by class)."""


class SyntheticLinear(DatasetSection):
    """y = bias + Σ weight·xᵢ + ε with x ~ N(0, 1) and ε ~ N(0, noise²)."""

    origin: ClassVar[str] = "generated"
    name: Literal["synthetic_linear"]
    num_features: Count = 200
    num_train: Count = 20
    num_test: Count = 100
    noise: Annotated[float, Field(ge=0)] = 0.01
    """Standard deviation of ε."""
    weight: float = 0.01
    """Every true coefficient."""
    bias: float = 0.05
    """The true intercept."""


class BundledDataset(Subset, DatasetSection):
    """Keys of the datasets that come through scikit-learn."""

    origin: ClassVar[str] = "scikit-learn"
    test: Held = 0.2
    """Held out as the test set: a fraction below 1, or a count."""


class Digits(BundledDataset):
    """1,797 handwritten digits of 8×8 pixels, 10 classes."""

    name: Literal["digits"]


class Diabetes(BundledDataset):
    """442 patients, 10 features, disease progression after a year (regression)."""

    name: Literal["diabetes"]
    standardize: bool | None = None
    """Features to mean 0 and standard deviation 1 over the training examples. Default: true; false
    leaves them as scikit-learn scales them, norm 1 over all patients, as in its Lasso examples."""


class BreastCancer(BundledDataset):
    """569 tumours, 30 features, malignant or benign."""

    name: Literal["breast_cancer"]
    task: Task = "classification"
    """`regression` fits the label, 0 or 1, as a number."""


class Wine(BundledDataset):
    """178 wines, 13 features, 3 cultivars."""

    name: Literal["wine"]


class CaliforniaHousing(BundledDataset):
    """20,640 districts, 8 features, median house value (regression; scikit-learn downloads it)."""

    name: Literal["california_housing"]
    root: str | None = None
    """Folder of `california_housing.npz`. Default: `REGRUN_DATA`, else `data/`, else a download."""


class VisionDataset(Subset, DatasetSection):
    """Keys of the image sets that come through torchvision."""

    origin: ClassVar[str] = "torchvision"
    root: str | None = None
    """Folder as torchvision lays it out. Default: `REGRUN_DATA`, else `data/`, else a download."""


class MNIST(VisionDataset):
    """60,000 + 10,000 handwritten digits, 28×28 grey, 10 classes."""

    name: Literal["mnist"]


class FashionMNIST(VisionDataset):
    """60,000 + 10,000 pieces of clothing, 28×28 grey, 10 classes."""

    name: Literal["fashion_mnist"]


class KMNIST(VisionDataset):
    """60,000 + 10,000 Kuzushiji characters, 28×28 grey, 10 classes."""

    name: Literal["kmnist"]


class CIFAR10(VisionDataset):
    """50,000 + 10,000 photographs, 32×32 colour, 10 classes."""

    name: Literal["cifar10"]


class CSV(Subset, DatasetSection):
    """A table of your own, with a header line; text columns are one-hot encoded."""

    origin: ClassVar[str] = "your file"
    name: Literal["csv"]
    path: str
    """The file; relative to the config file, else to the working directory."""
    target: str
    """The column to predict."""
    ignore: Annotated[tuple[str, ...], Strict(False)] = ()
    """Columns that are no features, such as an identifier."""
    separator: Annotated[str, Field(min_length=1, max_length=1)] = ","
    """What stands between two cells."""
    task: Task | None = None
    """Default: classification when the target is text, boolean or at most 20 different whole
    numbers."""
    test: Held = 0.2
    """Held out as the test set, unless `test_path` is given."""
    test_path: str | None = None
    """A second file with the same columns, used as the test set."""
    missing: Literal["refuse", "mean", "median", "most_frequent"] = "refuse"
    """Empty cells: refuse the file, or impute from the training rows (text columns always by the
    most frequent value)."""


class NPZ(Subset, DatasetSection):
    """Arrays of your own: `x_train, y_train, x_test, y_test`, or `x, y` split by `test`."""

    origin: ClassVar[str] = "your file"
    name: Literal["npz"]
    path: str
    """The file; relative to the config file, else to the working directory. uint8 arrays of 3 or 4
    axes are images, (N, H, W), (N, C, H, W) or (N, H, W, C). `x_val, y_val`, where there are any,
    are the validation set as long as `validation` is 0."""
    task: Task | None = None
    """Default: classification when y is one column of integers, booleans or text."""
    test: Held = 0.2
    """Held out as the test set when the file holds only `x` and `y`."""


class ImageFolder(Subset, DatasetSection):
    """Pictures of your own: `train/<class>/…` and `test/<class>/…`, or `<class>/…` split."""

    origin: ClassVar[str] = "your file"
    name: Literal["image_folder"]
    path: str
    """The folder; relative to the config file, else to the working directory."""
    size: Count = 32
    """Height and width, in pixels, that every picture is resized to."""
    test: Held = 0.2
    """Held out as the test set when there is no `test` folder."""
