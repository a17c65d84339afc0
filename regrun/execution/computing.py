"""What the process computes a stack with: threads on a CPU, and the matrix products of a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn

from regrun.config.training import Training
from regrun.cores import cores
from regrun.errors import UsageError
from regrun.execution.budget import Budget
from regrun.execution.heap import keeping_freed_memory
from regrun.nn.layer_table import layer_table

PAYS_A_THREAD = 25_000_000
"""Multiplications of one product that are worth a thread.

On idle cores, a second thread saves nothing at 6 million, a fifth at 25 million, and half of the
time at 250 million. But threads wait for each other at the end of each operation, and one that
shares its core with another program keeps all others waiting: steps of 6 million then take ten
times as long with two threads as with one.
"""


MOST_THREADS = 1024
"""More are never meant, and more than a process can start may end it."""


def check_threads(threads: int | None) -> None:
    """Raise UsageError for a number of threads that nobody can have meant."""
    whole = isinstance(threads, int) and not isinstance(threads, bool)
    if threads is not None and not (whole and 1 <= threads <= MOST_THREADS):
        raise UsageError(
            f"--threads {threads!r}: not a whole number from 1 to {MOST_THREADS:,}; "
            f"{cores()} are as many as there are cores"
        )


def notes_on_threads(threads: int | None) -> list[str]:
    """What a user should know of the number of threads that was asked for."""
    if threads is None or threads <= cores():
        return []
    return [f"--threads {threads}: there are {cores()} cores, so threads wait for each other"]


def threads_for(budget: Budget, members: int, most: int) -> int:
    """How many threads the largest product of a stack of this many members pays.

    It depends on the config and the machine alone, never on what was measured, since the bits of a
    result depend on it.
    """
    together = 1 if budget.trial.unstackable else members
    return _paid_by(together * budget.multiplications, most)


def _paid_by(multiplications: int, most: int) -> int:
    return max(1, min(most, multiplications // PAYS_A_THREAD))


@contextmanager
def predicting(network: nn.Module, inputs: Tensor) -> Iterator[None]:
    """Compute with as many threads as one batch of these inputs pays; then as before.

    inputs: one example or more. On a GPU it does not matter.
    """
    most = torch.get_num_threads()
    if inputs.device.type == "cpu":
        rows = layer_table(network, tuple(inputs.shape[1:]))
        largest = max((row.multiplications for row in rows), default=0)
        torch.set_num_threads(_paid_by(len(inputs) * largest, most))
    try:
        yield
    finally:
        torch.set_num_threads(most)


def on_device(device: torch.device) -> AbstractContextManager[object]:
    """Make a GPU the current one for the block.

    Kernels of Triton are launched there, wherever their tensors lie.
    """
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


@contextmanager
def computing(
    training: Training, budget: Budget, members: int, threads: int | None = None
) -> Iterator[None]:
    """Compute as the config says, with as many threads as pay; then as before.

    members: of the stack. threads: as many instead; else never more than the process has.

    On a GPU, cuDNN tries several algorithms for each shape of a convolution, and keeps the fastest,
    where the network is large enough to pay for it. Another process may keep another one.
    """
    most, products = torch.get_num_threads(), torch.get_float32_matmul_precision()
    tries = torch.backends.cudnn.benchmark
    torch.set_num_threads(threads or threads_for(budget, members, most))
    torch.set_float32_matmul_precision(training.matmul)
    torch.backends.cudnn.benchmark = tries or budget.fills_gpu
    try:
        with keeping_freed_memory():
            yield
    finally:
        torch.set_num_threads(most)
        torch.set_float32_matmul_precision(products)
        torch.backends.cudnn.benchmark = tries
