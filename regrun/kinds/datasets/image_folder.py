"""Pictures of the user's own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import AfterValidator, Strict

from regrun.errors import UsageError
from regrun.kinds.base import Count
from regrun.kinds.datasets.base import DatasetSection, Held, Progress, Subset, Task, ValueRange

if TYPE_CHECKING:
    from regrun.data.dataset import Dataset, Examples
    from regrun.data.picture_files import Found
    from regrun.data.written_keys import WrittenKey


def _opaque_colour(name: str) -> str:
    from PIL import ImageColor

    try:
        opaque = len(ImageColor.getrgb(name)) == 3
    except ValueError:
        opaque = False
    if not opaque:
        raise ValueError(f'{name!r} is no opaque colour; write a name such as white, or "#rrggbb"')
    return name


class ImageFolder(Subset, DatasetSection):
    """Pictures of your own: a folder for each class, perhaps in `train` and `test`, or a table."""

    origin: ClassVar[str] = "your file"
    fixed_task: ClassVar[Task | None] = "classification"
    own_validation: ClassVar[str] = "validation pictures"
    name: Literal["image_folder"]
    path: str
    """The folder; relative to the config file, else to the working directory. It holds a folder for
    each class, or the folders `train`, `test` and `validation` that do (also `Training`,
    `test_set`, `val`, …). A validation folder is used as long as `validation` is 0."""
    labels: str | None = None
    """A csv table of the pictures below `path`, with the columns `file` and `label`, and perhaps
    `split`; found as `path` is, else in this folder. Default: the folders are the labels."""
    size: Count | Annotated[tuple[Count, Count], Strict(False)] = 32
    """What every picture is resized to, in pixels: height and width at once, or
    `[height, width]`."""
    background: Annotated[str, AfterValidator(_opaque_colour)] = "white"
    """The colour that transparent pictures are composed on: a name, or `"#rrggbb"`."""
    value_range: ValueRange | None = None
    """What is black and what is white in pictures with one channel of more than 8 bits. Default:
    integers from 0 to the largest number of 1, 8, 10, 12, 14 or 16 bits, whichever holds all values
    of all files; floating-point numbers from 0 to 1, or else from 0 to 255."""
    on_error: Literal["refuse", "skip"] = "refuse"
    """Damaged pictures: refuse the dataset and name them, or skip and count them."""
    test: Held = 0.2
    """Held out as the test set when there is none."""

    @classmethod
    def first_keys(cls, path: Path, target: str | None) -> list[WrittenKey] | None:
        """The folders are the classes."""
        from regrun.data.written_keys import WrittenKey

        if not path.is_dir():
            return None
        if target is not None:
            raise UsageError(f"--target {target}: only a table leaves a choice of the target")
        return [WrittenKey("size", 32, "every picture is resized to so many pixels a side")]

    def load(self, progress: Progress | None = None) -> Dataset:
        """uint8 (N, 3, H, W) in RGB.

        The parts that are there are used as they are; a test set that is not is split off.
        """
        return self._split(self._examples(progress))

    def load_draws(self, seeds: Sequence[int]) -> Iterator[Dataset]:
        """Decode the pictures once."""
        examples = self._examples(None)
        for seed in seeds:
            yield self.model_copy(update={"seed": seed})._split(examples)

    def _examples(self, progress: Progress | None) -> Examples:
        from regrun.data.dataset import Examples, Provenance
        from regrun.data.pictures import read_dataset

        found = self._found()
        files = found.files
        if progress is not None:
            progress(f"reading {len(files):,} pictures from {self.path}")
        reading = read_dataset(
            files,
            self._shape,
            self.background,
            self.value_range,
            skip_damaged=self.on_error == "skip",
        )
        parts, classes = found.splits(reading)
        notes = [*found.notes, *(f"skipped {line}" for line in reading.skipped), *reading.notes]
        if "validation" in parts and self.validation:
            notes.append("the validation folder is not used: dataset.validation holds out another")
        return Examples(
            "classification",
            parts["train"],
            parts.get("test", self.test),
            validation=parts.get("validation"),
            class_names=classes,
            notes=notes,
            inputs=reading.inputs,
            provenance=Provenance(
                files=tuple(str(path) for path in (self.path, self._table) if path is not None),
                task_reason="image_folder predicts classes",
                input=reading.card,
                skipped=(*found.skipped, *reading.skipped),
            ),
        )

    def estimate_bytes(self) -> int:
        height, width = self._shape
        return len(self._found().files) * 3 * height * width

    @property
    def may_have_validation(self) -> bool:
        """There may be a validation folder."""
        return True

    def has_own_validation(self) -> bool:
        """Look at the folders only, without reading pictures."""
        return "validation" in self._found().parts

    def has_own_test(self) -> bool:
        """Likewise."""
        return "test" in self._found().parts

    @property
    def _shape(self) -> tuple[int, int]:
        return (self.size, self.size) if isinstance(self.size, int) else self.size

    def _found(self) -> Found:
        from regrun.data.files import find_file, find_path
        from regrun.data.picture_folder import check_is_folder, find_by_folders
        from regrun.data.picture_table import find_by_table

        path, table = find_path(self.path, "path"), self._table
        check_is_folder(path)
        if table is None:
            return find_by_folders(path)
        return find_by_table(
            path, find_file(str(table), "labels"), skip_missing=self.on_error == "skip"
        )

    @property
    def _table(self) -> Path | None:
        """The table of labels: where the config says, else in the folder of the pictures."""
        if self.labels is None:
            return None
        given, inside = Path(self.labels), Path(self.path) / Path(self.labels).name
        try:
            return inside if inside.exists() and not given.exists() else given
        except OSError:  # an impossible name, which opening reports
            return given
