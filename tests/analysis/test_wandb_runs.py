"""Runs as offline runs of W&B: the records that its library would upload."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

import regrun
from regrun.analysis import wandb_runs
from regrun.analysis.wandb_runs import write_offline_runs
from regrun.errors import StorageError, UsageError
from regrun.store.run_dir import RunDir
from tests.support.program import COMMAND, invoke

pytestmark = pytest.mark.skipif(find_spec("wandb") is None, reason="needs regrun[wandb]")

CONFIG: dict[str, Any] = {
    "name": "small",
    "dataset": {"name": "synthetic_linear", "num_train": 20, "num_test": 10},
    "model": {"name": "linear"},
    "penalty": [{"type": "l1", "strength": 0.25}],
    "optimizer": {"name": "sgd", "lr": 0.003},
    "training": {"epochs": 3},
}
AXES = {"optimizer.weight_decay": [0, 1]}


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> regrun.Sweep:
    folder = tmp_path_factory.mktemp("wandb")
    return regrun.sweep(CONFIG, AXES, seeds=2, runs_dir=folder, device="cpu")


@dataclass
class Found:
    """An offline run, as its records have it."""

    head: Any = None
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    exit_code: int | None = None


def records(file: Path) -> Iterator[bytes]:
    """What a log in the format of LevelDB consists of, after the seven bytes that name it."""
    content, place, whole = file.read_bytes(), 7, b""
    while place < len(content):
        left = 32_768 - place % 32_768
        if left < 7:
            place += left
            continue
        _, length, kind = struct.unpack_from("<IHB", content, place)
        whole += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # all of it, or its last part
            yield whole
            whole = b""


def read(folder: Path) -> Found:
    record_type = import_module("wandb.proto.wandb_internal_pb2").Record
    (file,) = folder.glob("run-*.wandb")
    found = Found()
    for content in records(file):
        record = record_type()
        record.ParseFromString(content)
        if record.HasField("run"):
            found.head = record.run
            for item in record.run.config.update:
                found.config[item.key] = json.loads(item.value_json)
        if record.HasField("history"):
            items = record.history.item
            found.history.append({i.nested_key[0]: json.loads(i.value_json) for i in items})
        if record.HasField("summary"):
            for item in record.summary.update:
                found.summary[item.key or item.nested_key[0]] = json.loads(item.value_json)
        if record.HasField("exit"):
            found.exit_code = record.exit.exit_code
    return found


def read_all(output: Path) -> dict[str, Found]:
    """Name → run."""
    found = [read(folder) for folder in output.iterdir()]
    return {each.head.display_name: each for each in found}


def test_wandb_has_the_settings_curves_and_results_of_every_run(
    sweep: regrun.Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_RUN_ID", "always-the-same")
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    before = dict(os.environ)
    assert write_offline_runs(sweep.directory, tmp_path / "a.wandb") == 4
    assert os.environ == before
    assert [each.name for each in tmp_path.iterdir()] == ["a.wandb"]
    found = read_all(tmp_path / "a.wandb")
    assert found.keys() == {*sweep.runs.index}
    assert len({each.head.run_id for each in found.values()}) == 4
    for name, row in sweep.runs.iterrows():
        run, stored = found[str(name)], regrun.load_run(row["run_dir"])
        decay = row["optimizer.weight_decay"]
        assert run.head.project == "small"
        cell = AXES["optimizer.weight_decay"].index(decay)
        assert run.head.run_group == f"{sweep.directory.name} {cell:04d}: weight_decay={decay:g}"
        assert run.config["optimizer"]["weight_decay"] == decay
        assert run.config["dataset"]["num_train"] == 20  # the default
        assert run.config["penalty"]["0"]["strength"] == 0.25
        assert run.config["regrun"]["directory"] == row["run_dir"]
        assert run.config["regrun"]["version"] == stored.summary.versions
        assert [*run.head.tags] == [run.config["regrun"]["status"]] == ["completed"]
        assert run.exit_code == 0
        curve = [
            {"_step" if tag == "step" else tag: value for tag, value in line.items()}
            for line in stored.metrics.to_dict("records")
        ]
        own = [
            {tag: value for tag, value in line.items() if tag not in ("_timestamp", "_runtime")}
            for line in run.history
        ]
        assert own == curve
        assert run.summary["kept/test/loss"] == row["test/loss"]
        assert stored.summary.seconds is not None
        assert run.summary["seconds"] == stored.summary.seconds.total


def test_a_single_run_has_no_group_and_failed_without_a_result(tmp_path: Path) -> None:
    bad = {**CONFIG, "optimizer": {"name": "sgd", "lr": 1e30}}
    run = regrun.train(bad, runs_dir=tmp_path, device="cpu")
    assert run.summary.status == "diverged"
    write_offline_runs(run.directory, tmp_path / "a.wandb")
    RunDir(run.directory).summary.path.unlink()
    write_offline_runs(run.directory, tmp_path / "b.wandb")
    for folder, status in (("a.wandb", "diverged"), ("b.wandb", "interrupted")):
        (found,) = read_all(tmp_path / folder).values()
        assert found.head.display_name == run.directory.name
        assert (found.head.run_group, [*found.head.tags]) == ("", [status])
        assert found.exit_code == 1


def test_cells_with_names_that_are_too_long_stay_apart(
    sweep: regrun.Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = sweep.directory.name
    monkeypatch.setattr(wandb_runs, "LONGEST_NAME", len(name) + 5)
    write_offline_runs(sweep.directory, tmp_path / "a.wandb")
    groups = [read(folder).head.run_group for folder in (tmp_path / "a.wandb").iterdir()]
    assert sorted(groups) == [f"{name} {cell}" for cell in ("0000", "0000", "0001", "0001")]


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_what_is_there_already_stays_as_it_is(
    kind: str, sweep: regrun.Sweep, tmp_path: Path
) -> None:
    output = tmp_path / "a.wandb"
    if kind == "file":
        output.write_text("mine")
    elif kind == "folder":
        output.mkdir()
    else:
        output.symlink_to("nowhere")
    with pytest.raises(UsageError, match=r"a\.wandb: is there already"):
        write_offline_runs(sweep.directory, output)
    assert [*tmp_path.iterdir()] == [output]


def test_a_folder_that_cannot_be_written_is_named(sweep: regrun.Sweep, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"none/a\.wandb: cannot be written: no such file"):
        write_offline_runs(sweep.directory, tmp_path / "none" / "a.wandb")


@pytest.mark.parametrize("problem", ["disk", "library"])
def test_a_failure_leaves_nothing(
    problem: str, sweep: regrun.Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import wandb

    def full(folder: Path) -> None:
        raise StorageError(f"{folder}: cannot be written: disk full")

    def broken(**_: object) -> None:
        raise wandb.Error("no service")

    if problem == "disk":
        monkeypatch.setattr(wandb_runs, "probe_writable", full)
    else:
        monkeypatch.setattr(wandb, "init", broken)
    with pytest.raises(StorageError, match=r"disk full|W&B does not write its files: no service"):
        write_offline_runs(sweep.directory, tmp_path / "a.wandb")
    assert [*tmp_path.iterdir()] == []


SIGNALLED = """
import signal, sys
from regrun.__main__ import main
from regrun.analysis import wandb_runs

