"""`train` and `resume` of one run."""

from __future__ import annotations

import shlex
from pathlib import Path

from regrun.config.dump import dump_config
from regrun.config.load import Loaded, load_config
from regrun.errors import Interrupted, UsageError
from regrun.execution.interrupt import Interrupt, catching_signals
from regrun.execution.observer import Observer, Start
from regrun.execution.prepare import Prepared, prepare, resolve_device
from regrun.execution.stack_run import Member, StackRun
from regrun.results import RunSummary
from regrun.store.atomic import write_atomic
from regrun.store.checkpoint import Checkpoint, CheckpointStore
from regrun.store.lock import exclusive
from regrun.store.reading import load_result
from regrun.store.run_dir import RunDir, claim_run_dir, experiment_dir


def train_run(
    loaded: Loaded,
    *,
    runs_dir: Path,
    device: str = "auto",
    observer: Observer | None = None,
    allow_large: bool = False,
    label: str | None = None,
) -> RunSummary:
    """Train one run in a directory of its own; returns its summary.

    label: start of the directory's name; default: the seed. Raises ConfigError (located),
    StorageError, CorruptInputError, Interrupted.
    """
    watcher = observer or Observer()
    config = loaded.config
    prepared = _prepare(loaded, device, watcher, allow_large)
    parent = experiment_dir(runs_dir, config.name)
    with catching_signals() as interrupt:
        directory = claim_run_dir(parent, label or f"seed={config.seed}")
        write_atomic(RunDir(directory).config, dump_config(config))
        with exclusive(directory):
            return _run(loaded, prepared, directory, None, watcher, interrupt)


def resume_run(
    directory: Path, *, device: str | None = None, observer: Observer | None = None
) -> RunSummary:
    """Carry on an interrupted run; of a finished one the stored summary is returned.

    device: default: the one it was on. Raises UsageError when the directory holds no run or
    another process is at it, and what `train_run` raises.
    """
    watcher = observer or Observer()
    files = RunDir(directory)
    if not files.config.is_file():
        raise UsageError(f"{directory}: no run here (it has no {files.config.name})")
    with catching_signals() as interrupt, exclusive(directory):
        finished = load_result(directory, RunSummary)
        if finished is not None:
            CheckpointStore(files.checkpoints).clear()  # a kill may have come between the two
            watcher.on_message(f"{directory} had finished before; nothing to do")
            return finished
        loaded = load_config(files.config)
        checkpoint = CheckpointStore(files.checkpoints).load()
        if checkpoint is None:
            watcher.on_message("there is no checkpoint: starting from the beginning")
        used = checkpoint.state["device"] if checkpoint else "auto"
        prepared = _prepare(loaded, device or used, watcher, True)
        return _run(loaded, prepared, directory, checkpoint, watcher, interrupt)


def _prepare(loaded: Loaded, device: str, observer: Observer, allow_large: bool) -> Prepared:
    with loaded.source.locating():
        return prepare(
            loaded.config,
            resolve_device(device),
            allow_large=allow_large,
            progress=observer.on_message,
        )


def _run(
    loaded: Loaded,
    prepared: Prepared,
    directory: Path,
    checkpoint: Checkpoint | None,
    observer: Observer,
    interrupt: Interrupt,
) -> RunSummary:
    config = loaded.config
    store = CheckpointStore(RunDir(directory).checkpoints)
    with loaded.source.locating():
        run = StackRun([Member(config, directory)], prepared, store, checkpoint, observer)
    observer.on_start(
        Start(
            str(directory),
            str(prepared.device),
            run.total_steps,
            prepared.notes(config),
            config.training.epochs,
            data=prepared.card(config),
        )
    )
    if not run.run(lambda: interrupt.signal_number is not None):
        raise Interrupted(
            f"saved; carry on with: regrun resume {shlex.quote(str(directory))}",
            interrupt.signal_number or 0,
            run.interrupted(0),
        )
    return run.summaries[0]
