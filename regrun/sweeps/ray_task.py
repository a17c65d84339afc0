"""What a node of a Ray cluster does: train one stack, and send what it writes.

The node needs no directory that it shares with the driver. It has a copy of what the stack needs of
the sweep directory, trains there as a worker process of the driver's machine would, and sends every
file that the driver lacks.

Imports little: plug-ins count only where the kinds have not been imported yet.
"""

from __future__ import annotations

import os
import socket
import stat
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory, gettempdir
from typing import TYPE_CHECKING, Any

from regrun.errors import CorruptInputError, OutOfMemoryError, StorageError, UsageError

if TYPE_CHECKING:
    import numpy as np

    from regrun.sweeps.planned_stack import Home, Outcome, PlannedStack, Report

SEND_SECONDS = 0.2
"""How long what a stack says is gathered before it is sent."""

STOP_SECONDS = 1.0
"""How often a node asks whether it is to stop."""

MOST_BYTES = 8_000_000
"""Of finished runs in one parcel, but for a single larger one."""

FOLDER = "regrun-node-"
"""Beginning of the names of temporary folders."""

LEFT_SECONDS = 600.0
"""Age from which a temporary folder that nobody holds is one of a process that was killed."""

UNSENT = ("events.out.tfevents.", ".")
"""Beginnings of names of files that are not part of a checkpoint: a resume writes the event files
anew, and files that begin with a dot are about to be renamed."""

_PACKAGE = Path(__file__).parents[1]

Files = Mapping[str, bytes]
"""By their paths below a folder, with slashes."""


@dataclass(frozen=True)
class Software:
    """What has to be the same on every node. packages: those that bring plug-ins.

    source: a digest of regrun's own files, since a checkout has other code under the same version.
    """

    versions: tuple[tuple[str, str], ...]
    source: str
    packages: tuple[str, ...]
    plugins: tuple[tuple[str, bytes], ...]
    """Name and content of the files of `--plugin`."""

    @classmethod
    def of_this_process(cls) -> Software:
        """What the driver runs. Raises UsageError for a plug-in file that cannot be read."""
        from regrun.kinds.plugins import plugin_files

        try:
            files = tuple((path.name, path.read_bytes()) for path in plugin_files())
        except OSError as error:
            raise UsageError(f"--plugin: {error}") from error
        return cls(_versions(), _source(), _packages(), files)

    def install(self) -> None:
        """Use the plug-in files here. Raises UsageError, naming the node, where others run."""
        node = socket.gethostname()
        here = dict(_versions())
        for name, wanted in self.versions:
            if here[name] != wanted:
                raise UsageError(
                    f"node {node} has {name} {here[name]}, the driver {wanted}; install the same "
                    "there, since results depend on it"
                )
        if self.source != _source():
            raise UsageError(
                f"node {node} has regrun {here['regrun']}, as the driver, but with other source "
                f"files, in {_PACKAGE}; install there what the driver has, since results depend on "
                "it, and start Ray again"
            )
        lacking = sorted(set(self.packages) - set(_packages()))
        if lacking:
            raise UsageError(
                f"node {node} lacks the plug-in {', '.join(lacking)}; install it there, in the "
                "environment that Ray was started in"
            )
        _use_plugins(self.plugins)


def _versions() -> tuple[tuple[str, str], ...]:
    return tuple((name, _version(name)) for name in ("regrun", "torch"))


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


