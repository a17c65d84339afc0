"""`train` and `resume` of one run."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

from regrun.config.changes import PLACES, Reload, asking_for_data, changed_keys
from regrun.config.dump import dump_config
from regrun.config.load import Loaded, load_config
from regrun.config.schema import Config
from regrun.config.yaml_nodes import Document
from regrun.errors import ConfigError, Interrupted, PluginError, UsageError
from regrun.execution.computing import check_threads, computing, notes_on_threads, on_device
from regrun.execution.failure import Failure
from regrun.execution.interrupt import Interrupt, catching_signals
from regrun.execution.observer import Observer, Start
from regrun.execution.origin import SavedStack, check_checkpoint, check_end_is_free, load_stack
from regrun.execution.prepare import (
    Prepared,
    idle_notes,
    prepare,
    resolve_device,
    saving_memory,
)
from regrun.execution.stack_run import Member, StackRun
from regrun.memory import advising, giving_back
from regrun.results import RunSummary, json_document
from regrun.store.atomic import write_atomic
from regrun.store.checkpoint import CheckpointStore
from regrun.store.checksums import sealed_document, sealed_yaml
from regrun.store.lock import exclusive
from regrun.store.reading import StoredRun, load_result
from regrun.store.run_dir import RunDir, claim_run_dir, experiment_dir, given_back_if_empty
from regrun.store.sweep_dir import SweepDir
from regrun.store.writer import RunWriter, rewrite

EPOCHS = "training.epochs"


def train_run(
    loaded: Loaded,
    *,
    runs_dir: Path,
    device: str = "auto",
    observer: Observer | None = None,
    allow_large: bool = False,
    threads: int | None = None,
    label: str | None = None,
) -> RunSummary:
    """Train one run in a directory of its own; returns its summary.

    threads: default: as many as pay. label: start of the directory's name; default: the seed.
    Raises ConfigError (located), StorageError, CorruptInputError, Interrupted.
    """
    watcher = observer or Observer()
    check_threads(threads)
    config = loaded.config
    prepared = _prepare(loaded, device, watcher, allow_large)
    parent = experiment_dir(runs_dir, config.name)
    with catching_signals() as interrupt:
        directory = claim_run_dir(parent, label or f"seed={config.seed}")
        text = dump_config(config, directory, loaded.source.projects)
        with given_back_if_empty(directory):
            write_atomic(RunDir(directory).config, sealed_yaml(text))
        with exclusive(directory):
            return _run(loaded, prepared, directory, None, threads, watcher, interrupt)


def resume_run(
    directory: Path,
    *,
    reload: Reload | None = None,
    device: str | None = None,
    observer: Observer | None = None,
    allow_large: bool = False,
    threads: int | None = None,
) -> RunSummary:
    """Carry on an interrupted run; of a finished one the stored summary is returned.

    reload: loads the config with new places of its data, or with more epochs. device, threads:
    default: those it was on. Raises UsageError when the directory holds no run or another process
    is at it, and what `train_run` raises.
    """
    check_threads(threads)
    if device is not None:
        resolve_device(device)
    watcher = observer or Observer()
    files = RunDir(directory)
    if not files.config.is_file():
        raise UsageError(f"{directory}: no run here (it has no {files.config.name})")
    with catching_signals() as interrupt, exclusive(directory):
        finished = load_result(files.summary, RunSummary)
        failed = finished is not None and finished.status == "failed"
        if failed:  # a plug-in was to blame, which may work by now
            finished = None
        store = CheckpointStore(files.checkpoints)
        stored = StoredRun(files, finished).document
        changed = _changed(stored, files, reload) if reload else []
        if finished is not None and not changed:
            _tidy(store, finished)
            return _finished(finished, directory, watcher)
        loaded = (reload or load_config)(stored)
        if finished is not None and EPOCHS in changed:
            with loaded.source.locating():
                _check_can_go_on(finished, files, loaded.config)
        checkpoint = load_stack(store)
        if finished is not None and checkpoint is None:
            raise _no_checkpoint(files, loaded.config, changed[0])
        if checkpoint is None:
            watcher.on_message("there is no checkpoint: starting from the beginning")
        else:
            watcher.on_message(_place_of(checkpoint))
        used = checkpoint.state.device if checkpoint else "auto"
        if threads is None and checkpoint is not None:
            threads = checkpoint.state.threads
        with asking_for_data(loaded, directory):
            # What began without changes was allowed, or fits.
            prepared = _prepare(loaded, device or used, watcher, allow_large or not changed)
        if checkpoint is not None:
            with loaded.source.locating():
                check_checkpoint(checkpoint.state.origin, [loaded.config], prepared.fingerprint)
        if failed:
            files.summary.unlink()
        if changed:
            text = dump_config(loaded.config, directory, loaded.source.projects)
            card = json_document(prepared.card(loaded.config))  # it names files
            if EPOCHS in changed:
                RunWriter.reopen(directory, text)
            rewrite(files, {files.config: sealed_yaml(text), files.data: sealed_document(card)})
        if finished is not None and EPOCHS not in changed:
            return _finished(finished, directory, watcher)
        return _run(loaded, prepared, directory, checkpoint, threads, watcher, interrupt)


def _place_of(checkpoint: SavedStack) -> str:
    """Where a run goes on."""
    origin, step = checkpoint.state.origin, checkpoint.state.engine.step
    return f"going on after step {step:,}, in epoch {origin.epochs_begun:,} of {origin.epochs:,}"


def _finished(summary: RunSummary, directory: Path, observer: Observer) -> RunSummary:
    observer.on_message(f"{directory} had finished before; nothing to do")
    if RunDir(directory).checkpoints.is_folder():
        command = f"regrun resume {shlex.quote(str(directory))} {EPOCHS}={2 * summary.epochs}"
        observer.on_message(f"for more epochs: {command}")
    return summary.model_copy(update={"run_dir": str(directory)})


def _tidy(store: CheckpointStore, finished: RunSummary) -> None:
    """Remove what a kill between the summary and the end has left."""
    if finished.can_go_on:
        store.keep_newest()
    else:
        store.clear()


def _changed(stored: Document, files: RunDir, reload: Reload) -> list[str]:
    """The keys that are to change. Raises ConfigError, located, for all that cannot."""
    config = files.config.path
    loaded = reload(stored)
    changed = changed_keys(load_config(stored).config, loaded.config)
    for key in changed:
        if key.partition(".")[0] == "sweep":
            sweep = f"regrun sweep {shlex.quote(str(config))} …"
            raise UsageError(f"{config.parent} is a run, not a sweep; start one: {sweep}")
        if key not in PLACES and key != EPOCHS:
            message = (
                f"cannot change in a run that has begun; start a new one: {_anew(config, key)}=…"
            )
            raise loaded.source.locate(ConfigError.at(key, message))
    return changed


def _check_can_go_on(finished: RunSummary, files: RunDir, config: Config) -> None:
    """Raise ConfigError when a finished run cannot be trained for the config's epochs."""
    epochs = config.training.epochs
    again = f"start a new run: {_anew(files.config.path, EPOCHS)}={epochs}"
    if finished.status != "completed":
        raise ConfigError.at(
            EPOCHS, f"the run {finished.status}, so it has no more epochs; {again}"
        )
    if finished.stopped_early:
        raise ConfigError.at(
            EPOCHS,
            f"early stopping ended the run after {finished.epochs:,}, and not training.epochs; "
            f"start a new run: {_anew(files.config.path, 'training.early_stopping.patience')}=…",
        )
    if epochs < finished.epochs:
        raise ConfigError.at(
            EPOCHS, f"the run has trained for {finished.epochs:,} already; {again}"
        )
    check_end_is_free([config])


