"""NumPy arrays of the user's own."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from regrun.errors import UsageError
from regrun.kinds.datasets.base import DatasetSection, Held, Progress, Subset, Task, ValueRange

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from regrun.data.dataset import Dataset
    from regrun.data.written_keys import WrittenKey


class NPZ(Subset, DatasetSection):
    """Arrays of your own: `x_train, y_train, x_test, y_test`, or `x, y` split by `test`."""

    origin: ClassVar[str] = "your file"
    name: Literal["npz"]
    path: str
    """The file; relative to the config file, else to the working directory. Arrays of 4 axes are
    images, (N, C, H, W) or (N, H, W, C), and so are (N, H, W) of uint8 or of pixel values. `x_val,
    y_val`, where there are any, are the validation set as long as `validation` is 0."""
    task: Task | None = None
    """Default: classification when y holds text, booleans, one-hot rows, at most 20 different
    integers (each twice on average), or the codes 0…C−1 or 1…C (each 10 times on average)."""
    test: Held = 0.2
    """Held out as the test set when the file holds only `x` and `y`."""
    channels: Literal["first", "last"] | None = None
    """Which axis of an image holds its channels: (N, C, H, W) or (N, H, W, C). Default: the one of
    at most 4, or the one that leaves square images; where that is open, the arrays are refused."""
    value_range: ValueRange | None = None
    """What is black and what is white in images. Default: uint8 from 0 to 255; other integers from
    0 to the largest number of 1, 8, 10, 12, 14 or 16 bits, whichever holds all values;
    floating-point numbers from 0 to 1, or else from 0 to 255."""

    @classmethod
    def first_keys(cls, path: Path, target: str | None) -> list[WrittenKey] | None:
        """The names of the arrays say what to predict."""
        from regrun.data.npz_file import holds_arrays

        if path.is_dir() or not holds_arrays(path):
            return None
        if target is not None:
            raise UsageError(f"--target {target}: only a table leaves a choice of the target")
        return []

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Read those arrays of the archive that a dataset may have."""
        return self._read()[0]

    def _read(self) -> tuple[dict[str, NDArray[Any]], list[str]]:
        from regrun.data.arrays import PARTS, VALIDATION, WHOLE
        from regrun.data.files import find_file
        from regrun.data.npz_file import read_npz

        return read_npz(find_file(self.path, "path"), WHOLE | PARTS | VALIDATION)

    def load(self, progress: Progress | None = None) -> Dataset:
        """Load as any dataset with `arrays`; messages name the file."""
        from regrun.data.arrays import Options, decode_arrays

        arrays, notes = self._read()
        options = Options(self.task, self.test, self.channels, self.value_range, self.standardize)
        return self._split(
            decode_arrays(arrays, options, self.path, "path", files=[self.path], notes=notes)
        )

    def estimate_bytes(self) -> int | None:
        from pathlib import Path

        from regrun.data.arrays import PARTS, VALIDATION, WHOLE
        from regrun.data.npz_file import size_of

        return size_of(Path(self.path).expanduser(), WHOLE | PARTS | VALIDATION)

    def has_own_validation(self) -> bool:
        """Look at the list of arrays only, without reading them."""
        from regrun.data.arrays import holds_validation

        return holds_validation(self._names())

    def has_own_test(self) -> bool:
        """Likewise."""
        from regrun.data.arrays import holds_test

        return holds_test(self._names())

    def _names(self) -> Collection[str]:
        from regrun.data.files import find_file
        from regrun.data.npz_file import canonical_names, names_in

        return canonical_names(names_in(find_file(self.path, "path"))).keys()
