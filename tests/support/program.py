"""regrun as a process of its own, and called in this one."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import yaml
from typer.testing import CliRunner, Result

from tests.support.faults import dying, signalled

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-c", "from regrun.__main__ import main; main()"]
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(
    [
        "regrun.cli.app",
        "regrun.execution.train",
        "regrun.cli.run_report",
        "rich.text",
        "sklearn.datasets",
    ]
)
PATIENCE = 120.0

Invoke = Callable[..., Result]


class Process:
    """One process that runs ``regrun <arguments>``; its streams go to files."""

    def __init__(
        self,
        output: Path,
        *arguments: object,
        fresh: bool = False,
        env: Mapping[str, str] | None = None,
        site: Path | None = None,
        dies_at: int = 0,
        signal_at: tuple[int, int] = (0, 0),
    ) -> None:
        """Start it.

        output: folder for the streams. fresh: in a new interpreter; otherwise it is forked, within
        milliseconds, from a server that has imported torch. site: a folder searched for modules
        before all others. dies_at: the file operation in which a forked process is killed.
        signal_at: the one before which it gets a signal, and the signal's number.
        """
        words = [str(argument) for argument in arguments]
        output.mkdir(parents=True, exist_ok=True)
        count = len(list(output.glob("*-stdout")))
        paths = output / f"{count}-stdout", output / f"{count}-stderr"
        for path in paths:
            path.touch()
        self._stdout, self._stderr = paths
        self._process: subprocess.Popen[bytes] | BaseProcess
        if fresh:
            self._process = _start(words, paths, env or {}, site)
        else:
            options = (words, paths, env or {}, site, dies_at, signal_at)
            self._process = SERVER.Process(target=_forked, args=options)
            self._process.start()

    @property
    def stdout(self) -> str:
        """What it has printed so far."""
        return self._stdout.read_text(encoding="utf-8")

    @property
    def stderr(self) -> str:
        """What it has reported so far."""
        return self._stderr.read_text(encoding="utf-8")

    @property
    def pid(self) -> int:
        """Its number in the operating system."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int:
        """Its exit code, once it has ended; negative for a signal."""
        return self.wait()

    def wait(self) -> int:
        """Wait for its end; its exit code, negative for a signal."""
        if isinstance(self._process, subprocess.Popen):
            return self._process.wait(PATIENCE)
        self._process.join(PATIENCE)
        assert self._process.exitcode is not None, "it hangs"
        return self._process.exitcode

    def wait_until(self, condition: Callable[[], Any]) -> None:
        """Wait until the condition holds, or the process has ended."""
        wait_until(lambda: condition() or not self.is_alive())

    def is_alive(self) -> bool:
        """Whether it has not ended yet."""
        if isinstance(self._process, subprocess.Popen):
            return self._process.poll() is None
        return self._process.is_alive()

    def send_signal(self, number: int) -> None:
        """Send a signal to it."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it and wait until it is gone."""
        if self.is_alive():
            self.send_signal(signal.SIGKILL)
        self.wait()


class Program:
    """Runs regrun in processes that do not outlive it."""

    def __init__(self, output: Path) -> None:
        self._output = output
        self._started: list[Process] = []

    def start(self, *arguments: object, **options: Any) -> Process:
        """Start ``regrun <arguments>``; the options are those of :class:`Process`."""
        process = Process(self._output, *arguments, **options)
        self._started.append(process)
        return process

    def __call__(self, *arguments: object, **options: Any) -> Process:
        """Run ``regrun <arguments>`` to its end."""
        process = self.start(*arguments, **options)
        process.wait()
        return process

    def close(self) -> None:
        """Kill whatever still runs."""
        for process in self._started:
            process.kill()


class Workspace:
    """A config, a runs directory, and processes that work in it."""

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.runs = folder / "runs"
        self.config = folder / "config-as-written.yaml"
        self.config.write_text(yaml.safe_dump(dict(config)))
        self._output = folder / "output"

    def train(self, *overrides: str, **options: Any) -> Process:
        """Start ``regrun train`` of the config."""
        return self._start("train", self.config, *overrides, *self._place, **options)

    def sweep(self, *overrides: str, **options: Any) -> Process:
        """Start ``regrun sweep`` of the config."""
        return self._start("sweep", self.config, *overrides, *self._place, **options)

    def resume(self, *arguments: object, directory: Path | None = None, **options: Any) -> Process:
        """Start ``regrun resume``; default: of the only directory there is."""
        return self._start("resume", directory or self.only, *arguments, **options)

    @property
    def begun(self) -> bool:
        """Whether there is a directory of a run or sweep."""
        return any(self.runs.glob("*/*/*.yaml"))

    @property
    def only(self) -> Path:
        """The directory of the only run or sweep."""
        (found,) = {path.parent for path in self.runs.glob("*/*/*.yaml")}
        return found

    @property
    def _place(self) -> tuple[object, ...]:
        return ("--runs-dir", self.runs, "--device", "cpu")

    def _start(self, *arguments: object, **options: Any) -> Process:
        return Process(self._output, *arguments, **options)


