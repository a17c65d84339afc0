"""One pack as a job: all that a worker needs to train it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regrun.config.load import Loaded, load_config
from regrun.config.schema import Config
from regrun.execution.device import resolve_device
from regrun.execution.observer import Silent
from regrun.execution.pack import Member, PackPruner, PackRun
from regrun.execution.prepare import prepare
from regrun.store.atomic import make_directory, write_atomic
from regrun.store.checkpoint import CheckpointStore
from regrun.store.lock import exclusive
from regrun.store.metrics import read_metrics
from regrun.store.run_dir import RunDir
from regrun.store.strict_json import dumps
from regrun.store.sweep_dir import PlannedRun, SweepDir
from regrun.sweeps.pruning import pruner_of
from regrun.training.events import Evaluation


@dataclass(frozen=True)
class Job:
    """A pack of a sweep. Small and picklable: the rest is read from the sweep directory."""

    sweep: Path
    number: int
    runs: tuple[PlannedRun, ...]
    device: str

    def unfinished(self) -> list[PlannedRun]:
        """The runs that have not come to their end."""
        return [run for run in self.runs if not RunDir(self.sweep / run.directory).finished]


@dataclass(frozen=True)
class Outcome:
    """What became of a job. done: False when it was told to stop, after saving."""

    done: bool
    messages: tuple[str, ...]


def config_of(loaded: Loaded, run: PlannedRun) -> Config:
    """The config of one planned run."""
    config = loaded.with_values(run.params)
    return config.model_copy(update={"seed": run.seed})


def run_job(job: Job, should_stop: Callable[[], bool], on_steps: Callable[[int], None]) -> Outcome:
    """Train a pack from wherever it stands. on_steps: told the steps taken, now and then.

    All members are trained again after a kill, also those whose files are complete, since the stack
    goes on to the last bit only as a whole; complete files are left as they are.
    """
    if not job.unfinished():
        return Outcome(True, ())
    files = SweepDir(job.sweep)
    loaded = load_config(files.config)
    members = [Member(config_of(loaded, run), job.sweep / run.directory) for run in job.runs]
    for member in members:
        make_directory(member.directory)
    folder = files.pack(job.number)
    make_directory(folder)
    with exclusive(folder):
        store = CheckpointStore(folder)
        prepared = prepare(members[0].config, resolve_device(job.device), allow_large=True)
        watcher = _Steps(on_steps)
        run = PackRun(members, prepared, store, store.load(), watcher)
        done = run.run(should_stop, _pack_pruner(loaded.config, job))
    return Outcome(done, tuple(watcher.messages))


def mark_failed(job: Job, error: BaseException) -> None:
    """Give every unfinished run of the job a summary that says why it failed."""
    for run in job.unfinished():
        directory = job.sweep / run.directory
        make_directory(directory)
        files = RunDir(directory)
        text = f"{type(error).__name__}: {error}\n"
        write_atomic(files.log, text)
        summary = {
            "run_dir": str(directory),
            "status": "failed",
            "seed": run.seed,
            "error": text.strip(),
            "metrics": {},
        }
        write_atomic(files.summary, dumps(summary, indent=2) + "\n")


class _Steps(Silent):
    """Passes on progress and keeps the messages."""

    def __init__(self, on_steps: Callable[[int], None]) -> None:
        self._on_steps = on_steps
        self.messages: list[str] = []

    def on_progress(self, step: int, total_steps: int) -> None:
        """Tell the steps."""
        self._on_steps(step)

    def on_end(self, summary: Mapping[str, Any]) -> None:
        """Keep what went wrong."""
        if summary["status"] == "diverged":
            where = Path(summary["run_dir"]).name
            self.messages.append(f"{where} diverged at step {summary['diverged_at_step']:,}")

    def on_message(self, text: str) -> None:
        """Keep it."""
        self.messages.append(text)


def _pack_pruner(config: Config, job: Job) -> PackPruner | None:
    """Prunes whole cells, by the mean of their members' metric.

    What was reported before a resume is told again, from the members' stored metrics.
    """
    cells = list(dict.fromkeys(run.cell for run in job.runs))
    pruner = pruner_of(config, cells)
    if pruner is None:
        return None
    members = {cell: [i for i, run in enumerate(job.runs) if run.cell == cell] for cell in cells}

    def means(values: Mapping[int, float]) -> dict[int, float]:
        found = {cell: [values[m] for m in each if m in values] for cell, each in members.items()}
        return {cell: sum(each) / len(each) for cell, each in found.items() if each}

    def decide(event: Evaluation) -> list[int]:
        values = {m: row[pruner.metric] for m, row in event.rows.items()}
        ended = pruner.report(event.epoch, means(values))
        return [m for cell in sorted(ended) for m in members[cell] if m in values]

    stored: dict[int, dict[int, float]] = {}
    for index, run in enumerate(job.runs):
        for row in read_metrics(RunDir(job.sweep / run.directory).metrics):
            stored.setdefault(row["epoch"], {})[index] = row[pruner.metric]
    pruner.replay((epoch, means(stored[epoch])) for epoch in sorted(stored))
    return decide
