"""NumPy archives (``np.savez``): which arrays they hold, and what other files are."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import numpy as np

from regrun.data.arrays import PARTS, VALIDATION, WHOLE
from regrun.data.targets import Array
from regrun.errors import ConfigError, CorruptInputError
from regrun.regular_files import check_file, open_file

_DAMAGE = (
    OSError, ValueError, EOFError, KeyError, SyntaxError, NotImplementedError, RuntimeError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What NumPy and zipfile raise on files that are cut, altered, encrypted or not archives."""

_UNREADABLE = (*_DAMAGE, MemoryError)

_INPUTS = {"x", "data", "input", "inputs", "feature", "features", "image", "images"}
_TARGETS = {"y", "target", "targets", "label", "labels", "output", "outputs"}
_PART_WORDS = {
    "train": "train", "training": "train", "tr": "train",
    "test": "test", "testing": "test", "te": "test",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
}  # fmt: skip

_SIGNATURES: Mapping[bytes, str] = {
    b"MATLAB 5.0": (
        "a MATLAB file; convert it: "
        "m = scipy.io.loadmat(file); np.savez('data.npz', x=m['X'], y=m['y'].ravel())"
    ),
    b"\x89HDF\r\n\x1a\n": (
        "an HDF5 file (also MATLAB 7.3 and Keras); convert it: "
        "f = h5py.File(file); np.savez('data.npz', x=f['X'][:], y=f['y'][:])"
    ),
    b"\x1f\x8b": "gzip; unpack it first, and give an archive of np.savez",
    b"PAR1": "a Parquet table; write dataset: {name: csv, path: …, target: …}",
    b"\x80": "a pickle, which could execute any code; load it yourself and use np.savez",
}


def canonical_names(names: Iterable[str]) -> dict[str, str]:
    """Which of ``x, y, x_train, …`` the arrays of these names are: canonical → name in the file.

    A name that is canonical itself wins; else case is ignored, and words that others use count
    (``X_train``, ``train_images``, ``data`` and ``target``). What could be two things is neither.
    """
    found: dict[str, list[str]] = {}
    given = list(names)
    for name in given:
        meant = _meaning(name)
        if meant is not None:
            found.setdefault(meant, []).append(name)
    exact = {name: name for name in WHOLE | PARTS | VALIDATION if name in given}
    return {meant: each[0] for meant, each in found.items() if len(each) == 1} | exact


def _meaning(name: str) -> str | None:
    """``x_train`` for ``train_images``; None for what says nothing."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
    letters = re.fullmatch(r"([xy])(train|test|val|valid)|(train|test|val|valid)([xy])", words)
    parts = words.replace("-", "_").split("_")
    if letters:
        parts = [part for part in letters.groups() if part]
    kinds = [
        kind for part in parts for kind, known in (("x", _INPUTS), ("y", _TARGETS)) if part in known
    ]
    which = [_PART_WORDS[part] for part in parts if part in _PART_WORDS]
    if len(kinds) != 1 or len(which) > 1 or len(kinds) + len(which) != len(parts):
        return None
    return "_".join(kinds + which)


def holds_arrays(path: Path) -> bool:
    """Whether a file is an archive of arrays, or is called so."""
    try:
        check_file(path)
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(".npy") for name in archive.namelist())
    except _DAMAGE:
        return path.suffix.lower() == ".npz"


def names_in(path: Path) -> list[str]:
    """Return the names of an archive's arrays, without reading them. Raises CorruptInputError."""
    try:
        check_file(path)
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]
    except _DAMAGE as error:
        raise CorruptInputError(_no_archive(path, str(error))) from error


def size_of(path: Path, wanted: Collection[str]) -> int | None:
    """The bytes of those of the ``wanted`` arrays that an archive holds, without reading them.

    None where reading says what is wrong.
    """
    try:
        check_file(path)
        with zipfile.ZipFile(path) as archive:
            sizes = {
                member.filename.removesuffix(".npy"): member.file_size
                for member in archive.infolist()
            }
    except _DAMAGE:
        return None
    return sum(sizes[name] for meant, name in canonical_names(sizes).items() if meant in wanted)


