"""What a sweep holds on to does not grow with the runs that have ended."""

from __future__ import annotations

import gc
import tracemalloc
from itertools import pairwise
from statistics import median
from typing import Any

import psutil
import pytest

from regrun.sweeps import worker, worker_pool
from regrun.sweeps.planned_stack import mark_failed, train_stack
from tests.support.sweeps import LINEAR, with_keys


def tiny(runs: int, stack_size: int) -> dict[str, Any]:
    return with_keys(
        LINEAR,
        training={"epochs": 1, "batch_size": "full"},
        sweep={
            "grid": {
                "optimizer.lr": [1e-6 * (k + 1) for k in range(runs // 20)],
                "optimizer.weight_decay": list(range(20)),
            },
            "stack_size": stack_size,
        },
    )


def measured(sweep: Any, monkeypatch: Any, config: dict[str, Any], measure: Any) -> list[int]:
    """What `measure` says after every stack."""
    found: list[int] = []

    def run_and_measure(*arguments: Any) -> Any:
        outcome = train_stack(*arguments)
        gc.collect()
        found.append(measure())
        return outcome

    monkeypatch.setattr(worker, "train_stack", run_and_measure)
    sweep(config)
    return found


def test_what_python_holds_does_not_grow(sweep: Any, monkeypatch: Any) -> None:
    tracemalloc.start()
    try:
        sizes = measured(
            sweep, monkeypatch, tiny(180, 20), lambda: tracemalloc.get_traced_memory()[0]
        )
    finally:
        tracemalloc.stop()
    # The median: what something loads or caches once belongs to no run.
    growth = median(later - earlier for earlier, later in pairwise(sizes[3:])) / 20
    print(f"{growth:.0f} bytes a finished run")
    # Texts of config sections are kept, up to a number; a config or a summary takes more.
    assert growth < 2000


@pytest.mark.long
def test_the_process_does_not_grow_over_ten_thousand_runs(sweep: Any, monkeypatch: Any) -> None:
    process = psutil.Process()
    sizes = measured(sweep, monkeypatch, tiny(10_000, 250), lambda: process.memory_info().rss)
    growth = sizes[-1] - sizes[3]
    print(f"{growth / 1e6:.1f} MB over {250 * (len(sizes) - 4):,} finished runs")
    assert growth < 20e6


def test_a_failing_stack_leaves_nothing_behind(sweep: Any, monkeypatch: Any) -> None:
    from regrun.execution.stack_run import StackRun

    def fails(self: StackRun, *_: Any) -> bool:
        ballast = bytearray(10_000_000)
        raise RuntimeError(f"with {len(ballast)} bytes in its frame")

    monkeypatch.setattr(StackRun, "run", fails)
    tracemalloc.start()
    try:
        config = tiny(60, 10)
        held = []

        def mark(*arguments: Any) -> int:
            gc.collect()
            held.append(tracemalloc.get_traced_memory()[0])
            return mark_failed(*arguments)

        monkeypatch.setattr(worker_pool, "mark_failed", mark)
        done = sweep(config)
    finally:
        tracemalloc.stop()
    assert done.summary.failed == 60
    assert max(held) - min(held) < 25e6  # a frame or two, not six
