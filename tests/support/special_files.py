"""Paths that are no regular files: whoever opens one may wait for ever."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path

SPECIAL: Mapping[str, str] = {
    "pipe": "a pipe",
    "socket": "a socket",
    "endless": "a device",
    "empty": "a device",
}
"""Kind → what messages call it."""


def make_special(path: Path, kind: str) -> Path:
    """Make what is no file at the path: itself, or a link to a device."""
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            _bind(server, path)
    else:
        path.symlink_to({"endless": "/dev/zero", "empty": "/dev/null"}[kind])
    return path


def _bind(server: socket.socket, path: Path) -> None:
    """Bind by a short name: the path of a socket has at most 107 bytes."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        server.bind(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)
