"""What a node of a cluster sends, and what it leaves behind; no cluster is needed for it."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from regrun.data.dataset import Dataset
from regrun.errors import CorruptInputError, OutOfMemoryError, StorageError, UsageError
from regrun.store.checkpoint import CheckpointStore
from regrun.store.lock import exclusive
from regrun.store.sweep_dir import PlannedRun, SweepDir
from regrun.sweeps import ray_task, worker
from regrun.sweeps.planned_stack import Home, Outcome, PlannedStack
from regrun.sweeps.ray_task import Parcel, Task, temporary_folder
from tests.support.program import run_python

RUNS = tuple(PlannedRun(cell, {}, 0, f"run-{cell}") for cell in range(3))


class Node:
    """A stack that is not trained: its files are written by a test."""

    def __init__(self, folder: Path, dataset: Dataset) -> None:
        home = Home(Path("/elsewhere/sweep"), (), dataset)
        task = Task(PlannedStack(home.path, 0, RUNS, ""), home.path, (), {}, "cpu")
        self.files = SweepDir(folder / "sweep")
        self.training = ray_task._Training(task, home, self.files.path)
        for run in RUNS:
            self.files.run(run).path.mkdir()
        self.files.stacks.path.mkdir()
        self.store = CheckpointStore(self.files.stack(0))

    def measure(self, number: int) -> None:
        """A line more of metrics of one run."""
        with self.files.run(RUNS[number]).metrics.path.open("a") as metrics:
            metrics.write("{}\n")

    def save(self) -> str:
        """Save a checkpoint; returns its name below the sweep directory."""
        self.store.save({}, {})
        return max(
            path.relative_to(self.files.path).as_posix()
            for path in self.files.stack(0).path.glob("*.safetensors")
        )

    def end(self, number: int) -> None:
        """End one run, as it is reported: after its files, of which the summary is the last."""
        files = self.files.run(RUNS[number])
        (files.path / "train").mkdir()
        (files.path / "train" / "events.out.tfevents.1").write_text("events")
        files.weights.path.write_text("weights")
        files.summary.path.write_text("summary")
        self.training._gathered.report.ended(number, 0.5, counts=True)

    def sends(self) -> list[Parcel]:
        """What it has to say now."""
        return list(self.training._new_parcels())


@pytest.fixture
def node(tmp_path: Path, tiny: Dataset) -> Node:
    return Node(tmp_path, tiny)


@pytest.fixture
def tiny() -> Dataset:
    """Examples that nobody looks at."""
    return Dataset.__new__(Dataset)


def test_a_checkpoint_comes_with_the_files_that_were_changed_since_the_last_one(node: Node) -> None:
    node.measure(0)
    node.measure(1)
    assert node.sends() == [], "there is no checkpoint yet"
    first = node.save()
    (sent,) = node.sends()
    assert set(sent.saved) == {first, "run-0/metrics.jsonl", "run-1/metrics.jsonl"}
    assert node.sends() == []
    node.measure(1)
    second = node.save()
    (sent,) = node.sends()
    assert set(sent.saved) == {second, "run-1/metrics.jsonl"}
    assert sent.saved["run-1/metrics.jsonl"] == b"{}\n{}\n"


def test_a_run_that_has_ended_is_sent_as_a_whole_and_once(node: Node) -> None:
    node.measure(0)
    node.end(0)
    checkpoint = node.save()
    (sent,) = node.sends()
    assert set(sent.finished["run-0"]) == {
        "metrics.jsonl",
        "weights.safetensors",
        "summary.json",
        "train/events.out.tfevents.1",
    }
    assert set(sent.saved) == {checkpoint}
    assert node.sends() == []


def at_taking(node: Node, act: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """The training does something right after what it said has been taken, for the first time."""
    take, acts = node.training._gathered.take, iter([act])

    def taking() -> object:
        taken = take()
        next(acts, lambda: None)()
        return taken

    monkeypatch.setattr(node.training._gathered, "take", taking)


def test_no_checkpoint_is_sent_before_the_runs_that_it_counts_as_ended(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, later = node.save(), []

    def go_on() -> None:
        node.end(2)
        later.append(node.save())

    at_taking(node, go_on, monkeypatch)
    (sent,) = node.sends()
    assert first in sent.saved and not sent.finished
    assert "run-2/summary.json" not in sent.saved, "a run whose other files may not have come"
    (sent,) = node.sends()
    assert set(sent.saved) == set(later) and set(sent.finished) == {"run-2"}


def test_runs_are_sent_in_parcels_of_limited_size_and_the_checkpoint_with_the_last(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_task, "MOST_BYTES", 10)
    for number in range(3):
        node.end(number)
    checkpoint = node.save()
    parcels = node.sends()
    assert [list(parcel.finished) for parcel in parcels] == [["run-0"], ["run-1"], ["run-2"], []]
    assert [list(parcel.saved) for parcel in parcels] == [[], [], [], [checkpoint]]
    assert [len(parcel.reports) for parcel in parcels] == [0, 0, 0, 3]


@pytest.mark.parametrize(
    ("raised", "sent"),
    [
        (StorageError("x: disk full"), StorageError("node here: x: disk full")),
        (OutOfMemoryError("9 GB"), OutOfMemoryError("node here: 9 GB")),
        (
            CorruptInputError("{copy}/run-0/metrics.jsonl:3: damaged"),
            CorruptInputError("/elsewhere/sweep/run-0/metrics.jsonl:3: damaged"),
        ),
        (UsageError("no"), UsageError("no")),
    ],
    ids=lambda each: type(each).__name__,
)
def test_an_error_names_the_node_or_the_file_of_the_sweep_directory(
    node: Node, raised: Exception, sent: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise type(raised)(str(raised).format(copy=node.files.path))

    monkeypatch.setattr(worker, "train_or_lack", fails)
    monkeypatch.setattr(socket, "gethostname", lambda: "here")
    node.training._train()
    found = node.training._end.error
    assert (type(found), str(found)) == (type(sent), str(sent))


def test_a_disk_that_is_full_before_the_training_is_named_with_its_node(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(socket, "gethostname", lambda: "here")
    monkeypatch.setattr(tempfile, "tempdir", "/scratch")
    monkeypatch.setattr(ray_task.Software, "install", full)
    parcels = ray_task.train_on_node([], ray_task.Software.of_this_process(), None)
    assert next(parcels) == Parcel(0)
    with pytest.raises(StorageError) as raised:
        next(parcels)
    assert str(raised.value) == "node here: /scratch: cannot be written: disk full"


def test_messages_name_the_files_of_the_sweep_directory(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = Outcome(True, (f"{node.files.path}/stacks/0/1: damaged", "other"))
    monkeypatch.setattr(worker, "train_or_lack", lambda *_: outcome)
    node.training._train()
    found = node.training._end.outcome
    assert found == Outcome(True, ("/elsewhere/sweep/stacks/0/1: damaged", "other"))


def test_runs_that_an_error_ended_are_sent_as_they_are(node: Node) -> None:
    node.end(0)
    node.sends()
    node.measure(1)
    (node.files.run(RUNS[1]).path / ".metrics.tmp").touch()
    parcels = list(node.training._left_by_error())
    assert [set(parcel.saved) for parcel in parcels] == [{"run-1/metrics.jsonl"}, set()]


def test_what_a_node_imports_first_leaves_the_kinds_to_the_plug_in_files() -> None:
    script = "import sys, regrun.sweeps.ray_task; print([m for m in sys.modules if 'kinds' in m])"
    ended = run_python(script)
    assert (ended.stdout.strip(), ended.returncode) == ("[]", 0)


def test_the_process_that_says_when_to_stop_imports_little() -> None:
    script = (
        "import pickle, sys; from regrun.sweeps.ray_worker import Stop; "
        "sys.stdout.buffer.write(pickle.dumps(Stop()))"
    )
    actor = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout
    loading = f"import pickle, sys; pickle.loads({actor!r}); print('torch' in sys.modules)"
    assert run_python(loading).stdout.strip() == "False"


def test_folders_of_nodes_that_were_killed_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left, held, young, other = (
        tmp_path / name for name in ("regrun-node-1", "regrun-node-2", "regrun-node-3", "regrun-x")
    )
    for folder in (left, held, young, other):
        (folder / "sweep").mkdir(parents=True)
        os.utime(folder, (0, 0))
    link = tmp_path / "regrun-node-4"
    link.symlink_to(other)
    with exclusive(held):
        os.utime(held, (0, 0))
        os.utime(young)
        with temporary_folder() as folder:
            there = set(tmp_path.iterdir())
            assert there == {held, young, other, link, folder}
    assert set(tmp_path.iterdir()) == {held, young, other, link}
