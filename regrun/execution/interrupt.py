"""Signals while something is trained: the first asks to save and stop, the second stops at once."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from regrun.signals import ENDING, end_at_once, handling


class Interrupt:
    """Holds the number of the signal that asked to stop, or None."""

    def __init__(self) -> None:
        self.signal_number: int | None = None

    def request(self, number: int, frame: FrameType | None) -> None:
        """The signal handler."""
        if self.signal_number is not None:
            end_at_once(number)
        self.signal_number = number


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
