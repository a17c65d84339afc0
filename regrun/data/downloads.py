"""Downloads that end whole or not at all, and say what to do by hand when they fail."""

from __future__ import annotations

import errno
import http.client
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from regrun.errors import StorageError, UsageError

SILENCE = 30.0
"""Seconds without an answer after which a download has failed."""

_NO_STORAGE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def download_into(folder: Path, fetch: Callable[[Path], object], by_hand: str) -> None:
    """Runs ``fetch`` in a temporary folder, then moves its files to ``folder``.

    Each file appears at once and whole, however many processes download the same set and whenever
    one is killed. Raises UsageError (with ``by_hand``) when the download fails, StorageError when
    ``folder`` cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as scratch:
            _fetch(fetch, Path(scratch), by_hand)
            for file in sorted(Path(scratch).rglob("*")):
                target = folder / file.relative_to(scratch)
                if file.is_dir():
                    target.mkdir(exist_ok=True)
                else:
                    file.replace(target)
    except OSError as error:
        raise StorageError(f"{folder}: cannot hold the download: {error.strerror}") from error


def _fetch(fetch: Callable[[Path], object], scratch: Path, by_hand: str) -> None:
    try:
        with _patience(SILENCE):
            fetch(scratch)
    except (OSError, http.client.HTTPException, RuntimeError) as error:
        if isinstance(error, OSError) and error.errno in _NO_STORAGE:
            raise
        raise UsageError(f"the download failed: {_reason(error)}\n{by_hand}") from error


def _reason(error: Exception) -> str:
    """The last line of an error: torchvision's first lines name every mirror."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


@contextmanager
def _patience(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
