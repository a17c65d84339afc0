"""Data files on disk: finding those that a config names, and downloading those that are missing."""

from __future__ import annotations

import errno
import http.client
import os
import socket
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from regrun.errors import ConfigError, StorageError, UsageError
from regrun.regular_files import check_file

DOWNLOAD_TIMEOUT = 30.0
"""Seconds without an answer after which a download has failed."""

_NO_STORAGE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def existing(name: str) -> Path:
    """Return the file or folder; ``~`` is a home folder. Raises UsageError if there is none."""
    path = Path(name)
    try:
        path = path.expanduser()
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        full = f" ({path})" if str(path) != name else ""
        raise UsageError(f"{name}: no such file or folder{full}") from None
    except (OSError, RuntimeError) as error:  # a name that cannot be, or no such home folder
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"{name}: cannot be read: {reason}") from error
    return path


def find_path(name: str, key: str) -> Path:
    """Return the existing file or folder, or raise ConfigError at ``dataset.<key>``."""
    try:
        return existing(name)
    except UsageError as error:
        raise ConfigError.at(f"dataset.{key}", str(error)) from error


def find_file(name: str, key: str) -> Path:
    """Return the readable file, or raise ConfigError at ``dataset.<key>``."""
    path = find_path(name, key)
    try:
        check_file(path)
    except OSError as error:
        message = f"{path}: cannot be read: {error.strerror}"
        raise ConfigError.at(f"dataset.{key}", message) from error
    if not os.access(path, os.R_OK):
        raise ConfigError.at(f"dataset.{key}", f"{path}: no permission to read it")
    return path


def find_or_download(
    root: str | None,
    files: Sequence[str],
    fetch: Callable[[Path], object],
    by_hand: Callable[[Path, list[Path]], str],
    announce: Callable[[Path], object] = lambda folder: None,
) -> Path:
    """Return the first of `root`, `REGRUN_DATA` and `data/` that holds all files.

    Where none does, download them into `root`, else `data/`; never into the shared folder of
    `REGRUN_DATA`. by_hand: what to say of a failed download, given its folder and those searched.
    """
    named = [root, os.environ.get("REGRUN_DATA"), "data"]
    try:
        searched = [Path(folder).expanduser() for folder in named if folder]
        for folder in searched:
            if all((folder / file).is_file() for file in files):
                return folder
    except (OSError, RuntimeError) as error:  # an impossible name, or no such home folder
        raise ConfigError.at("dataset.root", f"cannot be searched: {error}") from error
    folder = Path(root or "data").expanduser()
    announce(folder)
    _download_into(folder, fetch, by_hand(folder, searched))
    return folder


def notes_on_place(root: str | None, folder: Path, name: str) -> list[str]:
    """That a dataset was found elsewhere than in the folder that the config names."""
    if root is None or folder == Path(root).expanduser():
        return []
    return [f"dataset.root: {root} does not hold {name}, which was read from {folder}"]


def _download_into(folder: Path, fetch: Callable[[Path], object], by_hand: str) -> None:
    """Run ``fetch`` in a temporary folder, then move its files to ``folder``.

    Each file appears at once and complete, however many processes download the same set and
    whenever one is killed. Raises UsageError (with ``by_hand``) when the download fails,
    StorageError when ``folder`` cannot be written.
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
        with _socket_timeout(DOWNLOAD_TIMEOUT):
            fetch(scratch)
    except (OSError, http.client.HTTPException, RuntimeError) as error:
        if isinstance(error, OSError) and error.errno in _NO_STORAGE:
            raise
        raise UsageError(f"the download failed: {_reason(error)}\n{by_hand}") from error


def _reason(error: Exception) -> str:
    """The last line of an error: the lines before it are torchvision's list of mirrors."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    """Set the default timeout of new sockets: neither library has a parameter for it."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
