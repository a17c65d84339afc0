"""Progress of the Python functions: a bar in a notebook, and on a terminal that of the commands."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from html import escape
from typing import Any

from regrun.cli.progress import Bar, Lines, StateObserver
from regrun.escapes import escaped_name
from regrun.execution.observer import Observer, Start

SECONDS_BETWEEN_UPDATES = 0.25
"""How often a notebook gets a new bar: each is a message to the browser."""

WIDTH = 90
"""Characters next to the bar."""


@contextmanager
def watching(progress: bool | None) -> Iterator[Observer]:
    """What shows progress in Python. None: in notebooks and on terminals; True: everywhere."""
    if progress is False:
        yield Observer()
        return
    from regrun.cli.console import notices

    console = notices()
    if console.is_jupyter:
        shown: NotebookBar | _TerminalBar = NotebookBar()
    elif console.is_terminal and not console.is_dumb_terminal:
        shown = _TerminalBar(console)
    else:
        yield Lines() if progress else Observer()
        return
    try:
        yield shown
    finally:
        shown.stop()


class _TerminalBar(Bar):
    """Without the notes on the data, which are warnings in Python."""

    def on_start(self, start: Start) -> None:
        super().on_start(replace(start, notes=()))


class NotebookBar(StateObserver):
    """One bar in the output of a cell of a notebook; it goes at the end."""

    def __init__(self) -> None:
        from IPython import display

        super().__init__()
        api: Any = display  # which has no types
        self._html = api.HTML
        self._shown = 0.0
        text = self._bar("loading torch and data")
        self._handle: Any = api.display(self._html(text), display_id=True)

    def on_start(self, start: Start) -> None:
        self._state.begin(start)
        self._show(now=True)

    def on_progress(self, step: int, total_steps: int) -> None:
        self._state.advance(step)
        self._show()

    def on_evaluation(self, row: Mapping[str, float]) -> None:
        super().on_evaluation(row)
        self._show()

    def _show(self, *, now: bool = False) -> None:
        if now or time.monotonic() - self._shown >= SECONDS_BETWEEN_UPDATES:
            self._shown = time.monotonic()
            self._handle.update(self._html(self._bar(self._state.words(WIDTH))))

    def _bar(self, words: str) -> str:
        """The bar in the notebook's own colours; without a value while nothing is known."""
        state = self._state
        value = f'value="{state.done}" max="{state.total}"' if state.total else ""
        words = escape(escaped_name(words))
        return f'<progress {value} style="width: 16em"></progress> <code>{words}</code>'

    def stop(self) -> None:
        """Take the bar away."""
        self._handle.update(self._html(""))
