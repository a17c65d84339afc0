"""The process in front of a command that trains on a Ray cluster.

Where Ray dies on the driver's machine, its library ends the process that uses it, at once and with
exit code 1; Python has no say in it. The command is therefore run by a child, and its parent, which
has no Ray, says what happened.
"""

from __future__ import annotations

import atexit
import os
import signal
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from types import FrameType

from regrun.errors import ClusterLostError
from regrun.signals import ENDING, blocking_signals, handling, show_cursor

CHILD = "REGRUN_OUTLIVED"
"""The environment variable that says which process is the child, and where it writes to its parent.

Processes that the child starts inherit it, and are not meant.
"""

ENDED_BY_RAY = 1

_END = b"\0"
"""What the child writes when Python ends it: an exit code of 1 is then a bug, which was shown."""

_MOST_BYTES = 2**16


@dataclass(frozen=True)
class Ended:
    """How the child ended. message: what is to be said of it; empty where it said that itself."""

    exit_code: int
    message: str = ""


def outlived(words: Sequence[str]) -> Ended | None:
    """Go on in a child where the words of a command ask for Ray.

    Returns None in the process that has the work to do, and in its parent how that one ended.
    """
    if "--executor=ray" not in words and ("--executor", "ray") not in pairwise(words):
        return None
    reading, writing = os.pipe()
    gone, kept = os.pipe()  # which the parent closes when it ends, however it does
    with blocking_signals():
        child = os.fork()
        if child:
            os.close(writing)
            os.close(gone)
            with handling(ENDING, partial(_pass_on, child)):
                signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
                return _end_of(child, reading)
        os.close(reading)
        os.close(kept)
    os.environ[CHILD] = f"{os.getpid()} {writing}"
    atexit.register(_say, _END)
    threading.Thread(target=_end_with_parent, args=(gone,), daemon=True).start()
    return None


def is_outlived() -> bool:
    """Whether this process has such a parent, which passes its signals on."""
    return _writing() is not None


def note_command(command: str) -> None:
    """Let the parent know what carries on what this process does, if it has one."""
    _say(f"{command}\n".encode())


def _writing() -> int | None:
    """Where this process writes to its parent."""
    pid, _, number = os.environ.get(CHILD, "").partition(" ")
    return int(number) if pid == str(os.getpid()) else None


def _say(text: bytes) -> None:
    writing = _writing()
    if writing is not None:
        with suppress(OSError):  # the parent is gone
            os.write(writing, text)


def _end_with_parent(gone: int) -> None:
    os.read(gone, 1)
    os._exit(ENDED_BY_RAY)


def _pass_on(child: int, number: int, frame: FrameType | None) -> None:
    """The signal handler. Of a terminal's signals, which go to both, the child counts one."""
    with suppress(ProcessLookupError):
        os.kill(child, number)


def _end_of(child: int, reading: int) -> Ended:
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        show_cursor()
        return Ended(128 - code)
    os.set_blocking(reading, False)  # processes that the child left behind may hold the other end
    try:
        said = os.read(reading, _MOST_BYTES)
    except BlockingIOError:
        said = b""
    if code != ENDED_BY_RAY or said.endswith(_END):
        return Ended(code)
    show_cursor()
    message = "the Ray cluster was lost: Ray died on this machine, and ended the driver"
    commands = said.decode().splitlines()
    if commands:
        message += f"; carry on with: {commands[-1]}"
    return Ended(ClusterLostError.exit_code, message)
