"""One planned stack of a sweep, and how a worker trains it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from math import nan
from pathlib import Path

import numpy as np

from regrun.analysis.cells import metric_values
from regrun.config.dump import dump_config
from regrun.config.load import Loaded, load_config
from regrun.config.schema import Config
from regrun.data.dataset import Dataset
from regrun.errors import CorruptInputError, UsageError
from regrun.execution.computing import computing
from regrun.execution.failure import Failure
from regrun.execution.observer import Observer
from regrun.execution.origin import load_stack
from regrun.execution.prepare import (
    check_unchanged,
    prepare,
    resolve_device,
    saving_memory,
)
from regrun.execution.stack_run import Member, StackPruner, StackRun
from regrun.memory import advising, give_back
from regrun.metrics import Metric
from regrun.results import RunSummary
from regrun.store.atomic import make_directory
from regrun.store.checkpoint import CheckpointStore
from regrun.store.lock import exclusive
from regrun.store.metrics import read_metrics
from regrun.store.place import Place
from regrun.store.reading import read_document
from regrun.store.sweep_dir import SWEEP, PlannedRun, SweepDir
from regrun.sweeps.pruning import pruner_of
from regrun.sweeps.replicates import with_seeds
from regrun.sweeps.selection import metric_of
from regrun.training.events import Evaluation

ORPHAN_SECONDS = 60.0
"""How long to wait for the worker of a killed sweep, which ends by itself within moments."""

WORTH_COLLECTING = 100_000_000
"""Bytes of a stack for which it is worth a tenth of a second to free what an earlier one held."""

MOST_MESSAGES = 10
"""Messages of one stack that are shown one by one."""


@dataclass(frozen=True)
class PlannedStack:
    """A stack of a sweep. Small and picklable: the rest is read from the sweep directory.

    data: the fingerprint of the examples that it was planned for. begun_in: see `Source`. prunes:
    whether the sweep's pruner, if there is one, stops runs of it. threads: what it is trained with;
    None: what it began with, or as many as pay.
    """

    sweep: Path
    number: int
    runs: tuple[PlannedRun, ...]
    data: str
    begun_in: tuple[Path, ...] = ()
    prunes: bool = True
    threads: int | None = None

    def load(self, home: Path | None = None) -> Loaded:
        """The sweep's config. home: the sweep directory that this one is a copy of."""
        stored = read_document(SweepDir(self.sweep).config, sealed=True)
        if home is not None:
            stored = replace(stored, label=str(home / SWEEP))
        return load_config(stored).begun_in(self.begun_in)

    def unfinished(self) -> list[PlannedRun]:
        """The runs that have not ended."""
        files = SweepDir(self.sweep)
        with files.place.kept_open():
            return [run for run in self.runs if not files.run(run).finished]


@dataclass(frozen=True)
class Home:
    """What a copy of a sweep directory lacks that is on another machine.

    path: the sweep directory there. configs: of the stack's runs, as they are stored.
    """

    path: Path
    configs: tuple[str, ...]
    dataset: Dataset


@dataclass(frozen=True)
class Outcome:
    """What became of a stack. done: False when it was asked to stop, after saving."""

    done: bool
    messages: tuple[str, ...]


class Report:
    """What a stack says about itself while it is trained; this one says it to nobody."""

    def steps(self, steps: int) -> None:
        """The steps taken so far."""

    def measured(self, members: Sequence[int], values: np.ndarray) -> None:
        """What these members were measured by last, of the metric that orders cells."""

    def ended(self, member: int, value: float, *, counts: bool) -> None:
        """A member is over. value: NaN where it has none. counts: False if it was lost."""


def configs_of(loaded: Loaded, runs: Iterable[PlannedRun]) -> Iterator[Config]:
    """The config of each planned run; the config of a cell is validated once for all its seeds."""
    cells: dict[int, Config] = {}
    for run in runs:
        if run.cell not in cells:
            cells[run.cell] = loaded.member(run.params).config
        yield with_seeds(cells[run.cell], run.seed, run.data_seed)


def train_stack(
    stack: PlannedStack,
    device: str,
    should_stop: Callable[[], bool],
    report: Report,
    home: Home | None = None,
) -> Outcome:
    """Train a stack from its last checkpoint.

    home: what belongs to the sweep directory, where the stack has a copy of it.

    After a kill all members are trained again, also those whose files are complete, since only the
    whole stack continues bit for bit; complete files are left unchanged.
    """
    files = SweepDir(stack.sweep)
    folder = files.stack(stack.number)
    make_directory(files.stacks)
    make_directory(folder)
    with files.place.kept_open(), _held(folder):
        store = CheckpointStore(folder)
        if not stack.unfinished():
            store.clear()  # a kill may have come between the last summary and this
            return Outcome(True, ())
        loaded = stack.load(home.path if home else None)
        members = _members(stack, loaded, home)
        for member in members:
            make_directory(member.files.place)
        prepared = prepare(
            members[0].config,
            resolve_device(device),
            allow_large=True,
            dataset=home.dataset if home else None,
        )
        check_unchanged(members[0].config.dataset, stack.data, prepared.fingerprint)
        if prepared.budget.total_bytes(len(members)) >= WORTH_COLLECTING:
            give_back()
        checkpoint = load_stack(store)
        epochs = members[0].config.training.epochs
        if checkpoint is not None and checkpoint.state.origin.epochs != epochs:
            with checkpoint.naming():  # those of a sweep never change
                raise CorruptInputError(f"origin.epochs: not the {epochs:,} of the sweep")
        done_steps = checkpoint.state.engine.step if checkpoint else 0
        watcher = _Reporting(stack, metric_of(loaded.config), report)
        pruner = _stack_pruner(loaded.config, stack, epochs, done_steps) if stack.prunes else None
        threads = stack.threads or (checkpoint.state.threads if checkpoint else None)
        training = members[0].config.training
        advice = saving_memory(members[0].config, prepared.device, "fewer --workers")
        with advising(advice), computing(training, prepared.budget, len(members), threads):
            run = StackRun(members, prepared, store, checkpoint, watcher)
            done = run.run(should_stop, pruner)
    return Outcome(done, tuple(watcher.messages()))


