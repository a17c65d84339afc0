"""Operating systems that fail, and processes that die, at a chosen file operation."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

OPERATIONS = (
    "open",
    "write",
    "fsync",
    "close",
    "replace",
    "unlink",
    "mkdir",
    "rmdir",
    "truncate",
    "ftruncate",
)


class Counter:
    """Takes down file operations; ``reached`` tells whether the chosen one came up."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.reached = False


@contextmanager
def failing(number: int, error: int, *, for_ever: bool = False) -> Iterator[Counter]:
    """The ``number``-th file operation, or all from it on, fail with the errno ``error``."""

    def fault(name: str, real: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        if name == "close":
            real(*arguments)
        raise OSError(error, os.strerror(error), str(arguments[0]))

    with _intercepted(number, fault, for_ever) as counter:
        yield counter


@contextmanager
def dying(number: int, *, torn: bool = False) -> Iterator[Counter]:
    """This process is killed at its ``number``-th file operation; ``torn``: in a write's middle."""

    def fault(name: str, real: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        if torn and name == "write":
            real(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
        die()

    with _intercepted(number, fault, False) as counter:
        yield counter


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def in_child(work: Callable[[], None]) -> int:
    """Run ``work`` in a forked process; its exit status, negative for a signal."""
    pid = os.fork()
    if pid == 0:
        status = 3
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@contextmanager
def recorded() -> Iterator[Counter]:
    """Nothing fails; the operations are taken down."""
    with _intercepted(0, lambda *_: None, False) as counter:
        yield counter


@contextmanager
def _intercepted(number: int, fault: Callable[..., None], for_ever: bool) -> Iterator[Counter]:
    counter = Counter()
    real = {name: getattr(os, name) for name in OPERATIONS}

    def wrap(name: str) -> Callable[..., Any]:
        def operation(*arguments: Any, **options: Any) -> Any:
            counter.names.append(name)
            count = len(counter.names)
            if count == number or (for_ever and count > number):
                counter.reached = True
                fault(name, real[name], arguments)
            return real[name](*arguments, **options)

        return operation

    try:
        for name in OPERATIONS:
            setattr(os, name, wrap(name))
        yield counter
    finally:
        for name in OPERATIONS:
            setattr(os, name, real[name])
