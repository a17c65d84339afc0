"""NumPy archives (``np.savez``). Pickled objects are never loaded."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path

import numpy as np

from regrun.data.targets import Array
from regrun.errors import CorruptInputError

_DAMAGE = (
    OSError,
    ValueError,
    EOFError,
    KeyError,
    SyntaxError,
    NotImplementedError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What NumPy and zipfile raise on files that are cut, altered, encrypted or not archives."""


def names_in(path: Path) -> list[str]:
    """Return the names of an archive's arrays, without reading them. Raises CorruptInputError."""
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]
    except _DAMAGE as error:
        raise CorruptInputError(f"{path}: is no archive (np.savez) of arrays: {error}") from error


def read_npz(path: Path, wanted: Collection[str]) -> dict[str, Array]:
    """Read those of the ``wanted`` arrays that an archive holds.

    Raises CorruptInputError for anything but an archive of plain arrays: unpickling objects could
    execute any code.
    """
    name = "its list of arrays"
    try:
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise CorruptInputError(f"{path}: one array, not an archive (np.savez) of named ones")
        with archive:
            arrays = {}
            for name in archive.files:
                if name in wanted:
                    arrays[name] = archive[name]
    except MemoryError as error:
        raise CorruptInputError(f"{path}: {name} declares more than the memory holds") from error
    except _DAMAGE as error:
        reason = "Python objects (a pickle)" if "allow_pickle" in str(error) else str(error)
        raise CorruptInputError(f"{path}: {name} cannot be read as numbers: {reason}") from error
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):
            raise CorruptInputError(f"{path}: {name} is not an array")
    return arrays
