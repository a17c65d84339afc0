"""Many processes that start runs in one runs directory at the same moment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors.torch import load_file

import regrun
from tests.support.program import PATIENCE, SERVER
from tests.support.runs import LINEAR, results, run_dirs

CONFIG = {**LINEAR, "name": "shared"}


def train_many(barrier: Any, runs_dir: str, count: int) -> None:
    import torch

    torch.set_num_threads(1)
    barrier.wait(PATIENCE)
    for _ in range(count):
        regrun.train(CONFIG, runs_dir=runs_dir, device="cpu")


def test_runs_started_at_once_are_all_there_and_all_alike(tmp_path: Path) -> None:
    runs_dir = tmp_path / "does" / "not exist yet"
    processes, count = 8, 10
    barrier = SERVER.Barrier(processes)
    workers = [
        SERVER.Process(target=train_many, args=(barrier, str(runs_dir), count))
        for _ in range(processes)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(PATIENCE)
    assert [worker.exitcode for worker in workers] == [0] * processes
    found = run_dirs(runs_dir)
    assert len(found) == processes * count
    assert {path.parent for path in found} == {runs_dir / "shared"}
    first = results(found[0])
    for directory in found:
        run = regrun.load_run(directory)
        assert run.summary.status == "completed"
        assert run.summary.run_dir == str(directory)
        assert results(directory) == first
        assert load_file(directory / "weights.safetensors").keys() == {
            "output.weight", "output.bias",
        }  # fmt: skip
        assert {path.name for path in directory.iterdir() if "events" not in path.name} == {
            "config.yaml", "metrics.jsonl", "summary.json", "weights.safetensors", "data.json",
            "preprocessing.json", "train", "test", "checkpoints",
        }  # fmt: skip
