r"""Seconds that regrun's engine takes for a step of a stack, in process, evaluation left out.

    python -m tests.benchmarks.probes.engine_steps CONFIG MEMBERS STEPS \
        [--seeds S] [--device cuda] [KEY=VALUE ...]

The members are a sweep over the learning rate and S seeds. The engine's epoch must be longer than
the steps asked for.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator

import torch

from regrun.config.load import load_config
from regrun.training.engine import Engine
from regrun.training.events import Event, Tick
from regrun.training.precision import DTYPES

WARM_UP = 20


def main() -> None:
    """Train for STEPS steps after a few others, and say how long they took."""
    parser = argparse.ArgumentParser()
    parser.add_argument("config")
    parser.add_argument("members", type=int)
    parser.add_argument("steps", type=int)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_intermixed_args()

    device = torch.device(options.device)
    loaded = load_config(options.config, options.overrides)
    lr = loaded.config.optimizer.lr
    members = [
        loaded.member({"optimizer.lr": lr * 1.01 ** (k // options.seeds), "seed": seed}).config
        for k in range(options.members)
        for seed in [k % options.seeds]
    ]
    dataset = loaded.config.dataset.load()
    dataset = dataset.to(device, DTYPES[loaded.config.training.precision])
    events = Engine(members, dataset, device).run()
    take(events, WARM_UP, device)
    started = time.perf_counter()
    take(events, options.steps, device)
    seconds = time.perf_counter() - started
    print(json.dumps({"steps": options.steps, "members": options.members, "seconds": seconds}))


def take(events: Iterator[Event], steps: int, device: torch.device) -> None:
    """Let an engine take steps, and wait for the device."""
    for _ in range(steps):
        if not isinstance(next(events), Tick):
            raise SystemExit("an epoch ended; ask for fewer steps or more examples")
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main()
