"""Members that end early, and engines whose state is taken at exactly that moment."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from regrun.config.schema import Config
from regrun.data.dataset import Dataset
from regrun.histograms import WeightHistograms
from regrun.training.engine import Engine
from regrun.training.events import Evaluation, Event, MemberEnd
from regrun.training.state import EngineState
from tests.support.histograms import stored

CPU = torch.device("cpu")


def config(lr: float, **training: Any) -> Config:
    return Config.model_validate(
        {
            "dataset": {"name": "synthetic_linear", "num_features": 5, "num_train": 6},
            "model": {"name": "linear"},
            "optimizer": {"name": "sgd", "lr": lr},
            "training": {"epochs": 12, "batch_size": 3, "precision": "float64", **training},
        }
    )


STOPPING = {"metric": "test/loss", "patience": 2, "min_delta": 1e-3}
MEMBERS = [
    config(lr, early_stopping=STOPPING, histograms_every=2)
    for lr in (0.05, 1e200, 0.9, 0.01, 0.0001)
]
"""Among them one that diverges at once and some that stop at different epochs."""


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return MEMBERS[0].dataset.load().to(CPU, torch.float64)


def plain(event: Event) -> Any:
    """An event as plain data."""
    if isinstance(event, Evaluation):
        return ("evaluation", event.epoch, event.rows)
    if isinstance(event, MemberEnd):
        weights = {name: t.tolist() for name, t in (event.weights or {}).items()}
        last = event.histograms and stored(event.histograms.of([event.member]))
        how = (event.status, event.epoch, event.step)
        return ("end", event.member, how, weights, event.best_row, last)
    if isinstance(event, WeightHistograms):
        return ("histograms", stored(event))
    return ("tick", event.step)


def test_the_members_here_end_in_every_way(dataset: Dataset) -> None:
    ends = [event for event in Engine(MEMBERS, dataset, CPU).run() if isinstance(event, MemberEnd)]
    assert {end.status for end in ends} == {"diverged", "stopped", "completed"}
    assert sorted(end.member for end in ends) == list(range(len(MEMBERS)))


def test_an_engine_goes_on_alike_from_between_any_two_events(dataset: Dataset) -> None:
    whole = [plain(event) for event in Engine(MEMBERS, dataset, CPU).run()]
    assert {each[0] for each in whole} == {"histograms", "evaluation", "tick", "end"}
    for position in range(1, len(whole)):
        if whole[position - 1][0] == "histograms":
            continue  # which belong to the event after them
        first = Engine(MEMBERS, dataset, CPU)
        events = first.run()
        for _ in range(position):
            next(events)
        tensors, numbers = first.state_dict()
        second = Engine(MEMBERS, dataset, CPU)
        second.load_state_dict(
            tensors, EngineState.model_validate(json.loads(numbers.model_dump_json()))
        )
        assert [plain(event) for event in second.run()] == whole[position:], position


def test_pruning_a_member_that_has_just_stopped_ends_it_once(dataset: Dataset) -> None:
    events = list(Engine(MEMBERS, dataset, CPU).run())
    stop = next(e for e in events if isinstance(e, MemberEnd) and e.status == "stopped")
    engine = Engine(MEMBERS, dataset, CPU)
    ends: list[MemberEnd] = []
    for event in engine.run():
        if isinstance(event, Evaluation) and event.epoch == stop.epoch:
            ends += engine.prune(range(len(MEMBERS)))
        elif isinstance(event, MemberEnd):
            ends.append(event)
    assert sorted(end.member for end in ends) == list(range(len(MEMBERS)))
    assert {end.member: end.status for end in ends}[stop.member] == "stopped"
    assert "pruned" in {end.status for end in ends}