def invoke(*arguments: object, env: Mapping[str, str] | None = None) -> Result:
    """Call regrun in this process; a bug (any exception) is raised with its traceback."""
    from regrun.cli.app import app

    result = CliRunner().invoke(app, [str(item) for item in arguments], env=env)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def wait_until(condition: Callable[[], Any]) -> None:
    """Wait until the condition holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.003)


def _start(
    words: list[str], paths: tuple[Path, Path], env: Mapping[str, str], site: Path | None
) -> subprocess.Popen[bytes]:
    environment = _environment(site, env)
    with paths[0].open("wb") as stdout, paths[1].open("wb") as stderr:
        return subprocess.Popen([*COMMAND, *words], stdout=stdout, stderr=stderr, env=environment)


def _environment(site: Path | None, env: Mapping[str, str]) -> dict[str, str]:
    """This process's variables, with a folder that is searched for modules before all others."""
    places = [site, os.environ.get("PYTHONPATH"), ROOT]
    path = os.pathsep.join(str(place) for place in places if place)
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path, **env}


def _forked(
    words: list[str],
    paths: tuple[Path, Path],
    env: Mapping[str, str],
    site: Path | None,
    dies_at: int,
    signal_at: tuple[int, int],
) -> None:
    import torch

    from regrun.__main__ import main

    os.environ.update(env)
    if site is not None:
        assert not sys.modules.keys() & {path.stem for path in site.iterdir()}, "too late"
        sys.path.insert(0, str(site))
    torch.set_num_threads(1)
    for number, path in enumerate(paths, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND), number)
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.argv = ["regrun", *words]
    try:
        # Operations are counted from 1: 0 never comes.
        with dying(dies_at, torn=True), signalled(*signal_at):
            main()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


_RUN_ALL = """
import json, os, signal, sys, tempfile
from contextlib import redirect_stderr, redirect_stdout
from regrun.cli.app import run

signal.signal(signal.SIGINT, lambda *_: os._exit(130))  # as the program has it

for words, env in json.loads(sys.argv[1]):
    sys.argv = ["regrun", *words]
    os.environ.update(env)
    code = 0
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        with redirect_stdout(out), redirect_stderr(err):
            try:
                run()
            except SystemExit as end:
                code = end.code or 0
            except Exception as error:
                code = 1
                sys.excepthook(type(error), error, error.__traceback__)
        texts = []
        for stream in (out, err):
            stream.flush()
            stream.seek(0)
            texts.append(stream.read())
    print(json.dumps([code, *texts]), flush=True)
"""


def run_python(
    code: str,
    *arguments: object,
    folder: Path | None = None,
    site: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run code in a new interpreter, to its end.

    folder: where it runs. site: a folder searched for modules before all others.
    """
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=folder,
        env=_environment(site, env or {}),
        capture_output=True,
        encoding="utf-8",
        timeout=2 * PATIENCE,
        check=False,
    )


def run_in_one_interpreter(
    commands: Sequence[Sequence[str]],
    *,
    folder: Path,
    site: Path,
    envs: Sequence[Mapping[str, str]] | None = None,
) -> list[tuple[int, str, str]]:
    """Run commands one after the other in one new interpreter, which imports torch once.

    Returns exit code, stdout and stderr of each. folder: where they run. site: a folder searched
    for modules before all others. envs: for each command, what it sets in the environment.
    """
    each = list(zip(commands, envs or [{}] * len(commands), strict=True))
    ended = run_python(_RUN_ALL, json.dumps(each), folder=folder, site=site)
    assert ended.returncode == 0, ended.stderr
    found = [json.loads(line) for line in ended.stdout.splitlines()]
    return [(code, stdout, stderr) for code, stdout, stderr in found]
