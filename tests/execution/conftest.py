"""regrun called in this process: its program and its API."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import regrun
from regrun.api import Run
from regrun.cli.app import app

Invoke = Callable[..., Result]
Train = Callable[..., Run]


@pytest.fixture
def invoke() -> Invoke:
    """Call regrun in this process; a bug (any exception) fails the test with its traceback."""

    def call(*arguments: object, env: dict[str, str] | None = None) -> Result:
        result = CliRunner().invoke(app, [str(item) for item in arguments], env=env)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return call


@pytest.fixture
def train(tmp_path: Path) -> Train:
    """`regrun.train` below a directory of this test, with overrides by dotted key."""

    def call(config: Any, overrides: dict[str, Any] | None = None) -> Run:
        return regrun.train(config, overrides, runs_dir=tmp_path / "runs", device="cpu")

    return call
