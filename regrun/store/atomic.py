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
_TEMPORARY = re.compile(r"\..*\.(\d+)-[0-9a-f]+\.tmp")


@contextmanager
def storage_errors(path: Path, verb: str = "written") -> Iterator[None]:
    """Turn an OSError raised in the block into a `StorageError` about ``path``."""
    try:
        yield
    except OSError as error:
        raise _storage_error(path, verb, error) from error


def write_atomic(path: Path, data: bytes | str, *, durable: bool = True) -> None:
    """Replace the file by ``data`` (text as UTF-8), or leave it as it was.

    A process killed at any point leaves either the old content or all of ``data``. durable: fsync.
    Without it the file survives the end of every process but not a power failure, and costs a tenth
    of the time. Raises `StorageError`.
    """
    payload = data.encode() if isinstance(data, str) else data
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}.tmp")
    with storage_errors(path):
        _create(temporary, payload, durable=durable)
        with _or_removed(temporary):
            temporary.replace(path)
        if durable:
            _sync_directory(path.parent)


def append(path: Path, data: bytes) -> None:
    """Append all of ``data``, creating the file; on failure the file keeps its old length.

    There is no fsync: appended data survive a kill of the process, but not always a power failure.
    Raises `StorageError`.
    """
    with storage_errors(path):
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            length = os.fstat(descriptor).st_size
            try:
                _write_all(descriptor, data)
            except OSError:
                with suppress(OSError):
                    os.ftruncate(descriptor, length)
                raise
        finally:
            os.close(descriptor)


def create(path: Path, data: bytes) -> None:
    """Write a file that must not exist yet; on failure there is none. As durable as `append`.

    Raises `StorageError`.
    """
    with storage_errors(path):
        _create(path, data, durable=False)


def read_bytes(path: Path) -> bytes:
    """The file's content. Raises FileNotFoundError if there is none, else `StorageError`."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _storage_error(path, "read", error) from error


def make_directory(path: Path) -> None:
    """Create the directory and its parents if missing. Raises `StorageError`."""
    with storage_errors(path, "created"):
        path.mkdir(parents=True, exist_ok=True)


def probe_writable(runs_dir: Path) -> None:
    """Create ``runs_dir`` and check that files can be written there, before anything slow starts.

    Raises `StorageError`.
    """
    make_directory(runs_dir)
    probe = runs_dir / f".probe.{os.getpid()}-{os.urandom(4).hex()}.tmp"
    with storage_errors(runs_dir):
        try:
            _create(probe, bytes(4096), durable=True)
        finally:
            probe.unlink(missing_ok=True)


def remove_stale_temporaries(directory: Path) -> None:
    """Remove temporary files of processes killed while writing. Raises `StorageError`."""
    with storage_errors(directory):
        for path in directory.glob(".*.tmp"):
            match = _TEMPORARY.fullmatch(path.name)
            if match and not process_is_alive(int(match[1])):
                path.unlink(missing_ok=True)


def process_is_alive(pid: int) -> bool:
    """Whether a process with this id runs on this machine."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _storage_error(path: Path, verb: str, error: OSError) -> StorageError:
    reason = _REASONS.get(error.errno or 0) or (error.strerror or str(error)).lower()
    return StorageError(f"{path}: cannot be {verb}: {reason}")


def _create(path: Path, data: bytes, *, durable: bool) -> None:
    """Create the whole file or none; fail if it exists."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    with _or_removed(path):
        try:
            _write_all(descriptor, data)
            if durable:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def _or_removed(path: Path) -> Iterator[None]:
    """Remove the file when the block fails."""
    try:
        yield
    except BaseException:
        with suppress(OSError):
            path.unlink()
        raise


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some file systems cannot sync a directory; nothing more can be done there.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)
