"""An advisory lock on a run directory, which the kernel releases when its holder dies."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from regrun.errors import CorruptInputError, StorageError, UsageError
from regrun.store.atomic import process_is_alive, read_bytes, storage_errors
from regrun.store.place import Place, as_folder

_NAME = ".lock"


@contextmanager
def exclusive(directory: Path | Place) -> Iterator[None]:
    """Lock ``directory`` for this process during the block.

    The lock ends with the process, however that ends; forked children share it. Not reliable on
    network file systems. Raises `UsageError` naming the holder, `StorageError` when the lock file
    cannot be written.
    """
    place = as_folder(directory) / _NAME
    with storage_errors(place, "locked"):
        descriptor = _acquire(place)
    try:
        yield
    finally:
        # Removed while still locked, so that no process can lock a file that is already unlinked.
        with suppress(StorageError, CorruptInputError):
            place.unlink()
        with suppress(OSError):
            os.close(descriptor)


def holder(directory: Path | Place) -> str | None:
    """A description of the process that holds ``directory``; None when no living process does."""
    try:
        found = _parse(read_bytes(as_folder(directory) / _NAME))
    except (OSError, StorageError, CorruptInputError):
        return None
    if not found or (found["host"] == socket.gethostname() and not process_is_alive(found["pid"])):
        return None
    return _describe(found)


def _acquire(place: Place) -> int:
    while True:
        descriptor = place.open(os.O_RDWR | os.O_CREAT)
        try:
            if os.fstat(descriptor).st_nlink > 1:
                raise CorruptInputError(f"{place}: also another file (a hard link)")
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_still_there(descriptor, place):
                os.ftruncate(descriptor, 0)
                os.write(descriptor, _own_mark())
                return descriptor
        except BlockingIOError:
            who = _describe(_parse(os.pread(descriptor, 4096, 0)))
            os.close(descriptor)
            raise UsageError(
                f"{place.parent} is in use by {who}; only one process may write to it"
            ) from None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _is_still_there(descriptor: int, place: Place) -> bool:
    """Whether the locked file is still the one there; its last holder may have removed it."""
    found = place.status()
    return found is not None and os.path.samestat(os.fstat(descriptor), found)


def _own_mark() -> bytes:
    since = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
    return json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": since}).encode()


def _parse(mark: bytes) -> dict[str, Any]:
    try:
        found = json.loads(mark)
        return {"pid": int(found["pid"]), "host": str(found["host"]), "since": str(found["since"])}
    except (ValueError, KeyError, TypeError):  # its holder is writing it right now
        return {}


def _describe(found: dict[str, Any]) -> str:
    if not found:
        return "another process"
    return f"process {found['pid']} on {found['host']} since {found['since']}"