def read_npz(path: Path, wanted: Collection[str]) -> tuple[dict[str, Array], list[str]]:
    """Read those of the ``wanted`` arrays that an archive holds, under their canonical names.

    Returns notes, too, on arrays that were found under other names. Raises ConfigError that lists
    what is there when none of them is, CorruptInputError for anything but an archive of plain
    arrays: unpickling objects could execute any code.
    """
    name = "its list of arrays"
    try:
        check_file(path)
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise CorruptInputError(_no_archive(path, "one array"))
        with archive:
            members = archive.zip.namelist() if archive.zip else []
            if not any(member.endswith(".npy") for member in members):
                raise CorruptInputError(_no_archive(path, "it holds none"))
            called = {
                meant: name
                for meant, name in canonical_names(archive.files).items()
                if meant in wanted
            }
            if not called:
                raise ConfigError.at("dataset.path", _not_there(path, archive))
            arrays = {}
            for meant, name in called.items():
                arrays[meant] = archive[name]
    except MemoryError as error:
        raise CorruptInputError(f"{path}: {name} declares more than the memory holds") from error
    except _DAMAGE as error:
        if name == "its list of arrays":
            raise CorruptInputError(_no_archive(path, str(error))) from error
        reason = str(error)
        if "allow_pickle" in reason:
            reason = (
                "Python objects (a pickle); numbers of one type can be stored by "
                f"{name}.astype(float), text by {name}.astype(str)"
            )
        raise CorruptInputError(f"{path}: {name} cannot be read as numbers: {reason}") from error
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):
            raise CorruptInputError(f"{path}: {name} is not an array")
    other = [f"{name} as {meant}" for meant, name in called.items() if meant != name]
    return arrays, [f"arrays taken: {', '.join(other)}"] if other else []


def read_array(path: Path) -> Array:
    """Read one array (``np.save``). Raises CorruptInputError."""
    try:
        check_file(path)
        array = np.load(path, allow_pickle=False)
    except _UNREADABLE as error:
        raise CorruptInputError(f"{path}: cannot be read as an array: {error}") from error
    if not isinstance(array, np.ndarray):
        raise CorruptInputError(f"{path}: is an archive; name it {path.stem}.npz")
    return array


def _not_there(path: Path, archive: np.lib.npyio.NpzFile) -> str:
    """None of the arrays has a name that says what it is: list those that are there."""
    names = list(archive.files)
    shown = []
    for name in names[:20]:
        try:
            array = np.asarray(archive[name])  # a member that is no array is bytes
            shown.append(f"{name} {tuple(array.shape)} {array.dtype}")
        except _UNREADABLE:
            shown.append(name)
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    x, y = (repr(name) for name in [*names, "…", "…"][:2])
    return (
        f"{path}: holds {', '.join(shown) or 'no arrays'}{more}; needs x_train, y_train, x_test "
        "and y_test, or x and y: "
        f"a = np.load({path.name!r}); np.savez('named.npz', x=a[{x}], y=a[{y}])"
    )


def _no_archive(path: Path, reason: str) -> str:
    """What a file is that cannot be read as an archive of arrays."""
    what = f"is no archive (np.savez) of arrays: {reason}"
    try:
        with open_file(path) as file:
            start = file.read(512)
        members = zipfile.ZipFile(path).namelist() if start.startswith(b"PK") else []
    except (OSError, zipfile.BadZipFile):
        return f"{path}: {what}"
    if start.startswith(b"\x93NUMPY"):
        return (
            f"{path}: one array (.npy), not an archive of named ones; put inputs and targets in "
            "one file: np.savez('data.npz', x=np.load('x.npy'), y=np.load('y.npy'))"
        )
    if any(name.endswith("data.pkl") for name in members):
        return (
            f"{path}: a file of torch.save; convert it: "
            "t = torch.load(file); np.savez('data.npz', x=t['x'].numpy(), y=t['y'].numpy())"
        )
    if any(name.startswith(("xl/", "word/")) for name in members):
        return f"{path}: an Excel file; write dataset: {{name: csv, path: …, target: …}}"
    for signature, text in _SIGNATURES.items():
        if start.startswith(signature):
            return f"{path}: {text}"
    if (
        start
        and not members
        and re.fullmatch(rb"[\t\r\n\x20-\x7e\x80-\xff]+", start)
        and (b"," in start or b";" in start or b"\t" in start)
    ):
        return f"{path}: text; a table is read by dataset: {{name: csv, path: …, target: …}}"
    return f"{path}: {what}"
