"""Files that the user names, opened so that nothing but a regular file is read.

A named pipe blocks whoever opens it, a device such as /dev/zero never ends, and opening a tape or a
serial line does something. So the kind is looked at first, and again once the file is open.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from pathlib import Path
from typing import BinaryIO

_KINDS = {
    stat.S_IFIFO: "pipe",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}
_STREAM = re.compile(r"/dev/stdin|(?:/dev|/proc/self)/fd/\d+")


class NotAFileError(OSError):
    """What was to be read is a pipe, a socket or a device; `strerror` says which."""


def check_file(path: Path) -> None:
    """Check that a library may open the path.

    Raises NotAFileError for a pipe, a socket or a device, IsADirectoryError, and every other
    OSError of `stat`.
    """
    _check(path, path.stat())


def open_file(path: Path) -> BinaryIO:
    """Open a regular file for reading, also behind links.

    Raises what `check_file` raises, and every other OSError of `open`.
    """
    check_file(path)
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        _check(path, os.fstat(descriptor))
    except OSError:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb")


def open_file_or_stream(path: Path) -> BinaryIO:
    """The same, but what the shell pipes into this process is read as well.

    That is ``/dev/stdin`` behind ``|``, and the ``/dev/fd/63`` that ``<(…)`` becomes. It can be
    read once, and has a writer; a named pipe in a folder need not have one.
    """
    if _STREAM.fullmatch(str(path)) and stat.S_ISFIFO(path.stat().st_mode):
        return path.open("rb")
    return open_file(path)


def _check(path: Path, found: os.stat_result) -> None:
    kind = stat.S_IFMT(found.st_mode)
    if kind == stat.S_IFDIR:
        raise IsADirectoryError(errno.EISDIR, "it is a folder, not a file", str(path))
    if kind != stat.S_IFREG:
        what = f"a {_KINDS[kind]}" if kind in _KINDS else "something else"
        raise NotAFileError(errno.EINVAL, f"it is {what}, not a file", str(path))
