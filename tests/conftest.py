"""What every test may use: a patient hypothesis, the real data, and regrun as a process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# No test asserts seconds, and the first example of some pays for an import.
settings.register_profile("regrun", deadline=None)
settings.load_profile("regrun")

CONFIGS = Path(__file__).parents[1] / "configs"
COMMAND = [sys.executable, "-c", "from regrun.cli.app import main; main()"]

Start = Callable[..., "subprocess.Popen[str]"]
Regrun = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def configs() -> Path:
    """The folder of shipped configs."""
    return CONFIGS


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real MNIST and Fashion-MNIST; without it the test is skipped."""
    folder = os.environ.get("REGRUN_DATA")
    if not folder:
        pytest.skip("needs real data: set REGRUN_DATA to the folder with MNIST and FashionMNIST")
    return Path(folder)


@pytest.fixture
def start() -> Iterator[Start]:
    """Start regrun as a process of its own; it does not outlive the test."""
    started: list[subprocess.Popen[str]] = []

    def call(*arguments: object, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*COMMAND, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            env={**os.environ, "OMP_NUM_THREADS": "1", **(env or {})},
        )
        started.append(process)
        return process

    yield call
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def regrun(start: Start) -> Regrun:
    """Run regrun as a process of its own, to its end."""

    def call(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
        process = start(*arguments, **options)
        stdout, stderr = process.communicate(timeout=300)
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    return call
