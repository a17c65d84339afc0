"""Completion where people use it: in bash, zsh and fish, typed into a terminal."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest

from regrun.cli.shells import SHELLS, script

ARGUMENTS = {"bash": ["--noprofile"], "zsh": ["-d"], "fish": []}
"""What keeps the machine's own start-up files out."""

SECONDS = 120.0
"""A shell that has not ended by then hangs."""

TYPED = {
    "regrun tra\tconfigs/dig\toptimizer.na\tsg\t--dev\tcp\t": [
        "train", "configs/digits.yaml", "optimizer.name=sgd", "--device", "cpu",
    ],
    "regrun sweep configs/my\tdataset.name=digits,wi\tdataset.path=configs/dig\t": [
        "sweep", "configs/my own.yaml", "dataset.name=digits,wine",
        "dataset.path=configs/digits.yaml",
    ],
    "regrun train configs/digits.yaml optimizer.lr=\t0.1": [
        "train", "configs/digits.yaml", "optimizer.lr=0.1",
    ],
    "regrun list pena\telast\t": ["list", "penalties", "elastic_net"],
    "regrun compare ru\tdi\t": ["compare", "runs/digits/"],
    "regrun init note\t": ["init", "notes.txt"],
    "regrun reproduce drop\t": ["reproduce", "dropout_fashion_mnist"],
}  # fmt: skip
"""A line with Tabs → the words that the program is then called with."""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A user with a few files, and a program that notes how it is called."""
    for name in ("configs/digits.yaml", "configs/my own.yaml", "notes.txt", "runs/digits/x"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    program = tmp_path / "bin" / "regrun"
    program.parent.mkdir()
    program.write_text(
        "#!/bin/sh\n"
        f'[ -n "$_REGRUN_COMPLETE" ] && exec {sys.executable} -m regrun\n'
        f'[ "$1" = --install-completion ] && exec {sys.executable} -m regrun "$1"\n'
        'printf "%s\\t" "$@" >> ~/called.txt; echo >> ~/called.txt\n'
    )
    program.chmod(0o755)
    return tmp_path


def type_into(shell: str, home: Path, lines: list[str]) -> str:
    """Type lines into a new shell, as fast as it takes them; return all that it shows."""
    root = str(Path(__file__).parents[2])
    environment = {
        "HOME": str(home),
        "PATH": f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": root,
        "SHELL": shell,
        "TERM": "xterm",
        "LANG": "C.UTF-8",
    }
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(home)
        os.execvpe(shell, [shell, *ARGUMENTS[shell], "-i"], environment)
    shown = b""
    waiting = [f"{line}\r".encode() for line in [*lines, "exit"]]
    deadline = time.monotonic() + SECONDS
    try:
        while time.monotonic() < deadline:
            if not select.select([terminal], [], [], 0.5)[0]:
                if waiting:
                    os.write(terminal, waiting.pop(0))
                continue
            try:
                shown += os.read(terminal, 65536)
            except OSError:  # how Linux says that the other end is closed
                break
        else:
            pytest.fail(f"{shell} hangs: {shown[-2000:]!r}")
    finally:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        os.close(terminal)
    return shown.decode(errors="replace")


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_completes_from_the_first_tab_on(shell: str, home: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    shown = type_into(shell, home, ["regrun --install-completion"])
    assert "opened from now on" in shown
    shown = type_into(shell, home, list(TYPED))
    called = [line.split("\t")[:-1] for line in (home / "called.txt").read_text().splitlines()]
    assert called == list(TYPED.values()), shown


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_lists_what_can_follow(shell: str, home: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    type_into(shell, home, ["regrun --install-completion"])
    # fish takes one of its list with the first Enter, and the line with the second.
    shown = type_into(shell, home, ["regrun train configs/digits.yaml optimizer.name=a\t\t\t", ""])
    plain = re.sub(r"\x1b(\[[\d;?]*[A-Za-z]|\(B)", "", shown)
    assert all(name in plain for name in ("adam", "adamw", "adagrad")), shown
    assert "sgd" not in plain


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_has_a_script_that_asks_the_program(shell: str) -> None:
    assert f"_REGRUN_COMPLETE=complete_{'bash' if shell == 'bash' else 'fish'}" in script(shell)
