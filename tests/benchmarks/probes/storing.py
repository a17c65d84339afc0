"""How a pack's time is shared between training and everything around it: files, events, summaries.

    python storing.py CONFIG MEMBERS [--seeds S] [--steps N] [KEY=VALUE ...]

Trains MEMBERS runs as one stack with all their files. The engine's own time (building, steps,
evaluation) is taken by standing between it and the pack; the rest is logging and storing. With
--steps the training steps are counted N times instead of as often as they were taken: files
depend on the number of evaluations, not of steps.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from regrun.config.load import load_config
from regrun.execution import pack
from regrun.execution.observer import Silent
from regrun.execution.prepare import prepare
from regrun.store.checkpoint import CheckpointStore
from regrun.training.engine import Engine
from regrun.training.events import Event, Tick


class TimedEngine(Engine):
    """An engine that knows how long it was at work."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        started = time.perf_counter()
        super().__init__(*arguments, **settings)
        self.built = time.perf_counter() - started
        self.ticks, self.stepping, self.evaluating = 0, 0.0, 0.0

    def run(self) -> Iterator[Event]:
        """The same events."""
        events = super().run()
        while True:
            started = time.perf_counter()
            event = next(events, None)
            seconds = time.perf_counter() - started
            if isinstance(event, Tick):
                self.ticks += 1
                self.stepping += seconds
            else:
                self.evaluating += seconds
            if event is None:
                return
            yield event


def main() -> None:
    """Train the pack and say where the time went."""
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
        loaded.with_values(
            {"optimizer.lr": lr * 1.001 ** (k // options.seeds), "seed": k % options.seeds}
        )
        for k in range(options.members)
    ]
    prepared = prepare(loaded.config, torch.device("cpu"))
    engines: list[TimedEngine] = []

    def timed(*arguments: Any, **settings: Any) -> TimedEngine:
        engines.append(TimedEngine(*arguments, **settings))
        return engines[0]

    pack.Engine = timed  # type: ignore[misc, assignment]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        members = []
        for index, config in enumerate(configs):
            directory = root / f"run-{index}"
            directory.mkdir()
            members.append(pack.Member(config, directory))
        started = time.perf_counter()
        run = pack.PackRun(members, prepared, CheckpointStore(root / "pack"), None, Silent())
        run.run(lambda: False)
        total = time.perf_counter() - started
    engine = engines[0]
    training = engine.built + engine.stepping + engine.evaluating
    around = total - training
    if options.steps is not None:
        training += engine.stepping / engine.ticks * (options.steps - engine.ticks)
    report = {"members": options.members, "steps": options.steps or engine.step}
    print(json.dumps({**report, "training": training, "around": around}))


if __name__ == "__main__":
    main()
