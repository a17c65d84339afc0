"""regrun as real processes that start fast: forked from a server that has imported torch."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import yaml

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(
    [
        "regrun.cli.app",
        "regrun.execution.train",
        "regrun.cli.render",
        "rich.text",
        "sklearn.datasets",
    ]
)
OPERATIONS = (
    "open", "write", "fsync", "replace", "unlink", "mkdir", "rmdir", "truncate", "ftruncate",
)  # fmt: skip
PATIENCE = 120.0


class Life:
    """One process running `regrun <arguments>`."""

    def __init__(
        self, output: Path, *arguments: object, dies_at: int = 0, hiding: Path | None = None
    ) -> None:
        """dies_at: which of its own file operations it does not live to see the end of.

        hiding: a folder of packages that stand before the installed ones of the same names.
        """
        output.mkdir(exist_ok=True)
        count = len(list(output.iterdir()))
        self._stdout, self._stderr = output / f"{count}-out", output / f"{count}-err"
        self._stdout.touch()
        streams = (str(self._stdout), str(self._stderr))
        self.process: BaseProcess = SERVER.Process(
            target=_live, args=(list(map(str, arguments)), streams, dies_at, hiding)
        )
        self.process.start()

    @property
    def stdout(self) -> str:
        return self._stdout.read_text()

    @property
    def stderr(self) -> str:
        return self._stderr.read_text() if self._stderr.exists() else ""

    def kill(self) -> None:
        self.process.kill()
        self.process.join()

    def end(self) -> int:
        """Wait for it; its exit code, negative for a signal."""
        self.process.join(PATIENCE)
        assert self.process.exitcode is not None, "it hangs"
        return self.process.exitcode

    def wait_for(self, condition: Callable[[], Any]) -> None:
        """Wait until it holds, or the process has ended."""
        wait_for(lambda: condition() or not self.process.is_alive())


def wait_for(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.003)


def write_config(folder: Path, config: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "config-as-written.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def run_dirs(runs: Path) -> list[Path]:
    """Directories of runs that have their config."""
    return sorted(path.parent for path in runs.glob("*/*/config.yaml"))


def only_run(runs: Path) -> Path:
    (found,) = run_dirs(runs)
    return found


def _live(
    arguments: list[str], streams: tuple[str, str], dies_at: int, hiding: Path | None
) -> None:
    import torch

    from regrun.cli.app import main

    if hiding is not None:
        assert not sys.modules.keys() & {path.name for path in hiding.iterdir()}, "too late"
        sys.path.insert(0, str(hiding))
    torch.set_num_threads(1)
    for number, path in enumerate(streams, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666), number)
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.argv = ["regrun", *arguments]
    if dies_at:
        _die_at(dies_at)
    try:
        main()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _die_at(number: int) -> None:
    """Be killed during the `number`-th file operation: at its start, a write in its middle."""
    done = 0

    def wrap(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def operation(*arguments: Any, **options: Any) -> Any:
            nonlocal done
            done += 1
            if done == number:
                if name == "write":
                    real(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
                time.sleep(PATIENCE)
            return real(*arguments, **options)

        return operation

    for name in OPERATIONS:
        setattr(os, name, wrap(name, getattr(os, name)))
