"""Signals while something is trained: the first asks to save and stop, the second stops at once."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from regrun.outliving import is_outlived
from regrun.signals import ENDING, end_at_once, handling

SECONDS_APART = 0.5
"""A signal may come twice within this time where a parent passes it on."""


class Interrupt:
    """Holds the number of the signal that asked to stop, or None."""

    def __init__(self) -> None:
        self.signal_number: int | None = None
        self._since = 0.0

    def request(self, number: int, frame: FrameType | None) -> None:
        """The signal handler."""
        now = time.monotonic()
        if self.signal_number is None:
            self.signal_number, self._since = number, now
        elif not (is_outlived() and now - self._since < SECONDS_APART):
            end_at_once(number)


@contextmanager
def catching_signals() -> Iterator[Interrupt]:
    """Turn the signals into a request while the block runs; within another one, into its own."""
    answering = getattr(signal.getsignal(signal.SIGINT), "__self__", None)
    if isinstance(answering, Interrupt):
        yield answering
        return
    interrupt = Interrupt()
    with handling(ENDING, interrupt.request):
        yield interrupt
