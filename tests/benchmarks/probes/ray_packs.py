"""How a sweep on a Ray cluster keeps its nodes busy, and how fast its driver takes in runs.

    python -m tests.benchmarks.probes.ray_packs NODES PACKS RUNS SECONDS

A whole sweep of PACKS stacks of RUNS runs each, on NODES nodes of one core, all on this machine.
Nothing is trained: a node sleeps for SECONDS, then sends the files of a stored run for each run of
its stack, in parcels of twenty. A small sweep comes first, which starts the nodes' processes.

seconds: of the whole sweep, planning and summary included. intake: from the first parcel to the
last. cpu: what the driver's process took of the cores meanwhile.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import regrun
from regrun.config.yaml_nodes import parse_config
from regrun.store.sweep_dir import SweepDir
from regrun.sweeps import ray_worker
from regrun.sweeps.planned_stack import Outcome
from regrun.sweeps.ray_cluster import ON_LOOPBACK
from regrun.sweeps.ray_task import Ended, Files, Parcel, Task
from tests.benchmarks.measuring import CONFIGS

RUNS_A_PARCEL = 20
OBJECT_STORE_BYTES = 100_000_000

AS_OTHERS = {"RAY_worker_niceness": "0"}
"""Ray gives its workers the niceness of 15: all other programs of a busy machine go first."""


def main() -> None:
    """Sweep, and say how long it took."""
    nodes, packs, runs = map(int, sys.argv[1:4])
    seconds = float(sys.argv[4])
    stored = regrun.train(CONFIGS / "weight_decay.yaml", runs_dir="stored", device="cpu")
    files = files_of(Path(stored.summary.run_dir))
    with cluster_of([1] * nodes) as address:
        import ray

        ray.init(address, logging_level=logging.ERROR, log_to_driver=False)
        sweep_of(nodes, 1, sending(files, 1.0))
        taken = Taken()
        started = time.perf_counter()
        sweep_of(packs, runs, sending(files, seconds), taken)
        whole = time.perf_counter() - started
    report = {"runs": packs * runs, "seconds": whole, "intake": taken.seconds, "cpu": taken.cpu}
    print(json.dumps(report))


@contextmanager
def cluster_of(cores: Sequence[int]) -> Iterator[str]:
    """The address of a cluster with a node for each number of cores, for the block."""
    with TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        os.environ.update(ON_LOOPBACK, RAY_USAGE_STATS_ENABLED="0", RAY_TMPDIR=folder, **AS_OTHERS)
        import ray
        from ray.cluster_utils import Cluster

        size: dict[str, Any] = {"object_store_memory": OBJECT_STORE_BYTES}
        head = {"num_cpus": cores[0], "include_dashboard": False, **size}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        try:
            for each in cores[1:]:
                cluster.add_node(num_cpus=each, **size)
            yield cluster.address
        finally:
            ray.shutdown()  # where this process has joined it
            cluster.shutdown()  # type: ignore[no-untyped-call]


class Taken:
    """When parcels were taken in, and what the process computed meanwhile."""

    def __init__(self) -> None:
        self.first = self.last = self.first_cpu = self.last_cpu = 0.0

    @property
    def seconds(self) -> float:
        return self.last - self.first

    @property
    def cpu(self) -> float:
        return self.last_cpu - self.first_cpu

    def note(self) -> None:
        self.last, self.last_cpu = time.perf_counter(), time.process_time()
        self.first, self.first_cpu = self.first or self.last, self.first_cpu or self.last_cpu


def sweep_of(packs: int, runs: int, send: Any, taken: Taken | None = None) -> None:
    """A sweep of so many stacks of so many runs, which nodes send."""
    take = ray_worker.Received.take

    def noting(received: ray_worker.Received, parcel: Parcel) -> None:
        if taken:
            taken.note()
        take(received, parcel)
        if taken:
            taken.note()

    config = parse_config((CONFIGS / "weight_decay.yaml").read_bytes(), "the config").data
    grid = {
        "optimizer.weight_decay": [0.01 * 1.02**k for k in range(packs)],
        "optimizer.lr": [0.003 * 1.001**k for k in range(runs)],
    }
    section = {"grid": grid, "seeds": 1, "stack_size": runs}
    with (
        patch.object(ray_worker, "train_on_node", send),
        patch.object(ray_worker.Received, "take", noting),
    ):
        sweep = regrun.sweep(
            {**config, "sweep": section}, device="cpu", executor="ray", progress=False
        )
    assert sum(cell.seeds for cell in sweep.summary.cells) == packs * runs
    (planned,) = SweepDir(Path(sweep.summary.sweep_dir)).read_rounds()
    assert len(planned.stacks) == packs


def sending(files: Files, seconds: float) -> Callable[..., Iterator[Parcel]]:
    """What stands in for the training of a stack; travels to the nodes by value."""

    def send(references: Sequence[Any], *_: object) -> Iterator[Parcel]:
        import ray

        yield Parcel(0)
        task: Task = ray.get(references[0])
        time.sleep(seconds)
        runs = task.stack.runs
        for at in range(0, len(runs), RUNS_A_PARCEL):
            members = range(at, min(at + RUNS_A_PARCEL, len(runs)))
            ended = tuple(Ended(member, 1.0, counts=True) for member in members)
            yield Parcel(1, ended, {runs[member].directory: files for member in members})
        yield Parcel(1, outcome=Outcome(True, ()))

    return send


def files_of(run: Path) -> Files:
    """All files of a run, as a node would send them."""
    names = (file for file in sorted(run.rglob("*")) if file.is_file())
    return {file.relative_to(run).as_posix(): file.read_bytes() for file in names}


if __name__ == "__main__":
    main()
