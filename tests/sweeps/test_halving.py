"""Stacks that do not fit into memory are halved, and every run ends once, with the same result."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import regrun
from regrun.config.load import config_from_mapping
from regrun.execution.observer import Observer
from regrun.store.sweep_dir import PlannedRun, Round, SweepDir
from regrun.stored import Sweep
from regrun.sweeps.planning import halved
from regrun.sweeps.run import Options, run_sweep
from regrun.training.engine import Engine
from regrun.training.events import Event
from tests.support.sweeps import LINEAR, stacks, summary_of, with_keys

CONFIG = with_keys(
    LINEAR,
    training={"epochs": 3, "precision": "float64", "checkpoint_every": 0},
    sweep={"grid": {"optimizer.weight_decay": [0, 1, 2]}, "seeds": 2, "vary": ["seed"]},
)
"""Six runs, which are one stack where they fit."""


class Recorder(Observer):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def on_message(self, text: str) -> None:
        self.messages.append(text)


def run_short(*, most: int, at: int, monkeypatch: Any) -> None:
    """Let stacks of more than so many members run out of memory at their event number `at`."""
    run = Engine.run

    def running(engine: Engine) -> Iterator[Event]:
        for number, event in enumerate(run(engine)):
            if number == at and len(engine._configs) > most:
                raise torch.OutOfMemoryError(
                    "CUDA out of memory. Tried to allocate 1.00 GiB. GPU 0 has a total capacity of "
                    "79.10 GiB of which 12.00 MiB is free."
                )
            yield event

    monkeypatch.setattr(Engine, "run", running)


@pytest.mark.parametrize("at", [0, 1, 5], ids=["first step", "later", "after a checkpoint"])
@pytest.mark.parametrize(("most", "sizes"), [(4, [4, 2]), (2, [2, 2, 2]), (1, [1] * 6)])
def test_a_stack_is_halved_until_it_fits(
    most: int, sizes: list[int], at: int, sweep: Any, monkeypatch: Any
) -> None:
    whole = sweep(CONFIG)
    run_short(most=most, at=at, monkeypatch=monkeypatch)
    found = sweep(CONFIG)
    assert sorted(map(len, stacks(found.directory)), reverse=True) == sizes
    assert found.summary.completed == 6
    assert sorted(name for stack in stacks(found.directory) for name in stack) == sorted(
        name for stack in stacks(whole.directory) for name in stack
    )
    for mine, other in zip(found.summary.cells, whole.summary.cells, strict=True):
        assert mine.params == other.params
        for name, interval in other.metrics.items():
            assert mine.metrics[name].values == pytest.approx(interval.values, rel=1e-9)


def test_it_is_said_and_the_replicates_of_a_cell_stay_together(
    tmp_path: Path, monkeypatch: Any
) -> None:
    run_short(most=4, at=0, monkeypatch=monkeypatch)
    recorder = Recorder()
    summary = run_sweep(
        config_from_mapping(CONFIG),
        runs_dir=tmp_path,
        options=Options("cpu", workers=0),
        observer=recorder,
    )
    assert recorder.messages == ["6 runs need more memory than there is; they go on in two stacks"]
    cells = [{name[:4] for name in stack} for stack in stacks(Path(summary.sweep_dir))]
    assert cells == [{"0000", "0001"}, {"0002"}]


def test_a_single_run_that_does_not_fit_fails_with_what_to_make_smaller(
    sweep: Any, monkeypatch: Any
) -> None:
    run_short(most=0, at=0, monkeypatch=monkeypatch)
    found = sweep(CONFIG)
    assert (found.summary.completed, found.summary.failed) == (0, 6)
    for run in found.directory.glob("*-seed=*"):
        assert summary_of(run)["error"].startswith(
            "OutOfMemoryError: out of memory: 1.00 GiB were asked for at once; "
            "the GPU has 12.00 MiB free; use fewer or smaller examples"
        )


def runs_of(cells: list[int]) -> list[PlannedRun]:
    return [PlannedRun(cell, {}, seed, f"{cell}-{seed}") for seed, cell in enumerate(cells)]


@given(st.lists(st.integers(0, 4), min_size=2, max_size=12), st.data())
def test_halves_have_each_run_once_and_about_the_same_size(cells: list[int], data: Any) -> None:
    runs = runs_of([*cells, 9])
    ended = data.draw(st.sets(st.sampled_from([run.directory for run in runs[:-1]])))
    if len(ended) > len(cells) - 2:
        ended = set()
    other = len(cells)
    planned = Round(runs, [list(range(len(cells))), [other]], ["a", "b"])
    found = halved(planned, 0, ended)
    assert sorted(i for stack in found.stacks for i in stack) == list(range(len(runs)))
    assert found.stacks[1] == [other]
    assert [found.data[at] for at in range(len(found.stacks)) if at != 1] == ["a"] * (
        len(found.stacks) - 1
    )
    parts = [stack for at, stack in enumerate(found.stacks) if at != 1]
    over = {index for index, run in enumerate(runs[:-1]) if run.directory in ended}
    assert not over or set(parts.pop(0)) == over
    first, second = parts
    shared = {runs[i].cell for i in first} & {runs[i].cell for i in second}
    if shared:
        assert {runs[i].cell for i in (*first, *second)} == shared  # one cell
        assert len(first) - len(second) in (0, 1)


@pytest.mark.parametrize("written", [True, False], ids=["after the plan", "before the plan"])
def test_after_a_kill_a_halved_stack_goes_on(
    *, written: bool, tmp_path: Path, monkeypatch: Any
) -> None:
    write = SweepDir.write_rounds
    calls = iter(range(10))

    def killed(files: SweepDir, rounds: Sequence[Round]) -> None:
        call = next(calls)
        if call == 0 or written:
            write(files, rounds)
        if call == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        run_short(most=4, at=3, monkeypatch=patched)
        patched.setattr(SweepDir, "write_rounds", killed)
        with pytest.raises(KeyboardInterrupt):
            run_sweep(
                config_from_mapping(CONFIG), runs_dir=tmp_path, options=Options("cpu", workers=0)
            )
    (directory,) = tmp_path.glob("*/*")
    found = regrun.resume(directory)
    assert isinstance(found, Sweep)
    assert found.summary.completed == 6
    assert sorted(map(len, stacks(directory))) == ([2, 4] if written else [6])
