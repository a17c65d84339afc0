"""Where the configs that come with regrun lie."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from regrun.errors import StorageError


def shipped_config(name: str) -> Path:
    """The path of a config such as ``reproduce/adamw_digits.yaml``.

    An installed package has them beside its modules, a checkout beside its package. Raises
    StorageError when there is neither.
    """
    package = Path(str(resources.files("regrun")))
    found = next(
        (
            folder / name
            for folder in (package / "configs", package.parent / "configs")
            if (folder / name).is_file()
        ),
        None,
    )
    if found is None:
        raise StorageError(f"{name}: this installation of regrun lacks its configs")
    return found
