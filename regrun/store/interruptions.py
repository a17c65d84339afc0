"""An end to system calls that are interrupted without end.

Python repeats a call that a signal has interrupted (PEP 475). Some file systems, those of user
space among them, give the same answer when something is wrong with them, every time, and Python
repeats the call for ever. A timer of the process's own signal handler is what can break the loop.
"""

from __future__ import annotations

import errno
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

PATIENCE = 60.0
"""Seconds of the processor's time for one file: repeating costs time, waiting for a disk none."""


@contextmanager
def limited_repeats() -> Iterator[None]:
    """Raise InterruptedError in the block after it has kept the processor busy for `PATIENCE`.

    Only the main thread can have signal handlers; in others, and where the program has a handler
    for SIGPROF already, nothing happens.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGPROF) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGPROF, _give_up)
    # Again and again: what cleans up may hang likewise.
    signal.setitimer(signal.ITIMER_PROF, PATIENCE, PATIENCE)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, signal.SIG_DFL)


def _give_up(number: int, frame: FrameType | None) -> None:
    raise InterruptedError(errno.EINTR, "interrupted again and again")
