"""How much of a whole `regrun sweep` goes into the runs' files and events.

    python -m tests.benchmarks.probes.storing_sweep CONFIG [KEY=VALUE ...]

Runs the program in this process, which trains by itself. Around: the time of its stacks that their
engines were not at work.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from typing import Any
from unittest.mock import patch

import torch

from regrun.cli import app
from regrun.sweeps import worker
from regrun.sweeps.planned_stack import Outcome, train_stack
from tests.benchmarks.probes.timed_engine import time_engines


def main() -> None:
    """Sweep, and say where the time went."""
    torch.set_num_threads(1)  # as a worker does
    engines, stacks = time_engines(), list[float]()

    def timed(*arguments: Any) -> Outcome:
        started = time.perf_counter()
        outcome = train_stack(*arguments)
        stacks.append(time.perf_counter() - started)
        return outcome

    patch.object(worker, "train_stack", timed).start()
    code = _regrun(["sweep", *sys.argv[1:], "--workers", "0", "--quiet"])
    training = sum(engine.training for engine in engines)
    print(json.dumps({"training": training, "around": sum(stacks) - training}))
    sys.exit(code)


def _regrun(arguments: Sequence[str]) -> Any:
    sys.argv[1:] = arguments
    try:
        app.run()
    except SystemExit as end:
        return end.code


if __name__ == "__main__":
    main()
