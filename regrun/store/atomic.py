"""Atomic file writes: write a temporary file, then rename it.

Every OSError becomes a `StorageError` that names the path and the reason.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from regrun.errors import StorageError
from regrun.signals import holding_signals
from regrun.store.interruptions import limited_repeats
from regrun.store.place import Place, as_file, as_folder, storage_message

_TEMPORARY = re.compile(r"\..*\.(\d+)-[0-9a-f]+\.tmp")


def write_atomic(file: Path | Place, data: bytes | str, *, durable: bool = True) -> None:
    """Replace the file by ``data`` (text as UTF-8), or leave it as it was.

    A process killed at any point leaves either the old content or all of ``data``. durable: fsync.
    Without it the file survives the end of every process but not a power failure, and costs a tenth
    of the time. Raises `StorageError`.
    """
    place = as_file(file)
    payload = data.encode() if isinstance(data, str) else data
    temporary = f".{place.name}.{os.getpid()}-{os.urandom(4).hex()}.tmp"
    with holding_signals(), storage_errors(place), place.parent.descriptor() as folder:
        _create(folder, temporary, payload, durable=durable)
        with _or_removed(folder, temporary):
            os.replace(temporary, place.name, src_dir_fd=folder, dst_dir_fd=folder)
        if durable:
            _sync(folder)


def append(file: Path | Place, data: bytes, length: int) -> None:
    """Append all of ``data`` to a file of this length; one of length 0 may be missing.

    On failure the file keeps its old length. There is no fsync: appended data survive a kill of the
    process, but not always a power failure. Raises `StorageError`, also when the file is not there
    any more or has another length.
    """
    place = as_file(file)
    with storage_errors(place):
        made = 0 if length else os.O_CREAT
        descriptor = place.open(os.O_WRONLY | os.O_APPEND | made)
        try:
            found = os.fstat(descriptor)
            if found.st_size != length or found.st_nlink != 1:
                raise StorageError(f"{place}: another program has changed it since it was written")
            try:
                _write_all(descriptor, data)
            except OSError:
                with suppress(OSError):
                    os.ftruncate(descriptor, length)
                raise
        finally:
            os.close(descriptor)


def create(file: Path | Place, data: bytes) -> None:
    """Write a file that must not exist yet; on failure there is none. As durable as `append`.

    Raises `StorageError`.
    """
    place = as_file(file)
    with storage_errors(place), place.parent.descriptor() as folder:
        _create(folder, place.name, data, durable=False)


def read_bytes(file: Path | Place) -> bytes:
    """The file's content.

    Raises FileNotFoundError if there is none, `CorruptInputError` if it is no regular file, else
    `StorageError`.
    """
    place = as_file(file)
    with place.errors("read"), os.fdopen(place.open(os.O_RDONLY), "rb", 0) as content:
        return content.read()


def make_directory(directory: Path | Place) -> None:
    """Create a directory if it is missing, and those above one that the user named.

    Raises `StorageError`.
    """
    place = as_folder(directory)
    with storage_errors(place, "created"):
        if place.names:
            place.make_folder()
        else:
            place.root.mkdir(parents=True, exist_ok=True)


def probe_writable(runs_dir: Path) -> None:
    """Create ``runs_dir`` and check that files can be written there, before anything slow starts.

    Raises `StorageError`.
    """
    make_directory(runs_dir)
    probe = f".probe.{os.getpid()}-{os.urandom(4).hex()}.tmp"
    with holding_signals(), storage_errors(runs_dir), Place(runs_dir).descriptor() as folder:
        try:
            _create(folder, probe, bytes(4096), durable=True)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(probe, dir_fd=folder)


def remove_stale_temporaries(directory: Path | Place) -> None:
    """Remove temporary files of processes killed while writing. Raises `StorageError`."""
    place = as_folder(directory)
    for name in place.entries():
        match = _TEMPORARY.fullmatch(name)
        if match and not process_is_alive(int(match[1])):
            (place / name).unlink()


def process_is_alive(pid: int) -> bool:
    """Whether a process with this id runs on this machine."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


@contextmanager
def storage_errors(path: Path | Place, verb: str = "written") -> Iterator[None]:
    """Turn an OSError raised in the block into a `StorageError` about ``path``."""
    try:
        with limited_repeats():
            yield
    except OSError as error:
        if isinstance(path, Place):
            raise path.described(verb, error) from error
        raise StorageError(storage_message(str(path), verb, error)) from error


def _create(folder: int, name: str, data: bytes, *, durable: bool) -> None:
    """Create the whole file or none; fail if it exists. folder: a descriptor."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(name, flags, 0o666, dir_fd=folder)
    with _or_removed(folder, name):
        try:
            _write_all(descriptor, data)
            if durable:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def _or_removed(folder: int, name: str) -> Iterator[None]:
    """Remove the file when the block fails."""
    try:
        yield
    except BaseException:
        with suppress(OSError):
            os.unlink(name, dir_fd=folder)
        raise


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _sync(folder: int) -> None:
    try:
        os.fsync(folder)
    except OSError as error:
        # Some file systems cannot sync a directory; nothing more can be done there.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
