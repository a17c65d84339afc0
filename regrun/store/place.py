"""Files and folders below a directory that the user named, reached without following links.

A run directory may come from somebody else. Whatever links it holds, and whatever its files say,
nothing outside of it is then read, written or removed: every path below it is opened folder by
folder (`openat` with `O_NOFOLLOW`). The directory itself may be reached through links, which are
the user's own.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from regrun.errors import CorruptInputError, RegrunError, StorageError

_REASONS = {
    errno.ENOSPC: "disk full",
    errno.EDQUOT: "disk quota exceeded",
    errno.EROFS: "read-only file system",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EIO: "input/output error",
    errno.EEXIST: "a file is in the way",
    errno.ENOTDIR: "a file is in the way",
}

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a named pipe does not block


class Place:
    """Where a file or folder is: a directory that the user named, and plain names below it.

    Methods raise StorageError, and CorruptInputError where a link or anything but a regular file
    or a folder is in the way. There is no `__fspath__`, so that no other code follows links.

    >>> str(Place(Path("runs/a"), "train") / "events")
    'runs/a/train/events'
    """

    __slots__ = ("_descriptor", "_parent", "names", "root")

    def __init__(self, root: Path, *names: str) -> None:
        """Raises ValueError for a name that leads elsewhere: `..`, or one with a slash."""
        if not all(map(is_plain, names)):
            raise ValueError(f"not plain names: {names}")
        self.root, self.names = root, names
        self._parent: Place | None = None
        self._descriptor: int | None = None
        """Of the folder, while it is kept open."""

    def __truediv__(self, name: str) -> Place:
        below = Place(self.root, *self.names, name)
        below._parent = self
        return below

    def __str__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        return f"Place({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Place) and (self.root, self.names) == (other.root, other.names)

    def __hash__(self) -> int:
        return hash((self.root, self.names))

    @property
    def path(self) -> Path:
        """The same as a path, for messages; opening it would follow links."""
        return self.root.joinpath(*self.names)

    @property
    def name(self) -> str:
        """The last name."""
        return self.path.name

    @property
    def parent(self) -> Place:
        """The folder that holds it, which is not above the directory that the user named."""
        return self._parent or Place(self.root, *self.names[:-1])

    def open(self, flags: int) -> int:
        """A descriptor of the file, as by `os.open`. Raises OSError."""
        with self.parent.descriptor() as folder:
            found = os.open(self.names[-1], flags | _FILE, 0o666, dir_fd=folder)
            if not stat.S_ISREG(os.fstat(found).st_mode):
                os.close(found)
                raise CorruptInputError(f"{self}: not a regular file")
            return found

    def status(self) -> os.stat_result | None:
        """What is there, itself and not what it links to; None where there is nothing."""
        with self.errors("read"), suppress(FileNotFoundError):
            if not self.names:
                return self.root.stat()
            with self.parent.descriptor() as folder:
                return os.stat(self.names[-1], dir_fd=folder, follow_symlinks=False)
        return None

    def exists(self) -> bool:
        """Whether there is anything, a link also."""
        return self.status() is not None

    def is_file(self) -> bool:
        """Whether it is a regular file."""
        found = self.status()
        return found is not None and stat.S_ISREG(found.st_mode)

    def is_folder(self) -> bool:
        """Whether it is a folder."""
        found = self.status()
        return found is not None and stat.S_ISDIR(found.st_mode)

    def entries(self) -> list[str]:
        """The names of what the folder holds, sorted; empty where there is no folder."""
        with self.errors("read"), suppress(FileNotFoundError), self.descriptor() as folder:
            return sorted(os.listdir(folder))  # noqa: PTH208 - of a descriptor
        return []

    def folders(self) -> list[str]:
        """The names of the folders in the folder, sorted; empty where there is none."""
        with (
            self.errors("read"),
            suppress(FileNotFoundError),
            self.descriptor() as folder,
            os.scandir(folder) as entries,
        ):
            return sorted(each.name for each in entries if each.is_dir(follow_symlinks=False))
        return []

    def make_folder(self) -> None:
        """Create the folder if it is missing, but not those above it."""
        with self.errors("created"), self.parent.descriptor() as folder:
            try:
                os.mkdir(self.names[-1], dir_fd=folder)
            except FileExistsError:
                if not self.is_folder():
                    raise

    def unlink(self) -> None:
        """Remove the file or link, if there is one."""
        with (
            self.errors("removed"),
            suppress(FileNotFoundError),
            self.parent.descriptor() as folder,
        ):
            os.unlink(self.names[-1], dir_fd=folder)

    def remove_folder(self) -> None:
        """Remove the empty folder."""
        with self.errors("removed"):
            if not self.names:
                self.root.rmdir()
                return
            with self.parent.descriptor() as folder:
                os.rmdir(self.names[-1], dir_fd=folder)

    def remove_tree(self) -> None:
        """Remove the folder with all that it holds, as far as that is possible."""
        with suppress(OSError), self.parent.descriptor() as folder:
            shutil.rmtree(self.names[-1], ignore_errors=True, dir_fd=folder)

    def descriptor(self) -> _Descriptor:
        """A descriptor of the folder while the block runs. Raises OSError."""
        return _Descriptor(self)

    @contextmanager
    def kept_open(self) -> Iterator[None]:
        """Open the folder once for all that the block does with places made from this one."""
        if self._descriptor is not None:
            yield
            return
        try:
            descriptor = self._opened()
        except OSError as error:
            raise self.described("opened", error) from error
        self._descriptor = descriptor
        try:
            yield
        finally:
            self._descriptor = None
            os.close(descriptor)

    def _opened(self) -> int:
        if self.names:
            with self.parent.descriptor() as above:
                return os.open(self.names[-1], _FOLDER | os.O_NOFOLLOW, dir_fd=above)
        try:
            return os.open(self.root, _FOLDER)
        except NotADirectoryError as error:  # below it there is nothing
            raise FileNotFoundError(error.errno, error.strerror) from error

    def errors(self, verb: str) -> _Errors:
        """Turn an OSError raised in the block, but for FileNotFoundError, into one about here."""
        return _Errors(self, verb)

    def described(self, verb: str, error: OSError) -> RegrunError:
        """An OSError as an error about this place, which cannot be read, written, …."""
        if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENXIO):
            for count in range(1, len(self.names) + 1):
                place = Place(self.root, *self.names[:count])
                with suppress(OSError):
                    if place.path.is_symlink():
                        return CorruptInputError(f"{place}: a symbolic link, which is not followed")
        if error.errno == errno.ENXIO:
            return CorruptInputError(f"{self}: not a regular file")
        return StorageError(storage_message(str(self), verb, error))


class _Descriptor:
    """See `Place.descriptor`. A class costs a third of what a generator does, for every file."""

    __slots__ = ("_descriptor", "_place")

    def __init__(self, place: Place) -> None:
        self._place = place
        self._descriptor: int | None = None

    def __enter__(self) -> int:
        kept = self._place._descriptor
        if kept is not None:
            return kept
        self._descriptor = opened = self._place._opened()
        return opened

    def __exit__(self, *_: object) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)


class _Errors:
    """See `Place.errors`."""

    __slots__ = ("_place", "_verb")

    def __init__(self, place: Place, verb: str) -> None:
        self._place, self._verb = place, verb

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
            raise self._place.described(self._verb, error) from error


def storage_message(path: str, verb: str, error: OSError) -> str:
    """What is said of a path that cannot be read, written, ….

    >>> storage_message("runs", "written", OSError(errno.ENOSPC, ""))
    'runs: cannot be written: disk full'
    """
    reason = _REASONS.get(error.errno or 0) or (error.strerror or str(error)).lower()
    return f"{path}: cannot be {verb}: {reason}"


def is_plain(name: str) -> bool:
    """Whether a name is that of an entry of a folder: no path, and neither `.` nor `..`."""
    return name not in ("", ".", "..") and "/" not in name and "\0" not in name


def as_folder(directory: Path | Place) -> Place:
    """A directory that the user named, as a place."""
    return directory if isinstance(directory, Place) else Place(directory)


def as_file(file: Path | Place) -> Place:
    """A file that the user named; links on the way to it are the user's own."""
    return file if isinstance(file, Place) else Place(file.parent, file.name)
