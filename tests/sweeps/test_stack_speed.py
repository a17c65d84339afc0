"""The size of a stack is the fastest of those that were timed, and stays in the plan."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from regrun.config.load import config_from_mapping
from regrun.config.schema import Config
from regrun.data.dataset import Dataset
from regrun.errors import CorruptInputError, PluginError
from regrun.execution.observer import Observer, Start
from regrun.metrics import Metric
from regrun.store.sweep_dir import Round, SweepDir
from regrun.sweeps import run as sweeping
from regrun.sweeps.planning import Planner, halved
from regrun.sweeps.run import Options, plan_sweep, resume_sweep, run_sweep
from regrun.sweeps.space import grid_cells
from regrun.sweeps.stack_speed import WORTH_SECONDS, WORTH_STEPS, Measured, StackSpeed, fastest
from tests.support.sweeps import LINEAR, with_keys

LONG = 10**9
"""Steps of a run, so many that every size is worth a try."""


@pytest.mark.parametrize(
    ("limit", "runs", "seconds", "most", "tried"),
    [
        # Starting kernels takes all the time: the more the better, as many as memory allows.
        (1024, 500, lambda size: 1.0, 1024, [500, 125, 31]),
        # Arithmetic takes all the time: the size makes no difference.
        (1024, 500, lambda size: size / 100, 1024, [500, 125, 31]),
        # Beyond some size, caches no longer hold a stack.
        (64, 500, lambda size: size**1.5 / 100, 4, [64, 16, 4]),
        (64, 500, lambda size: 1.0 if size <= 16 else 5.0, 16, [64, 16, 4]),
        # Five per cent are not enough for more stacks.
        (64, 64, lambda size: {64: 1.0, 16: 0.245, 4: 1.0}[size], 64, [64, 16, 4]),
        (64, 64, lambda size: {64: 1.0, 16: 0.230, 4: 1.0}[size], 16, [64, 16, 4]),
        # What does not fit is not tried again.
        (64, 64, lambda size: None if size > 16 else 1.0, 16, [16, 4]),
        (5, 7, lambda size: 1.0, 5, [5, 1]),
    ],
)
def test_the_fastest_size_is_taken(
    limit: int,
    runs: int,
    seconds: Callable[[int], float | None],
    most: int,
    tried: list[int],
) -> None:
    found = fastest(limit, runs, LONG, seconds)
    assert found is not None
    assert (found.most, [each.members for each in found.tried]) == (most, tried)


@given(
    st.integers(1, 2000),
    st.integers(1, 2000),
    st.integers(1, 10**8),
    st.dictionaries(st.integers(1, 2000), st.none() | st.floats(1e-6, 1e3)),
)
def test_a_measured_size_fits_and_is_no_slower_than_any_that_was_tried(
    limit: int, runs: int, steps: int, times: dict[int, float | None]
) -> None:
    found = fastest(limit, runs, steps, lambda size: times.get(size, 0.5))
    if found is None:
        return
    assert 1 <= found.most <= limit
    rates = {each.members: each.rate for each in found.tried}
    taken = min(found.most, max(rates)) if found.most == limit else found.most
    assert rates[taken] * 1.05 >= max(rates.values())


def test_nothing_is_timed_that_takes_as_long_as_the_training() -> None:
    asked: list[int] = []

    def seconds(size: int) -> float:
        asked.append(size)
        return WORTH_SECONDS / WORTH_STEPS / 2

    assert fastest(64, 64, WORTH_STEPS - 1, seconds) is None
    assert fastest(3, 64, LONG, seconds) is None  # there is no other size to try
    assert asked == []
    # One stack would be done in half of the time that is worth it.
    assert fastest(64, 64, WORTH_STEPS, seconds) == Measured(64, (StackSpeed(64, 64 / seconds(0)),))
    assert asked[:1] == [64] and 16 not in asked


def test_what_cannot_be_trained_is_left_to_the_training() -> None:
    assert fastest(64, 64, LONG, lambda size: None) is None


CONFIG = with_keys(
    LINEAR,
    training={"epochs": 2_000},
    sweep={"grid": {"optimizer.weight_decay": list(range(8))}, "seeds": 2, "vary": ["seed"]},
)
"""Sixteen runs of 2,000 steps or more."""


class Timer:
    """Says what it is given to say, and remembers what it was asked for."""

    def __init__(self, seconds: Callable[[int], float]) -> None:
        self._seconds = seconds
        self.asked: list[list[int]] = []

    def __call__(self, configs: Sequence[Config], dataset: Dataset, device: torch.device) -> float:
        assert len(dataset.train)
        self.asked.append([each.seed for each in configs])
        return self._seconds(len(configs))

    @property
    def sizes(self) -> list[int]:
        return [len(members) for members in self.asked]


def planner_of(config: dict[str, Any], timer: Any) -> Planner:
    return Planner(
        config_from_mapping(config),
        [torch.device("cpu")],
        metric=Metric("test", "loss"),
        allow_large=False,
        places=1,
        timer=timer,
    )


def small_is_fast(size: int) -> float:
    return 0.1 if size <= 4 else 1.0


def test_a_round_has_stacks_of_the_fastest_size_and_says_which() -> None:
    timer = Timer(small_is_fast)
    planner = planner_of(CONFIG, timer)
    cells = grid_cells({"optimizer.weight_decay": list(range(8))})
    planned = planner.round(cells)
    assert timer.sizes == [16, 4, 1]
    assert list(map(len, planned.stacks)) == [4, 4, 4, 4]
    assert planned.most == [4, 4, 4, 4]
    assert planner.notes_on_sizes == [
        "stacks of up to 4 members: steps a second, measured: 16 with 16, 40 with 4, 10 with 1"
    ]
    planner.round(cells, [2])
    assert timer.sizes == [16, 4, 1], "once for runs of one kind"


def test_the_stacks_that_are_timed_are_those_that_would_be_trained() -> None:
    timer = Timer(lambda size: 1.0)
    config = with_keys(CONFIG, seed=7)
    planner_of(config, timer).round(grid_cells({"optimizer.weight_decay": list(range(8))}))
    assert timer.asked[0] == [7, 8] * 8


@pytest.mark.parametrize(
    "keys",
    [
        {"sweep": {"stack_size": 5}},
        {"sweep": {"pruner": "median", "select_on_test": True}},
        {"training": {"epochs": 10}},
    ],
    ids=["a size that was asked for", "a pruner", "a short training"],
)
def test_nothing_is_measured_where_it_decides_nothing(keys: dict[str, Any]) -> None:
    timer = Timer(small_is_fast)
    planner = planner_of(with_keys(CONFIG, **keys), timer)
    planned = planner.round(grid_cells({"optimizer.weight_decay": list(range(8))}))
    assert timer.asked == []
    assert planned.most == []


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), PluginError("my_loss: no")]
)
def test_a_size_that_fails_is_not_taken(error: Exception) -> None:
    def seconds(size: int) -> float:
        if size > 4:
            raise error
        return 1.0

    planned = planner_of(CONFIG, Timer(seconds)).round(
        grid_cells({"optimizer.weight_decay": list(range(8))})
    )
    assert list(map(len, planned.stacks)) == [4, 4, 4, 4]


def test_a_later_round_has_the_sizes_of_the_plan_and_measures_nothing() -> None:
    planned = planner_of(CONFIG, Timer(small_is_fast)).round(
        grid_cells({"optimizer.weight_decay": list(range(8))})
    )
    timer = Timer(lambda size: 1.0)
    later = planner_of(CONFIG, timer)
    later.expect(planned)
    round_ = later.round(grid_cells({"optimizer.weight_decay": [9, 10, 11]}))
    assert sorted(map(len, round_.stacks)) == [2, 4]
    assert timer.asked == []


def test_what_did_not_fit_is_not_planned_again() -> None:
    planner = planner_of(CONFIG, None)
    cells = grid_cells({"optimizer.weight_decay": list(range(8))})
    planned = planner.round(cells)
    assert list(map(len, planned.stacks)) == [16]
    planner.expect(halved(planned, 0, ()))
    assert list(map(len, planner.round(cells).stacks)) == [8, 8]


class Started(Observer):
    """Keeps the notes of the start."""

    notes: Sequence[str] = ()

    def on_start(self, start: Start) -> None:
        self.notes = start.notes


SMALL = with_keys(CONFIG, training={"epochs": 40, "batch_size": 1}, dataset={"num_train": 50})
"""Sixteen runs of 2,000 steps."""


def test_dry_run_sweep_and_resume_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    timer = Timer(small_is_fast)

    def planner(*args: Any, **options: Any) -> Planner:
        return Planner(*args, **{**options, "timer": timer})

    monkeypatch.setattr(sweeping, "Planner", planner)
    loaded = config_from_mapping(SMALL)
    options = Options("cpu", workers=0)
    dry = plan_sweep(loaded, options)
    assert [stack.members for stack in dry.stacks] == [4, 4, 4, 4]
    assert "stacks of up to 4 members" in dry.notes[0]
    observer = Started()
    summary = run_sweep(loaded, runs_dir=tmp_path, options=options, observer=observer)
    assert summary.completed == 16
    assert observer.notes[0] == dry.notes[0]
    timer.asked.clear()
    directory = Path(summary.sweep_dir)
    grown = resume_sweep(
        directory,
        options=options,
        reload=lambda document: config_from_mapping(with_keys(SMALL, sweep={"seeds": 3})),
    )
    assert grown.completed == 24
    assert timer.asked == []
    plan = [json.loads(line) for line in SweepDir(directory).plan.path.read_text().splitlines()]
    assert [len(stack) for each in plan for stack in each.get("stacks", [])] == [4] * 6
    assert [most for each in plan for most in each.get("most", [])] == [4] * 6


def test_a_plan_with_sizes_for_other_stacks_is_damaged(tmp_path: Path) -> None:
    files = SweepDir(tmp_path)
    planned = planner_of(CONFIG, None).round(grid_cells({"optimizer.weight_decay": [0]}))
    files.write_rounds([Round(planned.runs, planned.stacks, planned.data, most=[1, 2])])
    with pytest.raises(CorruptInputError, match=r"plan.jsonl:1: damaged: 2 sizes of 1 stacks"):
        files.read_rounds()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
def test_on_a_gpu_the_size_is_measured_and_the_memory_given_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("regrun.sweeps.stack_speed.WORTH_SECONDS", 0.0)
    plan_sweep(config_from_mapping(SMALL), Options("cuda"))
    before = torch.cuda.memory_reserved()
    plan = plan_sweep(config_from_mapping(SMALL), Options("cuda"))
    assert any(note.startswith("stacks of up to") for note in plan.notes)
    assert sum(stack.members for stack in plan.stacks) == 16
    assert torch.cuda.memory_reserved() <= before
