"""Histograms of parameters while they are trained, against `numpy.histogram`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import regrun.training.histograms as counting
from regrun.config.schema import Config
from regrun.histograms import BINS, Histogram, Histograms, WeightHistograms
from regrun.nn.roles import Role
from regrun.training.engine import Engine
from regrun.training.events import Event, MemberEnd
from tests.support.engines import CPU, collect, config_of, dataset_of
from tests.support.histograms import stored

INF, NAN = torch.inf, torch.nan


def weights_like(*values: float) -> Tensor:
    """Two members: 60 random entries, with the given values in front of the second's."""
    table = torch.randn(2, 60, generator=torch.Generator().manual_seed(1))
    table[1, : len(values)] = torch.tensor(values)
    return table.reshape(2, 3, 4, 5)


TABLES: dict[str, Tensor] = {
    "random": weights_like(),
    "zeros among them": weights_like(0.0, -0.0, 0.0),
    "float64": weights_like(1e200, -1e-300).double(),
    "infinities": weights_like(INF, -INF, 0.0),
    "nan": weights_like(NAN, 3.0),
    "an outlier": weights_like(1e30),
    "denormal": torch.full((2, 7), 1e-42),
    "all zero": torch.zeros(2, 4, 3),
    "constant": torch.full((2, 5), -1.5),
    "one entry": torch.tensor([[0.5], [-0.25]]),
    "scalars": torch.tensor([0.5, -0.25]),
    "on the edges": torch.arange(31.0).repeat(2, 1) / 30,
    "on uneven edges": torch.linspace(-0.1, 0.7, 31, dtype=torch.float64).repeat(2, 1),
    "many": torch.randn(2, 5000, generator=torch.Generator().manual_seed(2)).round(decimals=2),
}


def counted(parameters: dict[str, Tensor], role: Role) -> list[Histograms]:
    """The histograms of each member after epoch 3, as they are stored."""
    tables = counting.count_entries(parameters, dict.fromkeys(parameters, role))
    return [*stored(WeightHistograms(3, 12, range(len(parameters["w"])), tables)).values()]


def expected(entries: np.ndarray) -> tuple[Any, ...]:
    entries = entries.astype(np.float64).ravel()
    finite = entries[np.isfinite(entries)]
    counts, edges = np.histogram(finite, BINS)
    lost = len(entries) - len(finite)
    return (finite == 0).sum(), lost, finite.min(), finite.max(), counts.tolist(), edges.tolist()