@cache
def _source() -> str:
    """What differs between two installations of regrun that have other code."""
    digest = sha256()
    for file in sorted(_PACKAGE.rglob("*.py")):
        name = file.relative_to(_PACKAGE).as_posix()
        digest.update(f"{name} {sha256(file.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def _packages() -> tuple[str, ...]:
    from regrun.kinds.plugins import packages

    return packages()


@cache
def _use_plugins(files: tuple[tuple[str, bytes], ...]) -> ExitStack:
    """Name the files in the environment, before the kinds are imported; once a process.

    They are there for as long as the process lives.
    """
    from regrun.kinds.plugins import FILES

    kept = ExitStack()
    if files:
        folder = kept.enter_context(temporary_folder())
        for name, content in files:
            (folder / name).write_bytes(content)
        os.environ[FILES] = os.pathsep.join(str(folder / name) for name, _ in files)
    return kept


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder for the block; those that were left behind by processes that died are removed."""
    from regrun.store.lock import exclusive

    for left in Path(gettempdir()).glob(f"{FOLDER}*"):
        _remove_if_left(left)
    with TemporaryDirectory(prefix=FOLDER) as folder, exclusive(Path(folder)):
        yield Path(folder)


def _remove_if_left(folder: Path) -> None:
    """Remove a temporary folder of this user that no living process holds."""
    from regrun.store.lock import exclusive

    try:
        status = folder.lstat()
        old = time.time() - status.st_mtime > LEFT_SECONDS
        if status.st_uid == os.getuid() and stat.S_ISDIR(status.st_mode) and old:
            with exclusive(folder):
                rmtree(folder, ignore_errors=True)
    except (OSError, UsageError, StorageError):  # another process removes or holds it
        pass


@dataclass(frozen=True)
class Task:
    """A stack for a node. files: of the sweep directory, as far as the stack needs them.

    home, configs: see `Home`.
    """

    stack: PlannedStack
    home: Path
    configs: tuple[str, ...]
    files: Files
    device: str


@dataclass(frozen=True)
class Measured:
    """See `Report.measured`."""

    members: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True)
class Ended:
    """See `Report.ended`."""

    member: int
    value: float
    counts: bool


@dataclass(frozen=True)
class Parcel:
    """What a node sends: how its stack stands, and files that the driver lacks.

    finished: all files of runs that have ended, by the run's directory. saved: those of a
    checkpoint, by their paths below the sweep directory. outcome or error: of the whole stack, in
    the last parcel.
    """

    steps: int
    reports: tuple[Measured | Ended, ...] = ()
    finished: Mapping[str, Files] = field(default_factory=dict)
    saved: Files = field(default_factory=dict)
    outcome: Outcome | None = None
    error: BaseException | None = None


class Stop:
    """An actor that running tasks ask whether they are to save and stop.

    It is here since a process that is given its handle imports its module.
    """

    def __init__(self) -> None:
        self._set = False

    def set(self) -> None:
        """From now on they are."""
        self._set = True

    def is_set(self) -> bool:
        """Whether they are."""
        return self._set


def check_node(software: Software) -> str:
    """Whether a node can train stacks of the sweep: why not, else nothing."""
    try:
        software.install()
    except UsageError as error:
        return str(error)
    return ""


def free_gpu_bytes() -> int | str:
    """What the GPU of a node has free; why there is none, where torch finds none."""
    import torch

    if not torch.cuda.is_available():
        return (
            f"node {socket.gethostname()}: Ray counts a GPU there, but torch finds none; install a "
            "torch for CUDA there, or write --device cpu"
        )
    return int(torch.cuda.mem_get_info()[0])


def train_on_node(references: Sequence[Any], software: Software, stop: Any) -> Iterator[Parcel]:
    """Train the stack; yields what the driver has to know and to write.

    references: to the `Task` and to the examples, in a list so that Ray does not fetch them itself:
    a task needs the kinds, which need the plug-in files. stop: the actor that says when to save and
    stop.
    """
    import ray

    yield Parcel(0)  # from now on it can be asked to stop
    with _storing():
        software.install()
    if ray.get(stop.is_set.remote()):
        return
    from regrun.sweeps.planned_stack import Home

    task, dataset = ray.get(list(references))
    home = Home(task.home, task.configs, dataset)
    with ExitStack() as kept:
        with _storing():
            folder = kept.enter_context(temporary_folder())
            training = _Training(task, home, folder / task.home.name)
        yield from training.parcels(stop)


@contextmanager
def _storing() -> Iterator[None]:
    """Name the node, and where it keeps its temporary files, where these cannot be written."""
    from regrun.store.atomic import storage_errors

    try:
        with storage_errors(Path(gettempdir())):
            yield
    except StorageError as error:
        raise StorageError(f"node {socket.gethostname()}: {error}") from error


class _Training:
    """A stack that is trained in a thread, while this one sends what it writes."""

    def __init__(self, task: Task, home: Home, folder: Path) -> None:
        from regrun.store.sweep_dir import SweepDir

        self._home, self._device = home, task.device
        self._stack = replace(task.stack, sweep=folder)
        folder.mkdir()
        for name, content in task.files.items():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        self._files = SweepDir(folder)
        self._checkpoints = self._files.stack(self._stack.number)
        self._gathered = _Gathered()
        self._over = {run.directory for run in self._stack.runs if self._files.run(run).finished}
        """The runs whose files the driver has."""
        self._sent: dict[str, tuple[int, int]] = {}
        """Time and size of files of unfinished runs, as they were sent."""
        self._checkpoint = self._newest()
        self._stopping = False
        self._end = Parcel(0)

    def parcels(self, stop: Any) -> Iterator[Parcel]:
        """Parcels while the stack is trained, the last one with its outcome."""
        import ray

        thread = threading.Thread(target=self._train, daemon=True)
        thread.start()
        asked = time.monotonic()
        while thread.is_alive():
            thread.join(SEND_SECONDS)
            yield from self._new_parcels()
            if time.monotonic() - asked > STOP_SECONDS:
                asked = time.monotonic()
                self._stopping = self._stopping or ray.get(stop.is_set.remote())
        yield from self._new_parcels()
        if self._end.error is not None:
            yield from self._left_by_error()
        yield self._end

    def _train(self) -> None:
        import torch

        from regrun.sweeps.worker import answer, train_or_lack

        torch.set_num_threads(1)  # as in the worker processes of one machine
        outcome, error = answer(
            train_or_lack,
            (self._stack, self._device, lambda: self._stopping, self._gathered.report, self._home),
        )
        if outcome is not None:
            outcome = replace(outcome, messages=tuple(map(self._at_home, outcome.messages)))
        if isinstance(error, StorageError | OutOfMemoryError):
            error = type(error)(f"node {socket.gethostname()}: {error}")
        elif isinstance(error, CorruptInputError):
            error = CorruptInputError(self._at_home(str(error)))
        self._end = Parcel(self._gathered.steps, outcome=outcome, error=error)

    def _at_home(self, text: str) -> str:
        """With the places of the sweep directory itself in place of those of its copy."""
        return text.replace(str(self._files.path), str(self._home.path))

    def _new_parcels(self) -> Iterator[Parcel]:
        """What has come since the last time.

        The checkpoint is read before the reports, so that all runs which it counts as ended are
        sent with it or before.
        """
        saved = self._newly_saved()
        reports = self._gathered.take()
        finished: dict[str, Files] = {}
        size = 0
        for member in [each.member for each in reports if isinstance(each, Ended)]:
            run = self._stack.runs[member]
            if run.directory in self._over:
                continue
            self._over.add(run.directory)
            finished[run.directory] = files = _all_files(self._files.run(run).path)
            size += sum(map(len, files.values()))
            if size > MOST_BYTES:
                yield Parcel(self._gathered.steps, finished=finished)
                finished, size = {}, 0
        if saved:
            saved |= self._changed()
        if reports or finished or saved:
            yield Parcel(self._gathered.steps, tuple(reports), finished, saved)

    def _left_by_error(self) -> Iterator[Parcel]:
        """What there is of runs that did not get to their end."""
        for run in self._stack.runs:
            folder = self._files.run(run).path
            if run.directory not in self._over and folder.is_dir():
                left = {
                    f"{run.directory}/{name}": data for name, data in _all_files(folder).items()
                }
                yield Parcel(self._gathered.steps, saved=left)

    def _newest(self) -> str:
        """The name of the newest checkpoint; empty before the first."""
        names = [name for name in self._checkpoints.entries() if name.endswith(".safetensors")]
        return max(names, default="")

    def _newly_saved(self) -> dict[str, bytes]:
        """A checkpoint that the driver lacks."""
        newest = self._newest()
        if newest in ("", self._checkpoint):
            return {}
        file = (self._checkpoints / newest).path
        try:
            content = file.read_bytes()
        except FileNotFoundError:  # all runs have ended since, or there is a newer one
            return {}
        self._checkpoint = newest
        return {self._name(file): content}

    def _name(self, file: Path) -> str:
        return file.relative_to(self._files.path).as_posix()

    def _changed(self) -> Files:
        """Files of runs that go on, which were changed since they were sent.

        They may be newer than a checkpoint: a resume cuts them back to it. A run that has ended
        since is sent as a whole the next time, with its summary last.
        """
        going = [run for run in self._stack.runs if run.directory not in self._over]
        changed = {}
        for run in map(self._files.run, going):
            for file in sorted(run.path.iterdir()):
                if file.is_dir() or file.name.startswith(UNSENT) or file.name == run.summary.name:
                    continue
                name, status = self._name(file), file.stat()
                version = status.st_mtime_ns, status.st_size
                if self._sent.get(name) != version:
                    self._sent[name] = version
                    changed[name] = file.read_bytes()
        return changed


class _Gathered:
    """What a stack said since it was asked last. One thread adds, another takes."""

    def __init__(self) -> None:
        from regrun.sweeps.planned_stack import Report

        gathered = self

        class Gathering(Report):
            def steps(self, steps: int) -> None:
                gathered.steps = steps

            def measured(self, members: Sequence[int], values: np.ndarray) -> None:
                gathered.add(Measured(tuple(members), tuple(map(float, values))))

            def ended(self, member: int, value: float, *, counts: bool) -> None:
                gathered.add(Ended(member, value, counts))

        self.steps = 0
        self.report: Report = Gathering()
        self._lock = threading.Lock()
        self._reports: list[Measured | Ended] = []

    def add(self, report: Measured | Ended) -> None:
        with self._lock:
            self._reports.append(report)

    def take(self) -> list[Measured | Ended]:
        with self._lock:
            taken, self._reports = self._reports, []
        return taken


def _all_files(directory: Path) -> Files:
    return {
        file.relative_to(directory).as_posix(): file.read_bytes()
        for file in sorted(directory.rglob("*"))
        if file.is_file() and not file.name.startswith(".")
    }
