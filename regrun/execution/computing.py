"""What the process computes a stack with: threads on a CPU, and the matrix products of a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from regrun.config.training import Training
from regrun.execution.budget import Budget

PAYS_A_THREAD = 25_000_000
"""Multiplications of one product that are worth a thread.

On idle cores, a second thread saves nothing at 6 million, a fifth at 25 million, and half of the
time at 250 million. But threads wait for each other at the end of each operation, and one that
shares its core with another program keeps all others waiting: steps of 6 million then take ten
times as long with two threads as with one.
"""


def threads_for(budget: Budget, members: int, most: int) -> int:
    """How many threads the largest product of a stack of this many members pays.

    It depends on the config and the machine alone, never on what was measured, since the bits of a
    result depend on it.
    """
    together = 1 if budget.trial.unstackable else members
    return max(1, min(most, together * budget.multiplications // PAYS_A_THREAD))


@contextmanager
def computing(training: Training, budget: Budget, members: int) -> Iterator[None]:
    """Compute as the config says, with as many threads as pay; then as before.

    members: of the stack. There are never more threads than the process has.

    On a GPU, cuDNN tries several algorithms for each shape of a convolution, and keeps the fastest,
    where the network is large enough to pay for it. Another process may keep another one.
    """
    most, products = torch.get_num_threads(), torch.get_float32_matmul_precision()
    tries = torch.backends.cudnn.benchmark
    torch.set_num_threads(threads_for(budget, members, most))
    torch.set_float32_matmul_precision(training.matmul)
    torch.backends.cudnn.benchmark = tries or budget.fills_gpu
    try:
        yield
    finally:
        torch.set_num_threads(most)
        torch.set_float32_matmul_precision(products)
        torch.backends.cudnn.benchmark = tries
