"""The terminal as an observer of training. Everything goes to stderr."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from regrun.execution.observer import Observer, Start

if TYPE_CHECKING:
    from rich.console import Console

    from regrun.results import RunSummary

SECONDS_BETWEEN_LINES = 3.0
"""How often a log file or a pipe gets a line."""


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


class _State:
    """What is known of the training: how far it is, how fast, and how good."""

    def __init__(self) -> None:
        self.start: Start | None = None
        self.rounds = 0
        self.members = 0
        """Runs of all rounds so far."""
        self.ended = 0
        self.row: Mapping[str, float] = {}
        self._before = self._steps = 0
        self._since = time.monotonic()
        self._first: int | None = None
        self._cells: dict[str, list[float]] = {}
        self._metric = ""

    def begin(self, start: Start) -> list[str]:
        """Take up a round. Return the lines that announce it."""
        if self.start is not None:
            self._before += self.start.total_steps
        self.start, self.row = start, {}
        self.rounds += 1
        self.members += start.members
        self._steps, self._first, self._since = 0, None, time.monotonic()
        if self.rounds == 1:
            return _opening(start)
        runs = f"{start.members:,} run{'s' * (start.members != 1)}"
        return [f"round {self.rounds}: {runs} more, {self.members:,} in all"]

    def advance(self, step: int) -> None:
        """Note how many steps of this round are done."""
        if self._first is None:
            self._first, self._since = step, time.monotonic()
        self._steps = step

    def end(self, summary: RunSummary) -> None:
        """Note how a run ended."""
        self.ended += 1
        names = (f"{split}/loss" for split in ("val", "test", "train"))
        name = next((each for each in names if summary.metrics.get(each) is not None), "")
        value = summary.metrics.get(name)
        if value is None or summary.status in ("diverged", "failed"):
            return
        self._metric = name
        label = re.sub(r"^\d+-|(^|-|,)seed=.*$", "", Path(summary.run_dir).name)
        self._cells.setdefault(label, []).append(value)

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

    def words(self) -> list[str]:
        """How it stands, the most telling first."""
        if self.start is None or self.unit != "step":
            return _losses(self.row)
        speed = self._rate
        rate = [f"{speed:,.0f} steps/s" if speed >= 10 else f"{speed:.1f} steps/s"] if speed else []
        if not self.start.stacks:
            epochs, total = self.start.epochs, max(self.start.total_steps, 1)
            epoch = self.row.get("epoch", epochs * self._steps / total)
            return [f"epoch {int(epoch):,} of {epochs:,}", *_losses(self.row), *rate]
        return [f"{self.ended:,} of {self.members:,} runs", *self._best(), *rate]

    @property
    def _rate(self) -> float:
        """Steps a second in this round; 0 while it is not known."""
        seconds = time.monotonic() - self._since
        return (self._steps - (self._first or 0)) / seconds if seconds > 0 else 0.0

    def _best(self) -> list[str]:
        """The best cell so far, by the mean of its runs."""
        from regrun.cli.format import number

        means = {label: math.fsum(each) / len(each) for label, each in self._cells.items()}
        if not means:
            return []
        label = min(means, key=means.__getitem__)
        return [f"best {self._metric} {number(means[label])} {label}".rstrip()]


class Lines(Observer):
    """Plain lines without cursor codes."""

    def __init__(self) -> None:
        self._last = time.monotonic()
        self._state = _State()

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
            self.on_message("  ".join([text, *self._state.words()]))

    def on_evaluation(self, row: Mapping[str, float]) -> None:
        self._state.row = row

    def on_end(self, summary: RunSummary) -> None:
        self._state.end(summary)

    def on_message(self, text: str) -> None:
        from regrun.cli.console import notify

        notify(text)


class Bar(Observer):
    """One bar from the first moment to the last round, with how it stands; it goes at the end."""

    def __init__(self, console: Console) -> None:
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
        from rich.progress import TimeRemainingColumn as TimeLeft
        from rich.table import Column

        whole = Column(no_wrap=True)
        rest = Column(no_wrap=True, overflow="ellipsis", ratio=1)
        words = TextColumn("{task.fields[words]}", markup=False, table_column=rest)
        columns = (
            BarColumn(20 if console.width < 120 else 40, table_column=whole),
            TaskProgressColumn(table_column=whole),
            TimeLeft(compact=True, table_column=whole),
            words,
        )
        self._console = console
        self._state = _State()
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

    def on_evaluation(self, row: Mapping[str, float]) -> None:
        self._state.row = row
        self._show()

    def on_end(self, summary: RunSummary) -> None:
        self._state.end(summary)
        self._show()

    def _show(self) -> None:
        state = self._state
        words = "  ".join(state.words())
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


def _losses(row: Mapping[str, float]) -> list[str]:
    from regrun.cli.format import number

    names = [f"{split}/loss" for split in ("train", "val", "test")]
    return [f"{name} {number(row[name])}" for name in names if name in row]
