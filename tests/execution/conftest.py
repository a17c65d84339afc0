"""regrun called in this process: its API."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import regrun
from regrun.stored import Run

Train = Callable[..., Run]


@pytest.fixture
def train(tmp_path: Path) -> Train:
    """`regrun.train` below a directory of this test, with overrides by dotted key."""

    def call(config: Any, overrides: dict[str, Any] | None = None) -> Run:
        return regrun.train(config, overrides, runs_dir=tmp_path / "runs", device="cpu")

    return call
