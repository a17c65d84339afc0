"""How a stack's time is shared between training and everything around it: files, events, summaries.

    python -m tests.benchmarks.probes.storing CONFIG MEMBERS [--seeds S] [--steps N] [KEY=VALUE ...]

Trains MEMBERS runs as one stack with all their files. The engine's own time (building, steps,
evaluation) is taken by standing between it and the stack; the rest is logging and storing. With
--steps the training steps are counted N times instead of as often as they were taken: files
depend on the number of evaluations, not of steps.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import torch

from regrun.config.load import load_config
from regrun.execution import stack_run
from regrun.execution.observer import Observer
from regrun.execution.prepare import prepare
from regrun.store.checkpoint import CheckpointStore
from regrun.store.run_dir import RunDir
from tests.benchmarks.probes.timed_engine import time_engines


def main() -> None:
    """Train the stack and say where the time went."""
    parser = argparse.ArgumentParser()
    parser.add_argument("config")
    parser.add_argument("members", type=int)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int)
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_intermixed_args()

    loaded = load_config(options.config, options.overrides)
    lr = loaded.config.optimizer.lr
    configs = [
        loaded.member(
            {"optimizer.lr": lr * 1.001 ** (k // options.seeds), "seed": k % options.seeds}
        ).config
        for k in range(options.members)
    ]
    prepared = prepare(loaded.config, torch.device("cpu"))
    engines = time_engines()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        members = []
        for index, config in enumerate(configs):
            directory = root / f"run-{index}"
            directory.mkdir()
            members.append(stack_run.Member.of(config, RunDir(directory)))
        started = time.perf_counter()
        run = stack_run.StackRun(
            members, prepared, CheckpointStore(root / "stack"), None, Observer()
        )
        run.run(lambda: False)
        total = time.perf_counter() - started
    engine = engines[0]
    training = engine.training
    around = total - training
    if options.steps is not None:
        training += engine.stepping / engine.ticks * (options.steps - engine.ticks)
    report = {"members": options.members, "steps": options.steps or engine.step}
    print(json.dumps({**report, "training": training, "around": around}))


if __name__ == "__main__":
    main()
