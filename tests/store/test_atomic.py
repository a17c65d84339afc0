"""Files that are replaced whole or not at all, on disks that fail at any operation."""

from __future__ import annotations

import errno
import os
import re
import time
from pathlib import Path

import pytest

from regrun.errors import CorruptInputError, StorageError
from regrun.store.atomic import (
    append,
    make_directory,
    probe_writable,
    process_is_alive,
    read_bytes,
    remove_stale_temporaries,
    write_atomic,
)
from tests.support.faults import failing, in_child
from tests.support.program import run_python

ERRORS = {errno.ENOSPC: "disk full", errno.EACCES: "permission denied", errno.EIO: "input/output"}


def dead_pid() -> int:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return pid


def test_writing_replaces_the_whole_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_atomic(path, "été\n" * 1000)
    write_atomic(path, "short")
    assert path.read_text(encoding="utf-8") == "short"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("for_ever", [False, True])
@pytest.mark.parametrize("error", ERRORS)
def test_every_failing_operation_is_a_storage_error_and_no_file_is_damaged(
    tmp_path: Path, error: int, for_ever: bool
) -> None:
    path = tmp_path / "a.txt"
    number = 0
    while True:
        number += 1
        path.write_text("old")
        with failing(number, error, for_ever=for_ever) as faults:
            try:
                write_atomic(path, "new and longer")
            except StorageError as raised:
                assert str(path) in str(raised)
                assert ERRORS[error] in str(raised)
                assert faults.reached
            else:
                assert not faults.reached
                break
        assert path.read_text() in ("old", "new and longer")
        if not for_ever:
            assert list(tmp_path.iterdir()) == [path]
        for leftover in tmp_path.glob(".*"):
            leftover.unlink()
    assert number > 7  # folder and file opened, written, synced, closed, replaced, folder synced


def test_a_short_write_is_carried_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, bytes(data)[:7]))
    write_atomic(tmp_path / "a", bytes(range(100)))
    append(tmp_path / "b", bytes(range(100)), 0)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == bytes(range(100))


def test_an_append_that_fails_half_way_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    append(path, b"whole\n", 0)
    real = os.write
    calls = []

    def half(descriptor: int, data: memoryview) -> int:
        calls.append(descriptor)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, bytes(data)[:3])

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(StorageError, match="disk full"):
        append(path, b"never\n", 6)
    assert path.read_bytes() == b"whole\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_device_is_not_written_to() -> None:
    with pytest.raises(CorruptInputError, match="/dev/full: not a regular file"):
        append(Path("/dev/full"), b"x", 0)


@pytest.mark.parametrize("change", ["removed", "longer", "shorter", "linked"])
def test_a_file_that_another_program_changed_is_not_appended_to(
    tmp_path: Path, change: str
) -> None:
    path = tmp_path / "a"
    append(path, b"whole\n", 0)
    if change == "removed":
        path.unlink()
    elif change == "linked":
        (tmp_path / "b").hardlink_to(path)
    else:
        path.write_bytes(b"whole\nmore\n" if change == "longer" else b"who")
    before = path.read_bytes() if path.exists() else None
    with pytest.raises(StorageError, match=re.escape(str(path))):
        append(path, b"never\n", 6)
    assert (path.read_bytes() if path.exists() else None) == before


def test_probing_creates_the_directory_and_leaves_it_empty(tmp_path: Path) -> None:
    runs = tmp_path / "a" / "runs"
    probe_writable(runs)
    probe_writable(runs)
    assert list(runs.iterdir()) == []


@pytest.mark.parametrize("error", ERRORS)
def test_a_probe_that_fails_names_the_runs_directory_and_the_reason(
    tmp_path: Path, error: int
) -> None:
    runs = tmp_path / "runs"
    for number in range(1, 7):
        with (
            failing(number, error),
            pytest.raises(StorageError, match=f"{runs}.*{ERRORS[error]}"),
        ):
            probe_writable(runs)
        if runs.exists():
            for path in runs.iterdir():
                path.unlink()
            runs.rmdir()


def test_a_file_where_the_runs_directory_should_be_is_named(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    runs.write_text("")
    with pytest.raises(StorageError, match=r"runs: cannot be created: a file is in the way"):
        probe_writable(runs)
    with pytest.raises(StorageError, match="a file is in the way"):
        make_directory(runs / "below")


def test_temporaries_of_dead_processes_are_removed_and_those_of_living_ones_kept(
    tmp_path: Path,
) -> None:
    stale = tmp_path / f".a.json.{dead_pid()}-0a1b2c3d.tmp"
    live = tmp_path / f".a.json.{os.getpid()}-0a1b2c3d.tmp"
    foreign = tmp_path / ".notes.tmp"
    for path in (stale, live, foreign):
        path.write_text("x")
    remove_stale_temporaries(tmp_path)
    assert set(tmp_path.iterdir()) == {live, foreign}


def test_a_process_is_alive_until_it_has_ended() -> None:
    assert process_is_alive(os.getpid())
    assert process_is_alive(1)
    assert not process_is_alive(dead_pid())
    assert not process_is_alive(2**70)


def test_reading_distinguishes_a_missing_file_from_one_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_bytes(tmp_path / "none")
    with pytest.raises(CorruptInputError, match="not a regular file"):
        read_bytes(tmp_path)
    with pytest.raises(StorageError, match="cannot be read"):
        read_bytes(tmp_path / ("x" * 300))


def test_many_writers_of_one_file_leave_one_of_their_contents_whole(tmp_path: Path) -> None:
    path = tmp_path / "a"
    contents = [str(number) * 50_000 for number in range(4)]

    def write_often(content: str) -> None:
        for _ in range(20):
            write_atomic(path, content)

    children = []
    for content in contents:
        pid = os.fork()
        if pid == 0:
            write_often(content)
            os._exit(0)
        children.append(pid)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and children:
        if path.exists():
            assert path.read_text() in contents
        children = [pid for pid in children if os.waitpid(pid, os.WNOHANG)[0] == 0]
    assert not children
    assert list(tmp_path.iterdir()) == [path]


def test_the_file_side_of_the_store_imports_no_torch() -> None:
    code = (
        "import sys; import regrun.store.writer, regrun.store.reading, regrun.store.lock;"
        "heavy = {'torch', 'tensorboardX', 'pandas', 'safetensors', 'yaml'} & set(sys.modules);"
        "sys.exit(', '.join(heavy) or None)"
    )
    done = run_python(code)
    assert done.returncode == 0, done.stderr


def test_a_child_that_raises_is_noticed_by_these_tests() -> None:
    def fail() -> None:
        os.close(2)
        raise AssertionError

    assert in_child(fail) == 3
    assert in_child(lambda: None) == 0
