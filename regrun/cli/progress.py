"""The terminal as an observer of training. Everything goes to stderr."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from regrun.cli.console import WIDE
from regrun.execution.observer import Observer, Standing, Start
from regrun.numbers import number

if TYPE_CHECKING:
    from rich.console import Console

SECONDS_BETWEEN_LINES = 3.0
"""How often a log file or a pipe gets a line."""

NUMBERS = 15
"""Columns of the share that is done, of the time that is left, and of the gaps."""


@contextmanager
def watching(*, quiet: bool) -> Iterator[Observer]:
    """An observer that suits stderr: a live bar on a terminal, a line now and then elsewhere."""
    from regrun.cli.console import notices

    if quiet:
        yield Observer()
        return
    console = notices()
    if not console.is_terminal or console.is_dumb_terminal:
        yield Lines()
        return
    bar = Bar(console)
    try:
        yield bar
    finally:
        bar.stop()


class State:
    """What is known of the training: how far it is, how fast, and how good."""

    def __init__(self) -> None:
        self.start: Start | None = None
        self.rounds = 0
        self.members = 0
        """Runs of all rounds so far."""
        self.row: Mapping[str, float] = {}
        self.standing: Callable[[], Standing] | None = None
        self.loss: Callable[[], float] | None = None
        """The loss of the latest batch."""
        self._before = self._steps = 0
        self._since = time.monotonic()
        self._first: int | None = None
        self._epoch = -1
        self._losses: list[float] = []
        """Of the batches of this epoch that were looked at."""

    def begin(self, start: Start) -> list[str]:
        """Take up a round. Return the lines that announce it; none if it is taken up again."""
        if self.start is not None:
            self._before += self.start.total_steps - start.again * start.total_steps
        self.start, self.row = start, {}
        self.standing = self.loss = None
        self._steps, self._first, self._since = 0, None, time.monotonic()
        if start.again:
            return []
        self.rounds += 1
        self.members += start.members
        if self.rounds == 1:
            return _opening(start)
        runs = f"{start.members:,} run{'s' * (start.members != 1)}"
        return [f"round {self.rounds}: {runs} more, {self.members:,} in all"]

    def advance(self, step: int) -> None:
        """Note how many steps of this round are done."""
        if self._first is None:
            self._first, self._since = step, time.monotonic()
        self._steps = step

    @property
    def done(self) -> int:
        """Steps over all rounds."""
        return self._before + self._steps

    @property
    def total(self) -> int:
        """Steps that are known of, over all rounds."""
        return self._before + (self.start.total_steps if self.start else 0)

    @property
    def unit(self) -> str:
        """What is counted."""
        return self.start.unit if self.start else "step"

    def words(self, width: int) -> str:
        """How it stands, as much of it as fits."""
        if self.start is None:
            return ""
        if self.unit != "step":
            return f"{self._steps:,} of {self.start.total_steps:,} {self.unit}s"
        rate = [(3, _rate(self._speed))] if self._speed else []
        if not self.start.stacks:
            return _fitting([*self._of_run(self.start), *rate], width)
        standing = self.standing() if self.standing else None
        if standing is None:
            return f"0 of {self.members:,} runs"
        ended = f"{standing.ended:,} of {standing.runs:,} runs"
        return _fitting([(0, ended), (1, _leader(standing, width - len(ended) - 2)), *rate], width)

    def _of_run(self, start: Start) -> list[tuple[int, str]]:
        """Epoch, the loss so far within it, and the losses of the last evaluation."""
        epoch = max(1, -(-start.epochs * self._steps // max(start.total_steps, 1)))
        if epoch != self._epoch:
            self._epoch, self._losses = epoch, []
        shown = [(0, f"epoch {epoch:,} of {start.epochs:,}")]
        value = self.loss() if self.loss is not None else math.nan
        if math.isfinite(value):
            self._losses.append(value)
            mean = math.fsum(self._losses) / len(self._losses)
            shown.append((4 if self.row else 1, f"loss so far {number(mean)}"))
        ranks = {"train": 2, "val": 1, "test": 1}
        losses = _losses(self.row)
        return shown + [(ranks[text.partition("/")[0]], text) for text in losses]

    @property
    def _speed(self) -> float:
        """Steps a second in this round; 0 while it is not known."""
        seconds = time.monotonic() - self._since
        return (self._steps - (self._first or 0)) / seconds if seconds > 0 else 0.0


class StateObserver(Observer):
    """Keeps how the training stands, for the observers that show it."""

    def __init__(self) -> None:
        self._state = State()

    def on_batch(self, loss: Callable[[], float]) -> None:
        self._state.loss = loss

    def on_standing(self, standing: Callable[[], Standing]) -> None:
        self._state.standing = standing

    def on_evaluation(self, row: Mapping[str, float]) -> None:
        self._state.row = row

    def on_message(self, text: str) -> None:
        from regrun.cli.console import notify

        notify(text)


class Lines(StateObserver):
    """Plain lines without cursor codes."""

    def __init__(self) -> None:
        super().__init__()
        self._last = time.monotonic()

    def on_start(self, start: Start) -> None:
        self._last = time.monotonic()
        for text in self._state.begin(start):
            self.on_message(text)

    def on_progress(self, step: int, total_steps: int) -> None:
        self._state.advance(step)
        now = time.monotonic()
        if now - self._last >= SECONDS_BETWEEN_LINES:
            self._last = now
            share = 100 * step / max(total_steps, 1)
            text = f"{self._state.unit} {step:,} of {total_steps:,} ({share:.0f}%)"
            self.on_message("  ".join([text, self._state.words(WIDE)]).rstrip())


class Bar(StateObserver):
    """One bar from the first moment to the last round, with how it stands; it goes at the end."""

    def __init__(self, console: Console) -> None:
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
        from rich.progress import TimeRemainingColumn as TimeLeft
        from rich.table import Column

        whole = Column(no_wrap=True)
        rest = Column(no_wrap=True, overflow="ellipsis", ratio=1)
        words = TextColumn("{task.fields[words]}", markup=False, table_column=rest)
        self._bar = 10 if console.width < 90 else 20 if console.width < 120 else 40
        columns = (
            BarColumn(self._bar, table_column=whole),
            TaskProgressColumn(table_column=whole),
            TimeLeft(compact=True, table_column=whole),
            words,
        )
        super().__init__()
        self._console = console
        self._progress = Progress(
            *columns, console=console, transient=True, redirect_stdout=False, expand=True
        )
        # Shown at once: to import torch and to read the data may take many seconds.
        self._task = self._progress.add_task("train", total=None, words="loading torch and data")
        self._progress.start()

    def on_start(self, start: Start) -> None:
        for text in self._state.begin(start):
            self.on_message(text)
        self._show()

    def on_progress(self, step: int, total_steps: int) -> None:
        self._state.advance(step)
        self._show()

    def _show(self) -> None:
        state = self._state
        words = state.words(self._console.width - self._bar - NUMBERS)
        self._progress.update(self._task, completed=state.done, total=state.total, words=words)

    def on_message(self, text: str) -> None:
        from regrun.cli.console import wrapped

        self._console.print(wrapped(text, self._console.width), soft_wrap=True)

    def stop(self) -> None:
        """Take the bar away and give the cursor back."""
        self._progress.stop()


def _opening(start: Start) -> list[str]:
    what = f"{start.epochs:,} epochs"
    if start.stacks:
        runs = "runs" if start.unit == "step" else f"{start.unit}s"
        what = f"{start.members:,} {runs} in {start.stacks:,} stack{'s' * (start.stacks != 1)}"
    if start.unit == "step":
        what += f", {start.total_steps:,} steps"
    where = f"{start.directory}: {what} on {start.device}"
    if start.workers:
        where += f", {start.workers} workers"
    from regrun.cli.data_report import data_line

    data = [f"data: {data_line(start.data)}"] if start.data is not None else []
    return [where, *data, *(f"note: {note}" for note in start.notes)]


def _leader(standing: Standing, width: int) -> str:
    """The best cell so far, with as many of its settings as fit; nothing before there is one."""
    from regrun.settings import format_value, short_keys

    if standing.value is None or standing.best is None:
        return ""
    text = f"{standing.metric} {number(standing.value)}"
    if standing.cells < 2 or not standing.best:
        return text
    text = f"best {text}"
    names = short_keys(standing.best)
    for key, value in standing.best.items():
        setting = f"{text} {names[key]}={format_value(value, 3)}"
        if len(setting) > width:
            return f"{text} …"
        text = setting
    return text


def _fitting(parts: Sequence[tuple[int, str]], width: int) -> str:
    """The parts in a line, without those of the highest ranks where there is no room."""
    left = [(rank, text) for rank, text in parts if text]
    while left and len("  ".join(text for _, text in left)) > width and len(left) > 1:
        left.remove(max(left, key=lambda part: part[0]))
    return "  ".join(text for _, text in left)


def _rate(speed: float) -> str:
    return f"{speed:,.0f} steps/s" if speed >= 10 else f"{speed:.1f} steps/s"


def _losses(row: Mapping[str, float]) -> list[str]:
    names = [f"{split}/loss" for split in ("train", "val", "test")]
    return [f"{name} {number(row[name])}" for name in names if name in row]
