"""Observers that ask to save and stop, as Ctrl-C does."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping

from regrun.execution.observer import Observer, Start


class StopsRun(Observer):
    """At an evaluation, counted from 1."""

    def __init__(self, evaluation: int = 1) -> None:
        self._left = evaluation

    def on_evaluation(self, row: Mapping[str, float]) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGINT)


class StopsSweep(Observer):
    """Before the first stack has ended."""

    def on_start(self, start: Start) -> None:
        os.kill(os.getpid(), signal.SIGINT)
