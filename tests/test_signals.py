"""Signals from the first line of the program on: how it ends, and what it leaves."""

from __future__ import annotations

import os
import shlex
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from regrun.signals import ENDING, blocking_signals, end_at_once, handling, holding_signals
from tests.support.program import Workspace, run_python, wait_until
from tests.support.runs import LINEAR, results

TINY: dict[str, Any] = {
    **LINEAR,
    "name": "tiny",
    "training": {"epochs": 3, "batch_size": 5, "checkpoint_every": 0},
}

AT_AN_IMPORT = """
import os, sys

number, moment, *words = sys.argv[1:]
left = int(moment)

def hook(event, arguments):
    global left
    if event == "import":
        left -= 1
        if left == 0:
            os.kill(os.getpid(), int(number))

sys.argv = ["regrun", *words]
from regrun.__main__ import main
sys.addaudithook(hook)
main()
"""
"""The program, which gets a signal at an import of some number."""

IMPORTS = [1, 20, 100, 300, 1000]
"""Among typer, the config, torch, the engine: a training has over 1,000."""


def left_in(runs: Path) -> set[str]:
    """What stands below a runs directory that no resume could use."""
    found = {str(path) for path in runs.rglob("*.tmp")}
    return found | {str(path) for path in runs.glob("*/*") if not (path / "config.yaml").exists()}


def ended_at_import(number: int, moment: int, workspace: Workspace) -> None:
    words = ["train", workspace.config, "--runs-dir", workspace.runs, "--device", "cpu"]
    ended = run_python(AT_AN_IMPORT, number, moment, *words)
    assert (ended.returncode, ended.stdout, ended.stderr) == (128 + number, "", "")
    assert left_in(workspace.runs) == set()
    assert not workspace.begun


@pytest.mark.parametrize("moment", IMPORTS)
def test_a_signal_during_the_imports_ends_without_a_word(moment: int, tmp_path: Path) -> None:
    ended_at_import(signal.SIGINT, moment, Workspace(tmp_path, TINY))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_so_do_the_other_signals(number: int, tmp_path: Path) -> None:
    ended_at_import(number, 100, Workspace(tmp_path, TINY))


@pytest.mark.long
@pytest.mark.parametrize("moment", range(25, 1000, 40))
def test_a_signal_at_any_import_ends_without_a_word(moment: int, tmp_path: Path) -> None:
    ended_at_import(signal.SIGINT, moment, Workspace(tmp_path, TINY))


@pytest.mark.parametrize("verb", ["list", "--help", "guide"])
def test_verbs_that_store_nothing_end_in_the_same_way(verb: str) -> None:
    ended = run_python(AT_AN_IMPORT, signal.SIGINT, 40, verb)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The results of the undisturbed run."""
    workspace = Workspace(tmp_path_factory.mktemp("whole"), TINY)
    assert workspace.train().wait() == 0
    return results(workspace.only)


def operations(workspace: Workspace) -> int:
    """About how many file operations a training makes: the first that it does not come to."""
    low, high = 1, 1024
    while high - low > 8:
        middle = (low + high) // 2
        ended = Workspace(workspace.runs / str(middle), TINY).train(dies_at=middle).wait()
        low, high = (middle, high) if ended else (low, middle)
    return low


def signal_and_resume(folder: Path, moment: int, whole: dict[str, bytes]) -> int:
    """Send SIGINT before a file operation of a training; its exit code."""
    workspace = Workspace(folder / str(moment), TINY)
    process = workspace.train(signal_at=(moment, signal.SIGINT))
    code = process.wait()
    assert code in (130, 0), process.stderr
    assert "Traceback" not in process.stderr
    assert left_in(workspace.runs) == set()
    if not workspace.begun:
        assert code == 130
        return code
    if "carry on with: " in process.stderr:
        command = process.stderr.strip().rpartition("carry on with: ")[2]
        assert shlex.split(command) == ["regrun", "resume", str(workspace.only)]
    else:
        assert (workspace.only / "summary.json").exists()
    assert workspace.resume().wait() == 0
    assert results(workspace.only) == whole
    return code


def test_a_signal_at_a_file_operation_leaves_nothing_or_a_run_to_resume(
    tmp_path: Path, whole: dict[str, bytes]
) -> None:
    count = operations(Workspace(tmp_path / "count", TINY))
    assert count > 50
    codes = [signal_and_resume(tmp_path, at, whole) for at in range(1, count, count // 6)]
    assert codes.count(130) > 3


@pytest.mark.long
def test_a_signal_at_any_file_operation_leaves_nothing_or_a_run_to_resume(
    tmp_path: Path, whole: dict[str, bytes]
) -> None:
    for at in range(1, operations(Workspace(tmp_path / "count", TINY))):
        signal_and_resume(tmp_path, at, whole)


def test_nohup_is_respected(tmp_path: Path) -> None:
    code = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n" + AT_AN_IMPORT
    ended = run_python(code, signal.SIGHUP, 50, "list", "norms")
    assert ended.returncode == 0, ended.stderr


def test_a_second_signal_ends_a_sweep_with_workers_at_once_and_in_silence(tmp_path: Path) -> None:
    config = {**TINY, "training": {"epochs": 100_000}, "sweep": {"seeds": 4, "stack_size": 2}}
    workspace = Workspace(tmp_path, config)
    process = workspace.sweep("--workers", "2")
    process.wait_until(lambda: any(workspace.runs.glob("tiny/*/stacks/*/.lock")))
    with suppress(ProcessLookupError):
        while process.is_alive():  # sooner than it can save
            process.send_signal(signal.SIGINT)
            time.sleep(0.002)
    assert process.wait() == 130
    assert "Traceback" not in process.stderr
    assert "leaked" not in process.stderr


def test_what_is_held_back_comes_when_the_block_has_ended() -> None:
    came: list[int] = []
    with handling(ENDING, lambda number, _: came.append(number)):
        with holding_signals():
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)
            assert came == []
        assert sorted(came) == [signal.SIGINT, signal.SIGTERM]
        with pytest.raises(ZeroDivisionError), holding_signals():
            os.kill(os.getpid(), signal.SIGHUP)
            raise ZeroDivisionError
        wait_until(lambda: came[-1] == signal.SIGHUP)


def test_blocked_signals_come_when_the_block_has_ended() -> None:
    came: list[int] = []
    with handling(ENDING, lambda number, _: came.append(number)):
        before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        with blocking_signals():
            assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) >= set(ENDING)
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


def test_the_cursor_comes_back_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[object] = []
    monkeypatch.setattr(os, "isatty", lambda descriptor: descriptor == 2)
    monkeypatch.setattr(os, "write", lambda *arguments: done.append(arguments))
    monkeypatch.setattr(os, "_exit", done.append)
    end_at_once(signal.SIGINT)
    assert done == [(2, b"\x1b[?25h"), 130]