def _members(stack: PlannedStack, loaded: Loaded, home: Home | None) -> list[Member]:
    files = SweepDir(stack.sweep)
    runs = list(zip(stack.runs, configs_of(loaded, stack.runs), strict=True))
    if home is None:
        return [Member.of(each, files.run(run), loaded.source.projects) for run, each in runs]
    return [
        Member(config, files.run(run), text, home.path / run.directory)
        for (run, config), text in zip(runs, home.configs, strict=True)
    ]


def stored_configs(stack: PlannedStack, loaded: Loaded) -> Iterator[str]:
    """The config of each run of the stack as it is stored. loaded: the sweep's."""
    files = SweepDir(stack.sweep)
    for run, config in zip(stack.runs, configs_of(loaded, stack.runs), strict=True):
        yield dump_config(config, files.run(run).path, loaded.source.projects)


def mark_failed(stack: PlannedStack, error: BaseException) -> int:
    """Give every unfinished run of the stack a summary that says why it failed; returns how many.

    The run's log holds the whole error, with the traceback of one of code.
    """
    failure = Failure.of(error)
    left = replace(stack, runs=tuple(stack.unfinished()))
    for run, config in zip(left.runs, stored_configs(left, stack.load()), strict=True):
        files = SweepDir(stack.sweep).run(run)
        make_directory(files.place)
        failure.store(files, run.seed, config)
    return len(left.runs)


@contextmanager
def _held(folder: Place) -> Iterator[None]:
    """Lock a stack's folder, once an orphaned worker has released it."""
    deadline = time.monotonic() + ORPHAN_SECONDS
    with ExitStack() as held:
        while True:
            try:
                held.enter_context(exclusive(folder))
                break
            except UsageError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.05)
        yield


class _Reporting(Observer):
    """Reports how a stack stands, and keeps the messages."""

    def __init__(self, stack: PlannedStack, metric: Metric, report: Report) -> None:
        self._report, self._metric = report, metric.name
        self._places = {run.directory: at for at, run in enumerate(stack.runs)}
        self._kept: list[str] = []
        self._statuses: Counter[str] = Counter()

    def messages(self) -> list[str]:
        """Messages for the user; only the first few diverged members are named."""
        unnamed = self._statuses["diverged"] - MOST_MESSAGES
        return [*self._kept, f"{unnamed:,} more diverged"] if unnamed > 0 else self._kept

    def on_progress(self, step: int, total_steps: int) -> None:
        self._report.steps(step)

    def on_measured(self, evaluation: Evaluation) -> None:
        for table in evaluation.tables:
            if self._metric in table.tags:
                values = table.values[:, table.tags.index(self._metric)]
                self._report.measured(table.members, values)

    def on_end(self, summary: RunSummary) -> None:
        directory = Path(summary.run_dir).name
        value = metric_values(summary).get(self._metric, nan)
        counts = summary.status == "completed"
        self._report.ended(self._places[directory], value, counts=counts)
        self._statuses[summary.status] += 1
        if summary.status == "diverged" and self._statuses["diverged"] <= MOST_MESSAGES:
            self._kept.append(f"{directory} diverged at step {summary.diverged_at_step:,}")

    def on_message(self, text: str) -> None:
        self._kept.append(text)


def _stack_pruner(
    config: Config, stack: PlannedStack, epochs: int, done_steps: int
) -> StackPruner | None:
    """Prunes whole cells, by the mean of their members' metric.

    After a resume, earlier reports are repeated from the members' stored metrics. Members that had
    ended have rows beyond the checkpoint (done_steps), which are ignored.
    """
    cells = list(dict.fromkeys(run.cell for run in stack.runs))
    pruner = pruner_of(config, cells, epochs)
    if pruner is None:
        return None
    members = {cell: [i for i, run in enumerate(stack.runs) if run.cell == cell] for cell in cells}

    def means(values: Mapping[int, float]) -> dict[int, float]:
        """The means of the cells still trained; a cell with a diverged seed counts as the worst."""
        live = {cell: each for cell, each in members.items() if any(m in values for m in each)}
        return {
            cell: sum(values.get(m, nan) for m in each) / len(each) for cell, each in live.items()
        }

    def decide(event: Evaluation) -> list[int]:
        values = {m: row[pruner.metric] for m, row in event.rows.items()}
        ended = pruner.report(event.epoch, means(values))
        return [m for cell in sorted(ended) for m in members[cell] if m in values]

    stored: dict[int, dict[int, float]] = {}
    for index, run in enumerate(stack.runs):
        file = SweepDir(stack.sweep).run(run).metrics
        for number, row in enumerate(read_metrics(file), 1):
            if row["step"] <= done_steps:
                value = row.get(pruner.metric)
                if value is None:
                    raise CorruptInputError(f"{file}:{number}: damaged: no {pruner.metric}")
                stored.setdefault(row["epoch"], {})[index] = value
    pruner.replay((epoch, means(stored[epoch])) for epoch in sorted(stored))
    return decide
