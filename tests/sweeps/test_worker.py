"""Workers: their answers, their errors, their deaths."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from regrun.errors import ConfigError, PluginError, StorageError
from regrun.execution.failure import Failure, RemoteFailure
from regrun.signals import ENDING
from regrun.sweeps.planned_stack import Outcome
from regrun.sweeps.worker import InThisProcess, LocalWorker, OwnProcess, WorkerDied
from regrun.sweeps.worker_process import worker_context

PATIENCE = 120


@pytest.fixture(params=[InThisProcess, OwnProcess])
def worker(request: pytest.FixtureRequest) -> Iterator[LocalWorker]:
    kind: type[LocalWorker] = request.param
    worker = kind("cpu")
    yield worker
    worker.close()


@pytest.fixture
def process() -> Iterator[OwnProcess]:
    process = OwnProcess("cpu")
    yield process
    process.close()


def where() -> Outcome:
    return Outcome(True, (str(os.getpid()),))


def fails(error: BaseException) -> Outcome:
    raise error


class StubbornError(Exception):
    """Cannot be unpickled."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def fails_stubbornly() -> Outcome:
    raise StubbornError(1, 2)


def dies() -> Outcome:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def survives(path: Path) -> Outcome:
    for number in ENDING:
        os.kill(os.getpid(), number)
    path.touch()
    return Outcome(True, ())


def test_a_worker_does_one_thing_after_the_other_in_one_place(worker: LocalWorker) -> None:
    places = [worker.submit(where).result(PATIENCE).messages[0] for _ in range(3)]
    assert len(set(places)) == 1
    assert (places[0] == str(os.getpid())) == isinstance(worker, InThisProcess)


@pytest.mark.parametrize(
    "error",
    [
        StorageError("x: disk full"),
        ConfigError.at("model.name", "cannot be"),
        PluginError("it broke", "where"),
    ],
)
def test_an_error_that_is_meant_arrives_whole(worker: LocalWorker, error: Exception) -> None:
    found = worker.submit(fails, error).exception(PATIENCE)
    assert type(found) is type(error)
    assert str(found) == str(error)
    assert worker.submit(where).result(PATIENCE).done  # and the worker goes on


@pytest.mark.parametrize(
    ("work", "text"),
    [
        (lambda worker: worker.submit(fails_stubbornly), "StubbornError: 1 and 2"),
        (lambda worker: worker.submit(fails, SystemExit(3)), "SystemExit: 3"),
        (lambda worker: worker.submit(fails, KeyError("k")), "KeyError: 'k'"),
    ],
)
def test_any_other_arrives_with_its_traceback(
    process: OwnProcess, work: Callable[[OwnProcess], object], text: str
) -> None:
    future = work(process)
    error = future.exception(PATIENCE)  # type: ignore[attr-defined]
    assert isinstance(error, RemoteFailure)
    failure = Failure.of(error)
    assert failure.text == text
    assert "Traceback" in failure.log
    assert "test_worker.py" in failure.log


def test_a_death_is_noticed_and_the_next_work_finds_a_new_process(process: OwnProcess) -> None:
    first = process.submit(where).result(PATIENCE)
    with pytest.raises(WorkerDied):
        process.submit(dies).result(PATIENCE)
    second = process.submit(where).result(PATIENCE)
    os.kill(int(second.messages[0]), signal.SIGKILL)  # while it waits
    with pytest.raises(WorkerDied):
        process.submit(where).result(PATIENCE)
    third = process.submit(where).result(PATIENCE)
    assert len({first, second, third}) == 3


def test_signals_do_nothing_to_a_process(process: OwnProcess, tmp_path: Path) -> None:
    assert process.submit(survives, tmp_path / "here").result(PATIENCE).done
    assert (tmp_path / "here").exists()


def test_what_else_the_fork_server_forks_can_be_terminated(process: OwnProcess) -> None:
    process.submit(where).result(PATIENCE)
    other = worker_context().Process(target=time.sleep, args=(PATIENCE,))
    other.start()
    other.terminate()
    other.join(PATIENCE)
    assert other.exitcode == -signal.SIGTERM
