"""A real TensorBoard, started by a real `regrun view`, asked over HTTP."""

from __future__ import annotations

import json
import resource
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from math import exp
from pathlib import Path
from typing import Any

import psutil
import pytest

from regrun.cli import tensorboard_server
from regrun.errors import UsageError
from tests.support.program import Process, Program, run_python


@pytest.fixture
def runs(make_run: Any, tmp_path: Path) -> Path:
    """Two runs with a train and a test curve, in a folder with a space and an umlaut."""
    for number in range(2):
        make_run(f"run {number} ä", test=float(number))
    return tmp_path / "runs"


def ask(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=20) as answer:
        return json.loads(answer.read())


def ask_until(url: str, enough: Any) -> Any:
    deadline = time.monotonic() + 30
    while True:
        answer = ask(url)
        if enough(answer) or time.monotonic() > deadline:
            return answer
        time.sleep(0.2)


def serving(runs: Path) -> Any:
    return tensorboard_server.serving(runs, "localhost", None)


def descendants(process: Process) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def test_tensorboard_serves_both_curves_and_ends_with_control_c(
    program: Program, runs: Path
) -> None:
    viewing = program.start("view", runs, fresh=True)
    viewing.wait_until(lambda: viewing.stdout.endswith("\n"))
    url = viewing.stdout.strip()
    assert url.startswith("http://"), viewing.stderr
    curves = {f"toy/run {number} ä/{split}" for number in range(2) for split in ("train", "test")}
    assert curves <= set(ask_until(f"{url}data/runs", lambda names: curves <= set(names)))
    tags = ask(f"{url}data/plugin/scalars/tags")
    assert list(tags["toy/run 0 ä/train"]) == ["loss"]
    points = ask(f"{url}data/plugin/scalars/scalars?tag=loss&run=toy%2Frun+1+%C3%A4%2Ftest")
    assert [point[2] for point in points] == pytest.approx(
        [1 + exp(-epoch) for epoch in range(1, 6)]
    )

    children = descendants(viewing)
    assert children
    viewing.send_signal(signal.SIGINT)
    assert viewing.wait() == 130
    assert viewing.stdout.strip() == url
    assert "Traceback" not in viewing.stderr
    _, alive = psutil.wait_procs(children, timeout=10)
    assert alive == []


def test_as_json_it_prints_one_document_as_soon_as_it_answers(program: Program, runs: Path) -> None:
    process = program.start("view", runs, "--json", fresh=True)
    process.wait_until(lambda: process.stdout.endswith("}\n"))
    document = json.loads(process.stdout)
    assert document == {"url": document["url"], "runs_dir": str(runs), "runs": 2}
    assert "toy/run 0 ä/train" in ask(f"{document['url']}data/runs")
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 143
    assert json.loads(process.stdout) == document
    assert process.stderr.startswith("Ctrl-C ends it\n")


def test_sigterm_ends_it_with_143_even_while_starting(program: Program, runs: Path) -> None:
    process = program.start("view", runs, fresh=True)
    process.wait_until(lambda: descendants(process))
    children = descendants(process)
    assert children
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 143
    assert "Traceback" not in process.stderr
    _, alive = psutil.wait_procs(children, timeout=10)
    assert alive == []


def test_a_directory_without_runs_is_answered_with_what_to_do(invoke: Any, tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "nowhere"):
        result = invoke("view", place)
        assert result.exit_code == 2
        assert "regrun train" in result.stderr
        assert result.stdout == ""


def test_a_taken_port_is_reported(invoke: Any, runs: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = invoke("view", runs, "--host", "127.0.0.1", "--port", port)
    assert result.exit_code == 2
    assert f"--port {port}" in result.stderr


@pytest.fixture
def never_started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Programs that would have been started; each ends at once."""
    commands: list[list[str]] = []
    real = subprocess.Popen

    def note(command: list[str], **options: Any) -> Any:
        commands.append(command)
        return real([sys.executable, "-c", "import sys; sys.exit('no such plugin')"], **options)

    monkeypatch.setattr(subprocess, "Popen", note)
    return commands


def test_a_tensorboard_that_does_not_start_shows_its_own_words(
    runs: Path, never_started: list[list[str]]
) -> None:
    with pytest.raises(UsageError, match=r"(?s)code 1.*no such plugin"), serving(runs):
        pass


@pytest.mark.parametrize(("limit", "slow"), [(64, True), (4096, False)])
def test_more_files_than_may_be_open_go_through_the_slow_loader(
    runs: Path,
    never_started: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
    limit: int,
    slow: bool,
) -> None:
    monkeypatch.setattr(tensorboard_server, "_raise_file_limit", lambda: limit)
    with pytest.raises(UsageError), serving(runs):
        pass
    assert ("--load_fast=false" in never_started[0]) == slow


def test_the_limit_of_open_files_is_lifted_for_tensorboard() -> None:
    code = (
        "import resource as r; soft, hard = r.getrlimit(r.RLIMIT_NOFILE);"
        "r.setrlimit(r.RLIMIT_NOFILE, (min(200, hard), hard));"
        "from regrun.cli.tensorboard_server import _raise_file_limit as lift;"
        "print(lift(), r.getrlimit(r.RLIMIT_NOFILE)[0])"
    )
    ended = run_python(code)
    reported, now = (int(word) for word in ended.stdout.split())
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert reported == now
    assert now == (max(200, 2**16) if hard == resource.RLIM_INFINITY else hard)


def test_signal_handlers_are_given_back(runs: Path, never_started: list[list[str]]) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(UsageError), serving(runs):
        pass
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