def _no_checkpoint(files: RunDir, config: Config, key: str) -> UsageError:
    """A finished run cannot have a key changed that its last checkpoint is needed for."""
    sweep = files.path.resolve().parent
    way = f"start a new run: {_anew(files.config.path, key)}=…"
    if SweepDir(sweep).config.exists():
        why = "the runs of a sweep keep none"
        if key != EPOCHS:
            way = f"say it of the sweep: regrun resume {shlex.quote(str(sweep))} {key}=…"
    elif any(config.ties_to_end()):
        why = "runs that cannot be made longer keep none"
    else:
        why = "training.keep_checkpoint was off, or another version of regrun trained it"
    return UsageError(
        f"{files.path} has finished, and its last checkpoint is not there ({why}); {way}"
    )


def _anew(config: Path, key: str) -> str:
    return f"regrun train {shlex.quote(str(config))} {key}"


def _prepare(loaded: Loaded, device: str, observer: Observer, allow_large: bool) -> Prepared:
    with loaded.source.locating():
        prepared = prepare(
            loaded.config,
            resolve_device(device),
            allow_large=allow_large,
            progress=observer.on_message,
        )
    return replace(prepared, config_notes=loaded.notes)


def _run(
    loaded: Loaded,
    prepared: Prepared,
    directory: Path,
    checkpoint: SavedStack | None,
    threads: int | None,
    observer: Observer,
    interrupt: Interrupt,
) -> RunSummary:
    for note in notes_on_threads(threads):
        observer.on_message(note)
    again = f"regrun resume {shlex.quote(str(directory))}"
    instead = saving_memory(loaded.config, prepared.device)
    advice = f"{instead}; or, once more memory is free: {again}"

    def train() -> RunSummary:
        with (
            advising(advice),
            on_device(prepared.device),
            computing(loaded.config.training, prepared.budget, 1, threads),
        ):
            return _train(loaded, prepared, directory, checkpoint, threads, observer, interrupt)

    try:
        return giving_back(train)
    except PluginError as error:
        observer.on_message(f"its traceback: {RunDir(directory).log}; once it is mended: {again}")
        text = dump_config(loaded.config, directory, loaded.source.projects)
        return Failure.of(error).store(RunDir(directory), loaded.config.seed, text)


def _train(
    loaded: Loaded,
    prepared: Prepared,
    directory: Path,
    checkpoint: SavedStack | None,
    threads: int | None,
    observer: Observer,
    interrupt: Interrupt,
) -> RunSummary:
    config = loaded.config
    store = CheckpointStore(RunDir(directory).checkpoints)
    keep = config.training.keep_checkpoint and not any(config.ties_to_end())
    with loaded.source.locating():
        run = StackRun(
            [Member.of(config, RunDir(directory), loaded.source.projects)],
            prepared,
            store,
            checkpoint,
            observer,
            keep=keep,
        )
    if threads is not None and (checkpoint is None or checkpoint.state.threads != threads):
        run.save()  # or a kill before the next checkpoint would lose the number
    observer.on_start(
        Start(
            str(directory),
            str(prepared.device),
            run.total_steps,
            [*prepared.notes(config), *idle_notes(config, prepared)],
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
