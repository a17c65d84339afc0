"""The files of a run through its life, killed or failing at any file operation."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from crc32c import crc32c

from regrun.errors import CorruptInputError, StorageError, UsageError
from regrun.results import RunSummary
from regrun.store.checkpoint import CheckpointStore
from regrun.store.metrics import read_metrics
from regrun.store.run_dir import RunDir
from regrun.store.weights import load_weights
from regrun.store.writer import RunWriter
from tests.support.faults import dying, failing, in_child, recorded
from tests.support.scripted_run import (
    CONFIG,
    EVALUATIONS,
    HPARAMS,
    SUMMARY,
    evaluate,
    live,
    results,
    row,
    weights,
)

ROWS = [row(step) for step in range(1, EVALUATIONS + 1)]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    directory = tmp_path_factory.mktemp("undisturbed")
    live(directory)
    return results(directory)


def assert_sound(directory: Path, undisturbed: dict[str, bytes]) -> None:
    """What is there is whole; what is not whole is not there."""
    run = RunDir(directory)
    for place in (run.config, run.summary, run.weights, run.test_examples):
        if place.exists():
            assert place.path.read_bytes() == undisturbed[place.name]
    rows = read_metrics(run.metrics)
    assert rows == ROWS[: len(rows)]
    if run.finished:
        assert results(directory) == undisturbed
        return
    checkpoint = CheckpointStore(run.checkpoints).load()
    if checkpoint is not None:
        assert checkpoint.warnings == ()
        step = checkpoint.state["step"]
        assert step <= len(rows)  # the metrics never lag behind
        torch.testing.assert_close(checkpoint.tensors, weights(step), rtol=0, atol=0)


def lived_through(directory: Path, number: int, torn: bool) -> bool:
    """Live in a process that is killed at its ``number``-th file operation, if there is one."""

    def doomed() -> None:
        with dying(number, torn=torn):
            live(directory)

    status = in_child(doomed)
    assert status in (0, -signal.SIGKILL)
    return status == 0


def test_a_life_leaves_the_files_of_the_contract_and_no_others(tmp_path: Path) -> None:
    live(tmp_path)
    assert read_metrics(tmp_path / "metrics.jsonl") == ROWS
    stored_summary = json.loads((tmp_path / "summary.json").read_text())
    assert stored_summary | SUMMARY.to_dict() == stored_summary
    assert (tmp_path / "config.yaml").read_text().startswith(CONFIG)
    stored, _ = load_weights(tmp_path / "weights.safetensors")
    torch.testing.assert_close(stored, weights(EVALUATIONS), rtol=0, atol=0)
    names = {path.name for path in tmp_path.iterdir() if "tfevents" not in path.name}
    assert names == {
        "config.yaml", "metrics.jsonl", "summary.json", "weights.safetensors",
        "test_examples.safetensors", "train",
    }  # fmt: skip


def test_the_summary_is_written_last_and_is_strict_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replaced = []
    real = os.replace

    def note(source: str, target: str, **folders: int) -> None:
        replaced.append(target)
        real(source, target, **folders)

    monkeypatch.setattr(os, "replace", note)
    writer = RunWriter.create(tmp_path, CONFIG, HPARAMS)
    evaluate(writer, row(1))
    nothing = RunSummary(run_dir="", status="diverged", metrics={"train/loss": float("nan")})
    writer.finish(nothing, weights(1))
    assert replaced == ["config.yaml", "weights.safetensors", "summary.json"]
    text = (tmp_path / "summary.json").read_text()
    stored = json.loads(text)
    assert [*stored] == ["files", "run_dir", "status", "metrics", "checksum"]
    assert stored["metrics"] == {"train/loss": None}


def test_a_finished_run_is_not_resumed(tmp_path: Path) -> None:
    live(tmp_path)
    before = results(tmp_path)
    with pytest.raises(UsageError, match="has ended"):
        RunWriter.resume(tmp_path, 2, 2, CONFIG, HPARAMS)
    assert results(tmp_path) == before


def test_rows_that_are_lost_are_noticed(tmp_path: Path) -> None:
    writer = RunWriter.create(tmp_path, CONFIG, HPARAMS)
    for step in (1, 2, 3):
        evaluate(writer, row(step))
    writer.flush()
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "metrics.jsonl").write_text(lines[0] + lines[1])
    with pytest.raises(CorruptInputError, match=r"metrics\.jsonl: damaged: 2 of the 3 evaluations"):
        RunWriter.resume(tmp_path, 3, 3, CONFIG, HPARAMS)


def test_a_resume_stores_the_hyper_parameters_anew(tmp_path: Path) -> None:
    RunWriter.create(tmp_path, CONFIG, HPARAMS).flush()
    RunWriter.resume(tmp_path, 0, 0, CONFIG, {"optimizer.lr": 0.5})
    emptied, new = sorted(tmp_path.glob("events.out.tfevents.*"))
    assert emptied.stat().st_size == 0
    assert b"optimizer.lr" in new.read_bytes()


@pytest.mark.parametrize("name", ["config.yaml", "metrics.jsonl"])
def test_files_that_are_removed_while_the_run_goes_on_are_noticed(
    tmp_path: Path, name: str
) -> None:
    writer = RunWriter.create(tmp_path, CONFIG, HPARAMS)
    evaluate(writer, row(1))
    writer.flush()
    (tmp_path / name).unlink()
    with pytest.raises(StorageError, match=name):
        writer.finish(SUMMARY, weights(1))
    assert not (tmp_path / "summary.json").exists()


def test_the_summary_lists_the_files_with_their_checksums(tmp_path: Path) -> None:
    live(tmp_path)
    files = json.loads((tmp_path / "summary.json").read_text())["files"]
    assert files == {
        name: f"{crc32c((tmp_path / name).read_bytes()):08x}"
        for name in (
            "config.yaml", "metrics.jsonl", "weights.safetensors", "test_examples.safetensors",
        )
    }  # fmt: skip


def test_killed_before_any_file_operation_or_within_any_write_it_resumes_to_the_same_files(
    tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    """Between two file operations nothing changes on disk, so these are all the points."""
    with recorded() as operations:
        live(tmp_path / "recorded")
    assert len(operations.names) > 60
    for number, name in enumerate(operations.names, 1):
        for torn in (False, True) if name == "write" else (False,):
            directory = tmp_path / f"{number}-{torn}"
            assert not lived_through(directory, number, torn)
            if directory.exists():
                assert_sound(directory, undisturbed)
            live(directory)
            assert results(directory) == undisturbed
            shutil.rmtree(directory)


@pytest.mark.long
def test_killed_again_and_again_it_resumes_to_the_same_files(
    tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    import random

    generator = random.Random(0)
    for turn in range(250):
        directory = tmp_path / str(turn)
        for _ in range(4):
            number = generator.randrange(1, 120)
            lived_through(directory, number, number % 2 == 0)
            if directory.exists():
                assert_sound(directory, undisturbed)
        live(directory)
        assert results(directory) == undisturbed
        shutil.rmtree(directory)


@pytest.mark.parametrize("for_ever", [False, True])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EACCES])
def test_whatever_operation_fails_it_is_a_storage_error_and_the_run_can_be_resumed(
    tmp_path: Path, undisturbed: dict[str, bytes], error: int, for_ever: bool
) -> None:
    number, finished = 0, False
    while not finished:
        number += 1
        directory = tmp_path / str(number)
        directory.mkdir()
        with failing(number, error, for_ever=for_ever) as faults:
            try:
                live(directory)
            except StorageError as raised:
                assert str(directory) in str(raised)
                assert faults.reached
            else:
                finished = not faults.reached
        assert_sound(directory, undisturbed)
        live(directory)
        assert results(directory) == undisturbed
        shutil.rmtree(directory)
    assert number > 60


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    try:
        mounted = subprocess.run(mount, capture_output=True).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("a file system can be mounted by the superuser only")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.long
def test_a_disk_that_runs_full_ends_clearly_and_the_run_goes_on_once_there_is_room(
    tiny_disk: Path, undisturbed: dict[str, bytes]
) -> None:
    ballast = tiny_disk / "ballast"
    directory = tiny_disk / "run"
    for room in range(0, 64 * 1024, 4096):
        ballast.write_bytes(b"")
        total = os.statvfs(tiny_disk)
        ballast.write_bytes(bytes(total.f_bavail * total.f_frsize - room))
        try:
            live(directory)
        except StorageError as error:
            assert "disk full" in str(error)
            if directory.exists():
                assert_sound(directory, undisturbed)
        if RunDir(directory).finished:
            break
    assert room > 4096
    assert results(directory) == undisturbed


def test_a_reopened_run_has_its_config_and_metrics_and_no_results(tmp_path: Path) -> None:
    live(tmp_path)
    run = RunDir(tmp_path)
    run.average("ema").path.write_bytes(b"")
    RunWriter.reopen(tmp_path, "epochs: 9\n")
    assert not run.finished
    assert not run.weights.exists() and not run.average("ema").exists()
    assert not run.test_examples.exists()
    assert run.config.path.read_text().startswith("epochs: 9\n# checksum: ")
    assert read_metrics(run.metrics) == ROWS
    writer = RunWriter.resume(tmp_path, int(ROWS[-2]["step"]), len(ROWS) - 1, "epochs: 9\n", {})
    writer.flush()
    assert read_metrics(run.metrics) == ROWS[:-1]


def test_killed_while_it_is_reopened_a_run_has_never_a_new_config_and_old_results(
    tmp_path: Path,
) -> None:
    with recorded() as operations:
        live(tmp_path / "0")
        before = len(operations.names)
        RunWriter.reopen(tmp_path / "0", "new")
        count = len(operations.names) - before
    assert count > 3
    for number in range(1, count + 1):
        directory = tmp_path / str(number)
        live(directory)

        def doomed(directory: Path = directory, number: int = number) -> None:
            with dying(number, torn=True):
                RunWriter.reopen(directory, "new")

        assert in_child(doomed) == -signal.SIGKILL
        run = RunDir(directory)
        assert not (run.finished and run.config.path.read_text().startswith("new"))
        assert run.weights.exists() or not run.finished
