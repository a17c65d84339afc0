"""Signals that ask the program to end: SIGINT, SIGTERM, and SIGHUP when the terminal is closed.

From its first line on the program ends at once, with 128 + the signal's number: nothing is stored
yet. What must be written as a whole holds them back. While something is trained, they ask to save
and stop (`regrun.execution.interrupt`).
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Handler = Callable[[int, FrameType | None], None]

_SHOW_CURSOR = b"\x1b[?25h"


def end_on_signals() -> None:
    """Let each of the signals end this process, from now on and without a traceback."""
    for number in _answered(ENDING):
        signal.signal(number, end_at_once)


def end_at_once(number: int, frame: FrameType | None = None) -> None:
    """The signal handler: end now, whatever is going on.

    An exception would not do: some libraries catch whatever comes, and report it as theirs.
    """
    show_cursor()
    os._exit(128 + number)


def show_cursor() -> None:
    """Give a terminal its cursor back, which a progress bar may have hidden."""
    if os.isatty(2):
        os.write(2, _SHOW_CURSOR)


@contextmanager
def handling(signals: Sequence[signal.Signals], handler: Handler) -> Iterator[None]:
    """Let ``handler`` answer the signals while the block runs.

    Outside the main thread, where Python allows no handlers, it answers none.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = [(number, signal.signal(number, handler)) for number in _answered(signals)]
    try:
        yield
    finally:
        for number, before in previous:
            signal.signal(number, before)


@contextmanager
def holding_signals() -> Iterator[Sequence[int]]:
    """Let the signals wait until the block has ended, so that it leaves nothing half-made.

    Yields the numbers of those that wait, at which a long block should end early.
    """
    arrived: list[int] = []
    try:
        with handling(ENDING, lambda number, _: arrived.append(number)):
            yield arrived
    finally:
        for number in arrived:
            signal.raise_signal(number)


@contextmanager
def blocking_signals() -> Iterator[None]:
    """Keep the signals from this thread, and from the processes that it starts meanwhile."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def ignore_signals() -> None:
    """Let the signals do nothing to this process, for which they were blocked so far."""
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)


def _answered(signals: Sequence[signal.Signals]) -> list[signal.Signals]:
    """Without SIGHUP where it is ignored: the program was started with nohup."""
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [number for number in signals if not (ignored and number == signal.SIGHUP)]
