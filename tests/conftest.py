"""What every test may use: a patient hypothesis, the real data, and regrun as a program."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support import program as programs

# One thread for each process: as many processes as cores run at a time, and threads that wait for
# each other would take ten times as long. It must be set before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# No test asserts seconds, and the first example of some pays for an import.
settings.register_profile("regrun", deadline=None)
settings.load_profile("regrun")

CONFIGS = Path(__file__).parents[1] / "configs"


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
def invoke(monkeypatch: pytest.MonkeyPatch) -> programs.Invoke:
    """Call regrun in this process; a bug (any exception) fails the test with its traceback."""
    for name in ("FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    return programs.invoke


@pytest.fixture
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[programs.Program]:
    """regrun as processes of their own, which do not outlive the test."""
    program = programs.Program(tmp_path_factory.mktemp("program"))
    yield program
    program.close()


LONGEST_ID = 20
"""Bytes of a parameter that name its test."""


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """Name long bytes by their argument: archives hold times, and all workers need one name."""
    return argname if isinstance(val, bytes) and len(val) > LONGEST_ID else None
