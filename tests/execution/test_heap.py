"""Memory that is freed in training and kept for the next step."""

from __future__ import annotations

import ctypes
import resource
from pathlib import Path

import pytest
import torch

from regrun.config.load import config_from_mapping
from regrun.execution.heap import keeping_freed_memory
from regrun.execution.train import train_run
from tests.support.runs import DIGITS

GLIBC = hasattr(ctypes.CDLL(None), "mallopt")


def fault_in(times: int) -> int:
    """Page faults of filling 72 MB and freeing them, so many times."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        blocks = [torch.ones(6_000_000) for _ in range(3)]
        del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(not GLIBC, reason="the C library is not glibc")
def test_freed_memory_is_used_again_and_given_back_at_the_end() -> None:
    pages = 72_000_000 // resource.getpagesize()
    fault_in(1)
    with keeping_freed_memory():
        fault_in(2)
        assert fault_in(5) < pages
    assert fault_in(5) > pages


def test_where_nothing_can_be_kept_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def other_library(name: str | None) -> object:
        asked.append(name)
        return object()

    monkeypatch.setattr(ctypes, "CDLL", other_library)
    run = train_run(config_from_mapping(DIGITS), runs_dir=tmp_path, device="cpu")
    assert run.status == "completed"
    assert asked == [None]