def write(*arguments):
    before(*arguments)
    print("one", flush=True)
    signal.raise_signal(signal.SIGTERM)

before, wandb_runs._write = wandb_runs._write, write
sys.argv = ["regrun", "export", *sys.argv[1:]]
main()
"""


def test_a_signal_ends_it_after_a_run_and_leaves_nothing(
    sweep: regrun.Sweep, tmp_path: Path
) -> None:
    words = [sys.executable, "-c", SIGNALLED, str(sweep.directory), str(tmp_path / "a.wandb")]
    with TemporaryDirectory() as temporary:
        env = {**os.environ, "TMPDIR": temporary}
        ended = subprocess.run(words, capture_output=True, text=True, timeout=120, env=env)
        assert [*Path(temporary).iterdir()] == []
    assert (ended.returncode, ended.stdout, ended.stderr) == (128 + 15, "one\n", "")
    assert [*tmp_path.iterdir()] == []


def test_without_wandb_it_says_what_to_install(
    sweep: regrun.Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    refused = invoke("export", sweep.directory, tmp_path / "a.wandb")
    assert refused.exit_code == 2
    assert "pip install 'regrun[wandb]'" in " ".join(refused.stderr.split())
    assert [*tmp_path.iterdir()] == []


def test_wandb_finds_the_runs_by_the_command_that_is_shown(
    sweep: regrun.Sweep, tmp_path: Path
) -> None:
    output = tmp_path / "all runs.wandb"
    words = [*COMMAND, "export", str(sweep.directory), str(output)]
    shown = subprocess.run(words, capture_output=True, text=True, timeout=120, check=True)
    assert shown.stderr == ""
    lines = shown.stdout.splitlines()
    command = f"wandb sync '{output}'/offline-run-*"
    assert lines == ["runs       4 written", f"output     {output}", f"next       {command}"]
    program = f"{sys.executable} -m {command} --dry-run"
    env = {
        **os.environ,
        "WANDB_CACHE_DIR": str(tmp_path),
        "WANDB_DIR": str(tmp_path),
        "TMPDIR": str(tmp_path),
    }
    found = subprocess.run(
        ["/bin/sh", "-c", program], capture_output=True, text=True, timeout=120, env=env
    )
    assert found.returncode == 0, found.stderr
    listed = found.stdout + found.stderr
    assert "Would sync 4 run(s)" in listed
    document = json.loads(invoke("export", sweep.directory, tmp_path / "b.wandb", "--json").stdout)
    assert document == {"output": f"{tmp_path}/b.wandb"}
