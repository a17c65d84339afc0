"""Sweeps whose stacks are trained on a Ray cluster: equal to local ones, whatever dies."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import MagicMock

import psutil
import pytest

import regrun
from regrun.config.load import config_from_mapping
from regrun.errors import ClusterLostError, Interrupted, StorageError, UsageError
from regrun.results import SweepSummary
from regrun.sweeps import ray_cluster, ray_nodes, ray_task, ray_worker
from regrun.sweeps.executor import OnRay
from regrun.sweeps.ray_cluster import Cluster, Node, Pulse
from regrun.sweeps.ray_deaths import NodeDied, meaning_of
from regrun.sweeps.ray_nodes import check_nodes
from regrun.sweeps.ray_task import Software, check_node
from regrun.sweeps.run import Options, resume_sweep, run_sweep
from regrun.sweeps.worker import WorkerDied
from tests.benchmarks.probes import ray_packs
from tests.support.program import Program, run_python
from tests.support.runs import LINEAR

ray: Any = pytest.importorskip("ray")
exceptions: Any = pytest.importorskip("ray.exceptions")

SWEEP: dict[str, Any] = {
    **LINEAR,
    "training": {"epochs": 6, "batch_size": 5, "checkpoint_every": 0},
    "sweep": {"grid": {"optimizer.weight_decay": [0, 1, 2]}, "seeds": 2, "stack_size": 2},
}

LEFT_OUT = ("summary.json", "events.out.tfevents.")
"""Files with times in them."""


HOOK = """
import os, sys

def refuse(event, arguments):
    paths = [each for each in arguments if isinstance(each, str | os.PathLike)]
    if event != "import" and any(os.fspath(path).startswith({!r}) for path in paths):
        print("the node has no such file:", event, *paths, file=sys.stderr, flush=True)
        os._exit(1)

sys.addaudithook(refuse)
"""
"""Ends a process that opens, lists or makes anything below a directory."""


@pytest.fixture(scope="module", autouse=True)
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Two machines of one core each, on this one. No file below pytest's directory is theirs."""
    from ray.cluster_utils import Cluster

    with TemporaryDirectory() as folder:
        hook = Path(folder, "sitecustomize.py")
        hook.write_text(HOOK.format(str(tmp_path_factory.getbasetemp())))
        path = os.pathsep.join((folder, *filter(None, [os.environ.get("PYTHONPATH")])))
        own: dict[str, Any] = {"num_cpus": 1, "env_vars": {"PYTHONPATH": path}}
        cluster = Cluster(initialize_head=True, head_node_args={"include_dashboard": False, **own})
        ray.init(cluster.address, logging_level="ERROR", log_to_driver=False)
        cluster.add_node(**own)  # later, since some versions of Ray join any node of this machine
        yield cluster
        ray.shutdown()
        cluster.shutdown()  # type: ignore[no-untyped-call]


def train(runs_dir: Path, config: dict[str, Any] = SWEEP, **options: Any) -> SweepSummary:
    return run_sweep(
        config_from_mapping(config), runs_dir=runs_dir, options=Options("cpu", **options)
    )


def contents(sweep: Path) -> dict[str, bytes]:
    """All files of a sweep's runs but those with times in them."""
    return {
        file.relative_to(sweep).as_posix(): file.read_bytes()
        for file in sorted(sweep.rglob("*"))
        if file.is_file() and not file.name.startswith(LEFT_OUT)
    }


def names(sweep: Path) -> list[str]:
    """All files, those of events by the beginnings of their names alone."""
    found = [file.relative_to(sweep).as_posix() for file in sweep.rglob("*") if file.is_file()]
    return sorted(name.partition("tfevents")[0] for name in found)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> SweepSummary:
    return train(tmp_path_factory.mktemp("local"), workers=2)


def assert_equal(found: SweepSummary, local: SweepSummary) -> None:
    ours, theirs = Path(found.sweep_dir), Path(local.sweep_dir)
    assert found.cells == local.cells
    assert names(ours) == names(theirs)
    assert contents(ours) == contents(theirs)


def test_a_sweep_leaves_the_files_that_it_leaves_on_one_machine(
    local: SweepSummary, tmp_path: Path
) -> None:
    found = train(tmp_path, ray=OnRay())
    assert_equal(found, local)
    for run in Path(found.sweep_dir).glob("*-seed=*"):
        assert regrun.load_run(run).summary.run_dir == str(run)


