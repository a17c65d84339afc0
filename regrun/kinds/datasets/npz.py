"""NumPy arrays of the user's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from regrun.kinds.datasets.base import DatasetSection, Held, Progress, Subset, Task

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from regrun.data.dataset import Dataset


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

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Read those arrays of the archive that a dataset may have."""
        from regrun.data.arrays import PARTS, VALIDATION, WHOLE, read_npz
        from regrun.data.files import find_file

        return read_npz(find_file(self.path, "path"), WHOLE | PARTS | VALIDATION)

    def load(self, progress: Progress | None = None) -> Dataset:
        """Load as any dataset with `arrays`; messages name the file."""
        return self._from_arrays(self.arrays(), self.path, "path")

    def has_own_validation(self) -> bool:
        """Look at the list of arrays only, without reading them."""
        from regrun.data.arrays import holds_validation, names_in
        from regrun.data.files import find_file

        return holds_validation(names_in(find_file(self.path, "path")))
