"""Disks that fail, and processes that die, at a chosen file operation."""

from __future__ import annotations

import os
import signal
import stat
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
"""The functions of :mod:`os` through which regrun changes files."""


class Operations:
    """File operations as they happen. reached: whether the chosen one has come up."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.reached = False


@contextmanager
def recorded() -> Iterator[Operations]:
    """Nothing fails; the operations are recorded."""
    with _intercepted(0, lambda *_: None, False) as operations:
        yield operations


@contextmanager
def failing(number: int, error: int, *, for_ever: bool = False) -> Iterator[Operations]:
    """The ``number``-th file operation, or all from it on, fail with the errno ``error``."""

    def fault(name: str, real: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        if name == "close":
            real(*arguments)
        raise OSError(error, os.strerror(error), str(arguments[0]))

    with _intercepted(number, fault, for_ever) as operations:
        yield operations


@contextmanager
def dying(number: int, *, torn: bool = False) -> Iterator[Operations]:
    """This process is killed at its ``number``-th file operation; ``torn``: in a write's middle."""

    def fault(name: str, real: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        if torn and name == "write":
            real(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)

    with _intercepted(number, fault, False) as operations:
        yield operations


@contextmanager
def signalled(at: int, number: int) -> Iterator[Operations]:
    """This process sends itself a signal just before its ``at``-th file operation."""

    def fault(name: str, real: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        os.kill(os.getpid(), number)

    with _intercepted(at, fault, False) as operations:
        yield operations


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
def _intercepted(number: int, fault: Callable[..., None], for_ever: bool) -> Iterator[Operations]:
    operations = Operations()
    real = {name: getattr(os, name) for name in OPERATIONS}

    def wrap(name: str) -> Callable[..., Any]:
        def operation(*arguments: Any, **options: Any) -> Any:
            if name == "close" and stat.S_ISDIR(os.fstat(arguments[0]).st_mode):
                return real[name](*arguments)  # nothing was written that could be lost
            operations.names.append(name)
            count = len(operations.names)
            if count == number or (for_ever and count > number):
                operations.reached = True
                fault(name, real[name], arguments)
            return real[name](*arguments, **options)

        return operation

    try:
        for name in OPERATIONS:
            setattr(os, name, wrap(name))
        yield operations
    finally:
        for name in OPERATIONS:
            setattr(os, name, real[name])
