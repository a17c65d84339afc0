"""System calls that are interrupted without end are ended, and slow ones are not."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from regrun.errors import StorageError
from regrun.store import interruptions
from regrun.store.atomic import append, create, make_directory, probe_writable, write_atomic
from regrun.store.lock import exclusive
from tests.support.program import run_python


def _lock(path: Path) -> None:
    with exclusive(path.parent):
        pass


WRITERS: Mapping[str, Callable[[Path], object]] = {
    "write_atomic": lambda path: write_atomic(path, b"new"),
    "append": lambda path: append(path, b"new", 3),
    "create": lambda path: create(path.with_name("created"), b"new"),
    "probe": lambda path: probe_writable(path.parent),
    "lock": _lock,
}


def _repeating(*_: object, **__: object) -> None:
    """What Python does with a call that is interrupted every time: handlers run, and it goes on."""
    while True:
        pass


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("call", ["open", "write", "fsync", "ftruncate", "flock"])
def test_a_call_that_is_interrupted_again_and_again_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writer: str, call: str
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    monkeypatch.setattr(interruptions, "PATIENCE", 0.05)
    reached = []

    def interrupted(*arguments: Any, **options: Any) -> None:
        reached.append(arguments)
        _repeating()

    with monkeypatch.context() as faults:
        faults.setattr(fcntl if call == "flock" else os, call, interrupted)
        if (writer, call) in CALLS:
            with pytest.raises(StorageError, match="interrupted again and again"):
                WRITERS[writer](path)
        else:
            WRITERS[writer](path)
    assert bool(reached) == ((writer, call) in CALLS)
    assert signal.getsignal(signal.SIGPROF) is signal.SIG_DFL
    assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)
    if reached:
        assert path.read_bytes() == b"old"


CALLS = {
    *((writer, call) for writer in WRITERS for call in ("open", "write")),
    *((writer, "fsync") for writer in ("write_atomic", "probe")),
    *(("lock", call) for call in ("flock", "ftruncate")),
}
"""Which writer uses which call."""


def test_a_slow_disk_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.fsync

    def slow(descriptor: int) -> None:
        time.sleep(0.3)
        real(descriptor)

    monkeypatch.setattr(interruptions, "PATIENCE", 0.1)
    monkeypatch.setattr(os, "fsync", slow)
    write_atomic(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"


def test_handlers_of_the_program_stay(tmp_path: Path) -> None:
    def handler(*_: object) -> None:
        """Somebody's profiler."""

    signal.signal(signal.SIGPROF, handler)
    try:
        make_directory(tmp_path / "folder")
        write_atomic(tmp_path / "file", b"new")
        assert signal.getsignal(signal.SIGPROF) is handler
    finally:
        signal.signal(signal.SIGPROF, signal.SIG_DFL)


def test_other_threads_write_without_a_limit(tmp_path: Path) -> None:
    thread = threading.Thread(target=write_atomic, args=(tmp_path / "file", b"new"))
    thread.start()
    thread.join()
    assert (tmp_path / "file").read_bytes() == b"new"


_LIBRARY = """
#include <errno.h>
#include <unistd.h>
int fsync(int descriptor) { errno = EINTR; return -1; }
"""


@pytest.mark.long
@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_pythons_own_repeats_are_ended(tmp_path: Path) -> None:
    (tmp_path / "endless.c").write_text(_LIBRARY)
    library = tmp_path / "endless.so"
    command = ["cc", "-shared", "-fPIC", "-o", str(library), str(tmp_path / "endless.c")]
    subprocess.run(command, check=True)
    code = (
        "import sys; from regrun.store import atomic, interruptions\n"
        "from pathlib import Path\n"
        "interruptions.PATIENCE = 0.1\n"
        "atomic.write_atomic(Path(sys.argv[1]), b'new')"
    )
    ended = run_python(code, tmp_path / "file", env={"LD_PRELOAD": str(library)})
    assert "cannot be written: interrupted again and again" in ended.stderr
    assert not (tmp_path / "file").exists()
