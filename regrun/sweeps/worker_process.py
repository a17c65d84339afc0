"""How worker processes are started. Imports nothing heavy: `start_early` runs before torch."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import ForkServerContext, SpawnContext

from regrun.cores import cores
from regrun.signals import blocking_signals

PRELOAD_MODULE = "regrun.sweeps.worker_preload"
"""What the fork server imports when it starts: all that a worker runs."""

SLOW_IMPORTS = ("typer", "sklearn.datasets", "torchvision")
"""Imported by workers on demand; preloaded when this process has already needed them."""

WORKER_BYTES = 30_000_000
"""Memory that a worker shares with no other before it trains anything."""

MANY_RUNS = 200
"""From this many runs on, worker processes are certain to pay off."""


def worker_context() -> ForkServerContext | SpawnContext:
    """The multiprocessing context: workers forked from a server that has imported what they need.

    macOS uses spawn, because its system libraries may crash in a forked process.
    """
    if sys.platform == "darwin":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    used = [name for name in SLOW_IMPORTS if name in sys.modules]
    context.set_forkserver_preload([PRELOAD_MODULE, *used])
    return context


@contextmanager
def starting_processes() -> Iterator[None]:
    """Keep signals from what the block starts, as Ctrl-C in a terminal reaches all of it."""
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # lifts the block when it has to start
    with blocking_signals():
        yield


def start_early(runs: int) -> None:
    """For a large sweep, let the fork server import torch while this process does the same."""
    if runs < MANY_RUNS or cores() < 2 or sys.platform == "darwin":
        return
    from multiprocessing import forkserver

    worker_context()
    with starting_processes():
        forkserver.ensure_running()
