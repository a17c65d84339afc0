"""An engine that stands between the steps and everything around them, for the probes of storing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

from regrun.execution import stack_run
from regrun.training.engine import Engine
from regrun.training.events import Event, Tick


class TimedEngine(Engine):
    """An engine that knows how long it was at work: building, steps, evaluations."""

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

    @property
    def training(self) -> float:
        """Seconds at work."""
        return self.built + self.stepping + self.evaluating


def time_engines() -> list[TimedEngine]:
    """From now on all stacks of this process are timed; their engines appear in the list."""
    engines: list[TimedEngine] = []

    def timed(*arguments: Any, **settings: Any) -> TimedEngine:
        engines.append(TimedEngine(*arguments, **settings))
        return engines[-1]

    patch.object(stack_run, "Engine", timed).start()
    return engines
