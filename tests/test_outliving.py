"""The process in front of one that uses Ray: what it says, and the signals that it passes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import Any

import psutil
import pytest

from regrun.outliving import outlived
from tests.support.program import ROOT, run_python, wait_until

CHILD = """
import os, signal, sys, time
from regrun.outliving import note_command, outlived
ended = outlived(["sweep", "c.yaml", "--executor", "ray"])
if ended is not None:
    print(ended.exit_code, ended.message)
    sys.exit()
"""

LOST = "4 the Ray cluster was lost: Ray died on this machine, and ended the driver"


@pytest.mark.parametrize(
    ("ending", "said"),
    [
        ("note_command('regrun resume a'); os._exit(1)", f"{LOST}; carry on with: regrun resume a"),
        ("note_command('a'); note_command('b'); os._exit(1)", f"{LOST}; carry on with: b"),
        ("os._exit(1)", LOST),
        ("note_command('a'); sys.exit(1)", "1"),
        ("note_command('a'); raise ValueError", "1"),
        ("note_command('a')", "0"),
        ("sys.exit(3)", "3"),
        ("os._exit(130)", "130"),
        ("note_command('a'); os.kill(os.getpid(), signal.SIGKILL)", "137"),
        # One that it left behind, and that holds what it wrote to.
        ("note_command('a'); os.fork() or time.sleep(9); os._exit(1)", f"{LOST}; carry on with: a"),
    ],
)
def test_the_parent_ends_as_the_child_did_and_says_what_ray_did_not(ending: str, said: str) -> None:
    ended = run_python(f"{CHILD}\n{ending}")
    assert (ended.stdout.strip(), ended.returncode) == (said, 0)


@pytest.mark.parametrize(
    "words",
    [[], ["sweep", "c.yaml"], ["sweep", "c.yaml", "--executor", "local"], ["guide", "ray"]],
    ids=" ".join,
)
def test_other_commands_have_no_parent(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "fork")
    assert outlived(words) is None


WAITING = f"""
{CHILD}
from regrun.execution.interrupt import catching_signals
with catching_signals() as interrupt:
    print("waiting", os.getpid(), flush=True)
    while interrupt.signal_number is None:
        time.sleep(0.01)
    time.sleep(0.1)
    print("saved", flush=True)
    while len(sys.argv) > 1:
        time.sleep(0.01)
sys.exit(128 + interrupt.signal_number)
"""


def waiting(*arguments: str) -> tuple[subprocess.Popen[str], int]:
    """A parent, the leader of a process group, and the number of its child, which can save."""
    parent = subprocess.Popen(
        [sys.executable, "-c", WAITING, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )
    assert parent.stdout is not None
    word, number = parent.stdout.readline().split()
    assert word == "waiting"
    return parent, int(number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("send", [os.kill, os.killpg], ids=["the parent", "both"])
def test_a_signal_lets_the_child_save_whoever_gets_it(send: Any, number: int) -> None:
    parent, _ = waiting()
    send(parent.pid, number)
    said, _ = parent.communicate(timeout=60)
    assert said.split() == ["saved", str(128 + number)]


def test_a_second_signal_ends_the_child_at_once() -> None:
    parent, _ = waiting("for ever")
    os.killpg(parent.pid, signal.SIGINT)
    assert parent.stdout is not None
    assert parent.stdout.readline() == "saved\n"
    while parent.poll() is None:  # a terminal repeats Ctrl-C less often
        os.killpg(parent.pid, signal.SIGINT)
        time.sleep(0.2)
    assert parent.stdout.read() == "130 \n"


def test_a_child_whose_parent_is_killed_ends() -> None:
    parent, child = waiting()
    parent.kill()
    parent.wait()
    wait_until(lambda: ended(child))


def ended(number: int) -> bool:
    """Whether a process that is no child of this one has ended."""
    try:
        return psutil.Process(number).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