@pytest.mark.parametrize("elements", [counting.ELEMENTS, 13])
@pytest.mark.parametrize("case", TABLES)
def test_counts_are_those_of_numpy(
    case: str, elements: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "ELEMENTS", elements)
    table = TABLES[case]
    found = counted({"w": table}, "norm")
    assert len(found) == 2
    for own, entries in zip(found, table.numpy(), strict=True):
        assert (own.epoch, own.step, list(own.parameters)) == (3, 12, ["w"])
        each = own.parameters["w"]
        shown = (each.zeros, each.not_finite, each.low, each.high, each.counts)
        assert (*shown, each.edges.tolist()) == expected(entries)
        finite = entries[np.isfinite(entries)].astype(np.float64)
        assert (each.role, each.size) == ("norm", entries.size)
        assert each.mean == pytest.approx(finite.mean(), rel=1e-12, abs=1e-15)
        assert each.std == pytest.approx(finite.std(), rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("unit", [5e-324, 1e-310, 2.0**-1074 * 7, 1e-3, 5e305])
def test_every_entry_is_in_the_bin_between_whose_edges_it_lies(unit: float) -> None:
    draw = np.random.default_rng(1)
    for low, high in ((0, 40), (1, 34), (-7, 300), (-21, -1), (-40, 43)):
        entries = draw.integers(low, high, endpoint=True, size=400) * unit
        (own,) = counted({"w": torch.from_numpy(entries)[None]}, "weight")
        histogram = own.parameters["w"]
        places = np.searchsorted(histogram.edges, entries, side="right") - 1
        expected = np.bincount(np.minimum(places, BINS - 1), minlength=BINS)
        assert histogram.counts == expected.tolist()


def test_without_a_finite_entry_nothing_is_counted() -> None:
    (found,) = counted({"w": torch.tensor([[NAN, INF, -INF]])}, "bias")
    assert found.parameters["w"] == Histogram("bias", 0, 3, None, None, None, None, [0] * BINS)


def test_numbers_beyond_float64_are_none() -> None:
    table = torch.tensor([[1.7e308, 1.7e308, -1.7e308, 0.0]], dtype=torch.float64)
    (found,) = counted({"w": table}, "weight")
    each = found.parameters["w"]
    assert (each.low, each.high, each.std, sum(each.counts)) == (-1.7e308, 1.7e308, None, 4)


LINEAR: dict[str, Any] = {
    "dataset": {"name": "synthetic_linear", "num_features": 5, "num_train": 6},
    "model": {"name": "linear"},
    "optimizer": {"name": "sgd", "lr": 0.05},
    "training": {"epochs": 10, "batch_size": 3, "precision": "float64", "evaluate_every": 2},
}
DIGITS: dict[str, Any] = {
    "dataset": {"name": "digits", "num_train": 60, "num_test": 40},
    "model": {"name": "mlp", "hidden": [8, 6], "dropout": 0.2},
    "optimizer": {"name": "adam", "lr": 0.01},
    "training": {"epochs": 3, "batch_size": 16, "histograms_every": 1},
}
CONV: dict[str, Any] = {
    **DIGITS,
    "model": {"name": "cnn", "channels": [2, 3], "hidden": [5], "norm": "batch"},
}


def linear(lr: float = 0.05, seed: int = 0, **training: Any) -> Config:
    changes = {"seed": seed, "optimizer": {"name": "sgd", "lr": lr}, "training": training}
    return config_of(LINEAR, changes, "training")


def all_counted(events: list[Event]) -> dict[int, list[Histograms]]:
    """Member → its histograms, those at its end included."""
    found: dict[int, list[Histograms]] = {}
    for event in events:
        if isinstance(event, WeightHistograms):
            for member, each in stored(event).items():
                found.setdefault(member, []).append(each)
        elif isinstance(event, MemberEnd) and event.histograms is not None:
            own = stored(event.histograms.of([event.member]))
            found.setdefault(event.member, []).append(own[event.member])
    return found


def run(*configs: Config) -> list[Event]:
    return list(Engine(configs, dataset_of(configs[0]), CPU).run())


@pytest.mark.parametrize(
    ("every", "epochs"),
    [
        (1, [*range(11)]),
        (3, [0, 3, 6, 9, 10]),
        (5, [0, 5, 10]),
        (10, [0, 10]),
        (1000, [0, 10]),
        (0, []),
    ],
)
def test_they_come_at_the_start_every_so_many_epochs_and_at_the_end(
    every: int, epochs: list[int]
) -> None:
    found = all_counted(run(linear(histograms_every=every)))
    assert [each.epoch for each in found.get(0, [])] == epochs
    assert [each.step for each in found.get(0, [])] == [2 * epoch for epoch in epochs]


@pytest.mark.parametrize("base", [LINEAR, DIGITS, CONV], ids=["linear", "mlp", "cnn"])
def test_counting_changes_nothing_that_is_computed(base: dict[str, Any]) -> None:
    lives = []
    for every in (0, 2):
        configs = [
            config_of(base, {"seed": seed, "training": {"histograms_every": every}}, "training")
            for seed in (0, 1)
        ]
        lives.append(collect(Engine(configs, dataset_of(configs[0]), CPU)))
    (rows, ends), (others, other_ends) = lives
    assert rows == others
    for member, end in ends.items():
        assert end.weights is not None
        other = other_ends[member].weights
        assert other is not None
        assert all(torch.equal(tensor, other[name]) for name, tensor in end.weights.items())


@pytest.mark.parametrize("base", [DIGITS, CONV], ids=["mlp", "cnn"])
def test_the_last_histograms_are_of_the_final_weights(base: dict[str, Any]) -> None:
    config = config_of(base, {})
    events = run(config)
    (found,) = all_counted(events).values()
    (end,) = (event for event in events if isinstance(event, MemberEnd))
    assert end.weights is not None
    parameters = found[-1].parameters
    buffers = {name for name in end.weights if "running" in name or "num_batches" in name}
    assert parameters.keys() == end.weights.keys() - buffers
    for name, each in parameters.items():
        entries = end.weights[name].numpy()
        assert each.counts == np.histogram(entries.astype(float), BINS)[0].tolist()
        assert each.size == entries.size
    assert {each.role for each in parameters.values()} >= {"weight", "bias"}


def test_members_of_a_stack_have_the_histograms_that_they_have_alone() -> None:
    configs = [linear(seed=seed, lr=lr, histograms_every=2) for seed, lr in ((3, 0.05), (0, 0.02))]
    together = all_counted(run(*configs))
    for member, config in enumerate(configs):
        (alone,) = all_counted(run(config)).values()
        assert [each.epoch for each in alone] == [each.epoch for each in together[member]]
        for one, other in zip(alone, together[member], strict=True):
            for name, each in one.parameters.items():
                assert each.counts == other.parameters[name].counts
                assert each.mean == pytest.approx(other.parameters[name].mean, rel=1e-9)


def test_a_member_that_diverges_has_histograms_up_to_the_evaluation_that_shows_it() -> None:
    found = all_counted(run(*(linear(lr=lr, histograms_every=1) for lr in (0.05, 1e200, 0.01))))
    assert [each.epoch for each in found[0]] == [each.epoch for each in found[2]] == [*range(11)]
    assert [each.epoch for each in found[1]] == [0, 1, 2]
    weights = [each.parameters["output.weight"] for each in found[1]]
    assert weights[0].not_finite == 0
    assert weights[-1].not_finite == weights[-1].size == 5


def test_members_that_stop_early_end_with_the_histograms_of_their_last_epoch() -> None:
    stopping = {"metric": "test/loss", "patience": 2, "min_delta": 1e-3}
    configs = [
        linear(lr=lr, early_stopping=stopping, histograms_every=4, epochs=20, evaluate_every=1)
        for lr in (0.05, 0.9, 0.0001)
    ]
    events = run(*configs)
    found = all_counted(events)
    ends = {event.member: event for event in events if isinstance(event, MemberEnd)}
    assert {end.status for end in ends.values()} >= {"stopped"}
    for member, end in ends.items():
        regular = [*range(0, end.epoch + 1, 4)]
        last = [] if end.epoch % 4 == 0 else [end.epoch]
        assert [each.epoch for each in found[member]] == regular + last


def test_pruned_members_end_with_histograms() -> None:
    configs = [linear(seed=seed, histograms_every=3) for seed in (0, 1)]
    engine = Engine(configs, dataset_of(configs[0]), CPU)
    found: list[WeightHistograms | None] = []
    for event in engine.run():
        if not found and not isinstance(event, WeightHistograms) and engine.epoch == 2:
            found = [end.histograms for end in engine.prune([1])]
    assert [None if each is None else each.epoch for each in found] == [2]
