"""One process at a time in a directory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from regrun.errors import StorageError, UsageError
from regrun.store.lock import exclusive, holder
from tests.support.faults import failing

HOLD = """
import sys, time
from pathlib import Path
from regrun.store.lock import exclusive
with exclusive(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""
COMPETE = """
import sys, time
from pathlib import Path
from regrun.errors import UsageError
from regrun.store.lock import exclusive
sys.stdin.readline()
try:
    with exclusive(Path(sys.argv[1])):
        print("won", flush=True)
        sys.stdin.readline()
except UsageError:
    print("lost", flush=True)
"""


def start(code: str, directory: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_the_second_of_two_sees_who_has_it_and_gets_it_when_the_first_is_killed(
    tmp_path: Path,
) -> None:
    with start(HOLD, tmp_path) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        year = time.strftime("%Y")
        message = rf"{tmp_path} is in use by process {first.pid} on .+ since {year}-"
        with pytest.raises(UsageError, match=message), exclusive(tmp_path):
            pass
        assert f"process {first.pid}" in (holder(tmp_path) or "")
        first.send_signal(signal.SIGKILL)
        first.wait()
    assert (tmp_path / ".lock").exists()  # left behind, and no obstacle
    assert holder(tmp_path) is None
    with exclusive(tmp_path):
        assert f"process {os.getpid()}" in (holder(tmp_path) or "")


def test_of_many_at_once_exactly_one_goes_on(tmp_path: Path) -> None:
    crowd = [start(COMPETE, tmp_path) for _ in range(4)]
    for process in crowd:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    answers = [process.stdout.readline() for process in crowd if process.stdout]
    assert sorted(answers) == ["lost\n", "lost\n", "lost\n", "won\n"]
    for process in crowd:
        process.communicate("\n")
        assert process.returncode == 0


def test_it_excludes_within_one_process_too_and_is_free_afterwards(tmp_path: Path) -> None:
    with exclusive(tmp_path):
        with pytest.raises(UsageError, match="only one process"), exclusive(tmp_path):
            pass
        assert (tmp_path / ".lock").exists()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ZeroDivisionError), exclusive(tmp_path):
        1 / 0  # noqa: B018
    with exclusive(tmp_path):
        pass
    assert holder(tmp_path) is None


def test_a_lock_file_that_vanished_while_waiting_for_it_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    real = fcntl.flock
    calls = []

    def removed_by_its_former_holder(descriptor: int, operation: int) -> None:
        calls.append(descriptor)
        if len(calls) == 1:
            (tmp_path / ".lock").unlink()
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", removed_by_its_former_holder)
    with exclusive(tmp_path):
        assert (tmp_path / ".lock").exists()
    assert len(calls) == 2


def test_a_torn_mark_is_another_process(tmp_path: Path) -> None:
    with exclusive(tmp_path):
        (tmp_path / ".lock").write_text('{"pid": 1')
        with pytest.raises(UsageError, match="in use by another process"), exclusive(tmp_path):
            pass
        assert holder(tmp_path) is None


def test_failing_to_write_the_lock_is_a_storage_error_and_leaves_it_free(tmp_path: Path) -> None:
    import errno

    for number in (1, 2, 3):
        with (
            failing(number, errno.EROFS),
            pytest.raises(StorageError, match="read-only file system"),
            exclusive(tmp_path),
        ):
            pass
        with exclusive(tmp_path):
            pass
