"""Pictures of the user's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from regrun.errors import ConfigError
from regrun.kinds.base import Count
from regrun.kinds.datasets.base import DatasetSection, Held, Progress, Subset, Task

if TYPE_CHECKING:
    from regrun.data.dataset import Dataset, Split


class ImageFolder(Subset, DatasetSection):
    """Pictures of your own: `train/<class>/…` and `test/<class>/…`, or `<class>/…` split."""

    origin: ClassVar[str] = "your file"
    fixed_task: ClassVar[Task | None] = "classification"
    name: Literal["image_folder"]
    path: str
    """The folder; relative to the config file, else to the working directory."""
    size: Count = 32
    """Height and width, in pixels, that every picture is resized to."""
    test: Held = 0.2
    """Held out as the test set when there is no `test` folder."""

    def load(self, progress: Progress | None = None) -> Dataset:
        """uint8 (N, 3, size, size) in RGB.

        A `train` and a `test` folder are used as they are; otherwise the class folders of the one
        that is there are split.
        """
        from regrun.data.dataset import Examples
        from regrun.data.files import find_path
        from regrun.data.images import read_class_folders, torchvision_datasets

        datasets = torchvision_datasets(self.name)
        path = find_path(self.path, "path")
        train_folder = path / "train" if (path / "train").is_dir() else path
        train, classes = read_class_folders(train_folder, self.size, datasets, progress)
        test: Split | float = self.test
        if train_folder != path and (path / "test").is_dir():
            test, test_classes = read_class_folders(path / "test", self.size, datasets, progress)
            if test_classes != classes:
                raise ConfigError.at(
                    "dataset.path",
                    f"{path}: classes {', '.join(test_classes)} in test, "
                    f"{', '.join(classes)} in train",
                )
        notes = [f"pictures resized to {self.size}×{self.size}, in RGB"]
        examples = Examples("classification", train, test, class_names=classes, notes=notes)
        return self._split(examples)