def test_a_node_sees_no_file_of_the_driver(tmp_path: Path) -> None:
    (tmp_path / "here").touch()

    def look(folder: str) -> list[str]:
        return [each.name for each in Path(folder).iterdir()]

    looking = ray.remote(num_cpus=1, max_retries=0)(look)
    with pytest.raises(exceptions.WorkerCrashedError):
        ray.get(looking.remote(str(tmp_path)))


def test_the_benchmarks_can_send_stored_runs_in_place_of_training(
    local: SweepSummary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = next(Path(local.sweep_dir).glob("*-seed=*"))
    taken = ray_packs.Taken()
    ray_packs.sweep_of(2, 3, ray_packs.sending(ray_packs.files_of(run), 0.0), taken)
    summaries = list(tmp_path.glob("runs/*/*/*-seed=*/summary.json"))
    assert [each.read_bytes() for each in summaries] == [(run / "summary.json").read_bytes()] * 6
    assert taken.seconds > 0


PENALTY = """
from torch import Tensor

def own(w: Tensor, strength: float) -> Tensor:
    if w.isnan().any() or strength > 5:
        raise ValueError("too strong")
    return strength * w.abs().sum()
"""


def test_a_plug_in_file_reaches_nodes_and_only_the_runs_that_it_breaks_fail(
    cluster: Any, tmp_path: Path, program: Program
) -> None:
    (tmp_path / "own.py").write_text(PENALTY)
    config = {
        **SWEEP,
        "penalty": {"type": "own", "strength": 1},
        "sweep": {"grid": {"penalty.strength": [0.1, 1, 9]}, "stack_size": 1},
    }
    (tmp_path / "c.yaml").write_text(json.dumps(config))
    words = ["sweep", tmp_path / "c.yaml", "--plugin", tmp_path / "own.py", "--json"]
    found: list[Any] = []
    for options in (["--executor", "ray", "--ray-address", cluster.address], ["--workers", 0]):
        ended = program(*words, "--runs-dir", tmp_path / str(len(found)), *options, fresh=True)
        assert ended.returncode == 3, ended.stderr
        assert "1 run(s) failed" in ended.stderr and "ValueError: too strong" in ended.stderr
        found.append(json.loads(ended.stdout))
    assert [found[0][count] for count in ("completed", "failed")] == [2, 1]
    assert found[0]["cells"] == found[1]["cells"]
    directories = [Path(each["sweep_dir"]) for each in found]
    assert names(directories[0]) == names(directories[1])
    ours, theirs = map(contents, directories)
    log = next(name for name in ours if name.endswith("log.txt"))
    assert {**ours, log: b""} == {**theirs, log: b""}


def test_a_stack_is_trained_where_there_is_the_memory_for_it(
    cluster: Any, local: SweepSummary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = cluster.add_node(num_cpus=1, memory=1000)
    trained: list[str] = []

    def look() -> None:
        (raylet,) = small.all_processes["raylet"]
        names = [child.name() for child in psutil.Process(raylet.process.pid).children()]
        trained.extend(name for name in names if name.startswith("ray::train"))

    monkeypatch.setattr(ray_worker.Received, "take", at_parcel(4, look))
    try:
        assert_equal(train(tmp_path, ray=OnRay()), local)
        assert trained == []
    finally:
        cluster.remove_node(small)


def at_parcel(number: int, act: Callable[[], None]) -> Any:
    """Do something when so many parcels have come."""
    count = iter(range(1, number + 1))
    take = ray_worker.Received.take

    def taking(received: ray_worker.Received, parcel: Any) -> None:
        take(received, parcel)
        if next(count, None) == number:
            act()

    return taking


def kill_tasks(cluster: Any) -> None:
    """Kill the processes that train stacks, as a lack of memory or an administrator does."""
    for node in [cluster.head_node, *cluster.worker_nodes]:
        (raylet,) = node.all_processes["raylet"]
        for process in psutil.Process(raylet.process.pid).children():
            if process.name().startswith("ray::train"):
                process.send_signal(signal.SIGKILL)


@pytest.mark.parametrize(
    "number", [pytest.param(1, marks=pytest.mark.long), 3, pytest.param(6, marks=pytest.mark.long)]
)
def test_a_stack_whose_worker_is_killed_goes_on_from_its_last_checkpoint(
    number: int,
    cluster: Any,
    local: SweepSummary,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ray_worker.Received, "take", at_parcel(number, lambda: kill_tasks(cluster)))
    assert_equal(train(tmp_path, ray=OnRay()), local)


def test_a_node_that_dies_loses_nothing(
    cluster: Any, local: SweepSummary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die() -> None:
        cluster.remove_node(cluster.list_all_nodes()[-1], allow_graceful=False)

    monkeypatch.setattr(ray_worker.Received, "take", at_parcel(2, die))
    try:
        assert_equal(train(tmp_path, ray=OnRay()), local)
    finally:
        cluster.add_node(num_cpus=1)


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A folder on a disk of its own, of 20 kB."""
    with TemporaryDirectory() as folder:
        mount = ["mount", "-t", "tmpfs", "-o", "size=20k", "tmpfs", folder]
        try:
            subprocess.run(mount, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"needs the right to mount a tmpfs: {error}")
        yield Path(folder)
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.long
@pytest.mark.parametrize("full", [True, False], ids=["from the beginning", "while it trains"])
def test_a_node_whose_disk_is_full_ends_the_sweep_by_its_name_and_fails_no_run(
    *, full: bool, cluster: Any, local: SweepSummary, tmp_path: Path, small_disk: Path
) -> None:
    if full:
        (small_disk / "other").write_bytes(bytes(16_000))
    node = cluster.add_node(num_cpus=1, env_vars={"TMPDIR": str(small_disk)})
    try:
        with pytest.raises(StorageError) as ended:
            train(tmp_path, ray=OnRay())
    finally:
        cluster.remove_node(node)
    (sweep,) = tmp_path.glob("*/*")
    said, _, command = str(ended.value).partition("; carry on with: ")
    assert said.startswith(f"node {socket.gethostname()}: {small_disk}")
    assert ("/regrun-node-" in said) is not full
    assert said.endswith(": cannot be written: disk full")
    assert command == f"regrun resume {sweep} --executor ray"
    assert not any('"failed"' in each.read_text() for each in sweep.glob("*/summary.json"))
    assert_equal(resume_sweep(sweep, options=Options("cpu", ray=OnRay())), local)


@pytest.mark.parametrize("ray_again", [True, False], ids=["on the cluster", "here"])
def test_a_sweep_that_is_stopped_saves_and_goes_on(
    *, ray_again: bool, local: SweepSummary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        stop = at_parcel(2, lambda: os.kill(os.getpid(), signal.SIGINT))
        patched.setattr(ray_worker.Received, "take", stop)
        with pytest.raises(Interrupted) as stopped:
            train(tmp_path, ray=OnRay())
    assert "--executor ray" in str(stopped.value)
    (sweep,) = tmp_path.glob("*/*")
    again = Options("cpu", ray=OnRay()) if ray_again else Options("cpu", workers=2)
    assert_equal(resume_sweep(sweep, options=again), local)


def test_a_stack_that_had_not_begun_does_not_fail_when_it_is_cancelled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def raises(_: Any) -> None:
        raise exceptions.RayTaskError("train", "Traceback", TypeError("'Handlers' object"))

    stream, orders = iter([None, None]), MagicMock()
    orders.places.refuses_more.return_value = False
    monkeypatch.setattr(ray, "wait", lambda *_, **__: ([stream], []))
    monkeypatch.setattr(ray, "cancel", lambda _: None)
    monkeypatch.setattr(ray, "get", raises)
    assert list(ray_worker._parcels(stream, lambda: True, orders)) == []
    orders.stop.set.remote.assert_called_once()
    with pytest.raises(TypeError, match="Handlers"):
        list(ray_worker._parcels(stream, lambda: False, orders))


@pytest.mark.parametrize("call", ["wait", "get"])
def test_a_broken_connection_to_ray_is_no_fault_of_the_runs(
    call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise OSError("Broken pipe")

    stream = iter([None])
    monkeypatch.setattr(ray, "wait", lambda *_, **__: ([stream], []))
    monkeypatch.setattr(ray, call, broken)
    with pytest.raises(ClusterLostError, match="the Ray cluster was lost: Broken pipe"):
        list(ray_worker._parcels(stream, lambda: False, MagicMock()))


def test_a_cluster_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    there = [True]
    monkeypatch.setattr(ray_cluster, "_silence", lambda _: None if there[0] else OSError())
    pulse = Pulse()
    there[0] = False
    for now[0] in (105.0, 129.0):
        pulse.check()
    there[0] = True
    now[0] = 133.0
    pulse.check()
    there[0] = False
    now[0] = 160.0
    pulse.check()
    now[0] = 164.0
    with pytest.raises(ClusterLostError, match="has not answered for 30 seconds"):
        pulse.check()


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (exceptions.NodeDiedError("gone"), NodeDied),
        (exceptions.ObjectLostError("0" * 56, "", ""), NodeDied),
        (exceptions.WorkerCrashedError(), WorkerDied),
        (exceptions.OutOfMemoryError("killed"), WorkerDied),
        (exceptions.RaySystemError("no head"), ClusterLostError),
        (exceptions.ActorUnavailableError("away", None), ClusterLostError),
        (StorageError("disk full"), StorageError),
        (KeyError("k"), KeyError),
    ],
    ids=lambda each: getattr(each, "__name__", type(each).__name__),
)
def test_errors_of_ray_are_deaths_and_those_of_a_task_its_own(
    error: Exception, meaning: type[Exception]
) -> None:
    assert type(meaning_of(error)) is meaning
    of_task = exceptions.RayTaskError("train", "Traceback", error)
    assert type(meaning_of(of_task)) is meaning


def test_a_node_with_other_software_is_refused_by_name() -> None:
    own = Software.of_this_process()
    assert check_node(own) == ""
    versions = {**dict(own.versions), "torch": "1.0"}
    refused = check_node(replace(own, versions=tuple(versions.items())))
    assert f"node {socket.gethostname()} has torch" in refused
    assert "the driver 1.0; install the same there" in refused
    refused = check_node(replace(own, packages=("regrun-huber 2.1",)))
    assert "lacks the plug-in regrun-huber 2.1; install it there" in refused
    refused = check_node(replace(own, source="other"))
    assert (
        f"node {socket.gethostname()} has regrun {dict(own.versions)['regrun']}, as the driver"
        in refused
    )
    assert f"with other source files, in {Path(regrun.__file__).parent}; install there" in refused


def test_installations_differ_in_any_file_of_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_task, "_PACKAGE", tmp_path)

    def source(**files: str) -> str:
        for name, text in files.items():
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / "code.py").write_text(text)
        return ray_task._source.__wrapped__()

    first = source(a="x = 1", b="")
    (tmp_path / "a" / "notes.txt").touch()
    (tmp_path / "a" / "__pycache__").mkdir()
    assert source() == first
    assert source(a="x = 2") != first
    assert source(a="x = 1") == first
    assert source(c="") != first, "a file more"
    shutil.rmtree(tmp_path / "c")
    assert source(a="", b="x = 1") != first, "the same files under other names"


@pytest.mark.long
def test_a_node_with_a_patched_copy_of_regrun_ends_the_command(cluster: Any) -> None:
    with TemporaryDirectory() as name:
        # Nodes search the working directory of the driver first, where there is no regrun.
        here, there = Path(name, "here"), Path(name, "there")
        here.mkdir()
        (here / "c.yaml").write_text(json.dumps(SWEEP))
        words = ["sweep", "c.yaml", "--executor", "ray", "--ray-address", cluster.address]
        command = f"import sys; sys.argv[1:] = {words}; from regrun.__main__ import main; main()"
        copy = shutil.copytree(Path(regrun.__file__).parent, there / "regrun")
        with (copy / "numbers.py").open("a") as code:
            code.write("# patched\n")
        patched = cluster.add_node(num_cpus=1, env_vars={"PYTHONPATH": str(there)})
        try:
            ended = run_python(command, folder=here)
        finally:
            cluster.remove_node(patched)
        assert ended.returncode == 2, ended.stderr
        assert f"other source files, in {copy}; install there" in ended.stderr
        assert list(here.glob("runs/*/*")) == []


def test_a_node_whose_processes_die_is_refused_and_one_that_left_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers: list[Any] = [exceptions.WorkerCrashedError(), exceptions.NodeDiedError("gone"), ""]

    def answer(_: Any) -> str:
        found = answers.pop(0)
        if isinstance(found, Exception):
            raise found
        return str(found)

    monkeypatch.setattr(ray_nodes, "ask", lambda node, *_, **__: node.name)
    monkeypatch.setattr(ray, "wait", lambda asked, **_: (asked, []))
    monkeypatch.setattr(ray, "get", answer)
    nodes = tuple(Node(name, {"CPU": 1}, "0" * 56) for name in ("crashing", "gone", "good"))
    with pytest.raises(UsageError) as refused:
        check_nodes(Cluster(OnRay(), nodes))
    assert str(refused.value).startswith("node crashing cannot run regrun (The worker died")
    assert "gone" not in str(refused.value)
    assert "good" not in str(refused.value)
    answers = [exceptions.RaySystemError("no head")]
    with pytest.raises(ClusterLostError):
        check_nodes(Cluster(OnRay(), nodes[:1]))
