"""How worker processes come into being. Imports nothing heavy: `start_early` runs before torch."""

from __future__ import annotations

import multiprocessing
import os
import sys
from multiprocessing.context import BaseContext

HELPER_MODULE = "regrun.sweeps.helper"
"""What the helper executes when it starts: it imports all that a worker runs."""

SLOW_IMPORTS = ("typer", "sklearn.datasets", "torchvision")
"""What a worker imports when it needs it, and this process may have needed before."""

MANY_RUNS = 200
"""Runs of a sweep for which workers are sure to pay off."""


def worker_context() -> BaseContext:
    """Workers are forked from a helper that has imported once what they need.

    Not on macOS, whose own libraries may crash in a forked process.
    """
    if sys.platform == "darwin":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    used = [name for name in SLOW_IMPORTS if name in sys.modules]
    context.set_forkserver_preload([HELPER_MODULE, *used])
    return context


def cores() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def start_early(runs: int) -> None:
    """Let the helper import torch on another core while this process does, for a large sweep."""
    if runs < MANY_RUNS or cores() < 2 or sys.platform == "darwin":
        return
    from multiprocessing import forkserver

    worker_context()
    forkserver.ensure_running()
