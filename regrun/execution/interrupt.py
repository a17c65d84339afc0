"""SIGINT and SIGTERM: the first asks to save and stop, the second stops at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType


class Interrupt:
    """Holds the number of the signal that asked to stop, or None."""

    def __init__(self) -> None:
        self.signal_number: int | None = None

    def request(self, number: int, frame: FrameType | None) -> None:
        """The signal handler."""
        if self.signal_number is not None:
            os._exit(128 + number)
        self.signal_number = number


@contextmanager
def catching_signals() -> Iterator[Interrupt]:
    """Turn SIGINT and SIGTERM into a request while the block runs."""
    interrupt = Interrupt()
    with handling((signal.SIGINT, signal.SIGTERM), interrupt.request):
        yield interrupt


@contextmanager
def handling(
    signals: Sequence[signal.Signals], handler: Callable[[int, FrameType | None], None]
) -> Iterator[None]:
    """Let ``handler`` answer the signals while the block runs.

    Outside the main thread, where Python allows no handlers, it answers none.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = [signal.signal(number, handler) for number in signals]
    try:
        yield
    finally:
        for number, before in zip(signals, previous, strict=True):
            signal.signal(number, before)
