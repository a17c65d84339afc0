"""Sweeps called in this process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import regrun
from regrun.stored import Sweep

RunSweep = Callable[..., Sweep]


@pytest.fixture
def sweep(tmp_path: Path) -> RunSweep:
    """`regrun.sweep` below a directory of this test."""

    def call(
        config: Mapping[str, Any] | Path,
        axes: Mapping[str, Any] | None = None,
        *,
        seeds: int | None = None,
        workers: int = 0,
    ) -> Sweep:
        return regrun.sweep(
            config,
            axes,
            seeds=seeds,
            runs_dir=tmp_path / "runs",
            device="cpu",
            workers=workers,
        )

    return call
