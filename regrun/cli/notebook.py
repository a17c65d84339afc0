"""Progress of the Python functions: a bar in a notebook, and on a terminal that of the commands."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from html import escape
from typing import TYPE_CHECKING, Any

from regrun.cli.progress import Bar, Lines, State
from regrun.escapes import escaped_name
from regrun.execution.observer import Observer, Start

if TYPE_CHECKING:
    from collections.abc import Callable

    from regrun.execution.observer import Standing

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


class NotebookBar(Observer):
    """One bar in the output of a cell of a notebook; it goes at the end."""

    def __init__(self) -> None:
        from IPython import display

        api: Any = display  # which has no types
        self._html = api.HTML
        self._state = State()
        self._shown = 0.0
        text = self._bar("loading torch and data")
        self._handle: Any = api.display(self._html(text), display_id=True)

    def on_start(self, start: Start) -> None:
        self._state.begin(start)
        self._show(now=True)

    def on_progress(self, step: int, total_steps: int) -> None:
        self._state.advance(step)
        self._show()

    def on_batch(self, loss: Callable[[], float]) -> None:
        self._state.loss = loss

    def on_standing(self, standing: Callable[[], Standing]) -> None:
        self._state.standing = standing

    def on_evaluation(self, row: Mapping[str, float]) -> None:
        self._state.row = row
        self._show()

    def on_message(self, text: str) -> None:
        from regrun.cli.console import notify

        notify(text)

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
