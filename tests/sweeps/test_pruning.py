"""Pruners on simulated learning curves."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regrun.config.load import config_from_mapping
from regrun.metrics import Direction, Metric
from regrun.sweeps.pruning import Kind, Pruner, pruner_of

KINDS: tuple[Kind, ...] = ("median", "asha", "hyperband")


def pruner(
    kind: Kind, epochs: int, cells: Iterable[int], direction: Direction = "minimize"
) -> Pruner:
    metric = Metric("val", "loss" if direction == "minimize" else "accuracy")
    return Pruner(kind, metric, epochs, list(cells))


def simulate(
    kind: Kind, curves: np.ndarray, every: int = 1, direction: Direction = "minimize"
) -> tuple[dict[int, int], Pruner]:
    """Cells → epochs they were trained. curves: (cells, epochs)."""
    count, epochs = curves.shape
    judge = pruner(kind, epochs, range(count), direction)
    ended = dict.fromkeys(range(count), int(epochs))
    live = set(range(count))
    for epoch in range(every, epochs + 1, every):
        cut = judge.report(epoch, {cell: float(curves[cell, epoch - 1]) for cell in live})
        assert cut <= live
        live -= cut
        ended.update(dict.fromkeys(cut, epoch))
    return ended, judge


def survivors(ended: dict[int, int], epochs: int) -> set[int]:
    return {cell for cell, epoch in ended.items() if epoch == epochs}


def learning_curves(
    seed: int, cells: int = 64, epochs: int = 60, spread: float = 0.1, noise: float = 0.005
) -> np.ndarray:
    """Losses that fall from ln 10 to a cell's own end, at speeds that differ by ``spread``."""
    rng = np.random.default_rng(seed)
    end = rng.uniform(0.1, 1.0, (cells, 1))
    time = epochs / 8 * np.exp(spread * rng.standard_normal((cells, 1)))
    falling = np.exp(-np.arange(1, epochs + 1) / time)
    measured: np.ndarray = (
        end + (2.3 - end) * falling + noise * rng.standard_normal((cells, epochs))
    )
    return measured


def successive_halving(curves: np.ndarray, rungs: list[int]) -> dict[int, int]:
    """The synchronous algorithm: at every rung the better half goes on, the best always does."""
    count, epochs = curves.shape
    ended = dict.fromkeys(range(count), int(epochs))
    live = np.arange(count)
    for rung in rungs:
        order = live[np.argsort(curves[live, rung - 1])]
        kept = max(1, len(live) // 2)
        ended.update(dict.fromkeys(order[kept:].tolist(), rung))
        live = order[:kept]
    return ended


@pytest.mark.parametrize("cells", [1, 2, 3, 12, 64])
@pytest.mark.parametrize(("epochs", "rungs"), [(60, [7, 14, 28]), (8, [1, 2, 4]), (1, [])])
def test_asha_in_a_stack_is_synchronous_successive_halving(
    cells: int, epochs: int, rungs: list[int]
) -> None:
    for seed in range(5):
        curves = learning_curves(seed, cells, epochs, spread=0.5, noise=0.1)
        ended, judge = simulate("asha", curves)
        assert list(judge.decides_at) == rungs
        assert ended == successive_halving(curves, rungs)


def test_asha_keeps_the_best_of_64_cells_for_less_than_a_third_of_the_epochs() -> None:
    kept = 0
    for seed in range(60):
        curves = learning_curves(seed)
        ended, _ = simulate("asha", curves)
        assert sum(ended.values()) <= curves.size / 3
        kept += int(np.argmin(curves[:, -1])) in survivors(ended, 60)
    assert kept >= 0.95 * 60


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("epochs", [10, 100])
def test_the_winner_is_near_the_best_where_curves_cross(kind: Kind, epochs: int) -> None:
    ranks = []
    for seed in range(20):
        curves = learning_curves(seed, epochs=epochs, spread=0.3, noise=0.01)
        left = survivors(simulate(kind, curves)[0], epochs)
        final = np.sort(curves[:, -1])
        ranks.append(int(np.searchsorted(final, min(curves[cell, -1] for cell in left))))
    assert np.mean(ranks) < 1
    assert max(ranks) <= 3


@pytest.mark.parametrize(("kind", "least", "most"), [("median", 0.5, 0.6), ("hyperband", 0.4, 0.7)])
def test_median_and_hyperband_spend_about_half_of_the_epochs(
    kind: Kind, least: float, most: float
) -> None:
    for seed in range(5):
        ended, _ = simulate(kind, learning_curves(seed))
        assert least < sum(ended.values()) / (64 * 60) < most


def test_hyperband_keeps_some_that_start_slowly() -> None:
    curves = learning_curves(0, spread=0.0, noise=0.0)
    curves[:, :30] = curves[::-1, :30]
    order = np.argsort(curves[:, -1])
    left = {kind: survivors(simulate(kind, curves)[0], 60) for kind in KINDS}
    best = {
        kind: min(int(np.flatnonzero(order == cell)[0]) for cell in left[kind]) for kind in KINDS
    }
    assert best["hyperband"] <= best["asha"]
    assert len(left["hyperband"]) > len(left["asha"])


def test_the_median_is_that_of_all_cells_with_the_last_value_of_pruned_ones() -> None:
    judge = pruner("median", 30, range(6))
    first = {0: 1.0, 1: 2.0, 2: 3.0, 3: 4.0, 4: 5.0, 5: 6.0}
    assert judge.report(3, first) == {3, 4, 5}
    # Median of 0.9, 3.1, 3.2 and the stopped 4, 5, 6: 3.6. Of the living alone it were 3.1.
    assert judge.report(6, {0: 0.9, 1: 3.1, 2: 3.2}) == set()
    # Cell 1 counts with the best it had, which is 2.
    assert judge.report(9, {0: 0.9, 1: 9.0, 2: 3.2}) == set()


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_pruned_at_the_end_or_between_decisions(kind: Kind) -> None:
    values = {cell: float(cell) for cell in range(20)}
    judge = pruner(kind, 40, values)
    for epoch in set(range(1, 41)) - set(judge.decides_at):
        fresh = pruner(kind, 40, values)
        fresh.replay([(rung, values) for rung in judge.decides_at if rung <= epoch])
        assert fresh.report(epoch, values) == set()
    assert pruner(kind, 40, values).report(40, values) == set()
    assert 40 not in judge.decides_at
    assert pruner(kind, 40, values).report(judge.decides_at[0], {}) == set()


def test_rare_evaluations_make_up_for_the_rungs_they_passed() -> None:
    curves = learning_curves(0, epochs=60)
    ended, _ = simulate("asha", curves, every=30)
    assert sorted(ended.values()) == [30] * 56 + [60] * 8
    assert survivors(ended, 60) == set(np.argsort(curves[:, 29])[:8].tolist())


@pytest.mark.parametrize("kind", KINDS)
def test_an_accuracy_is_kept_high(kind: Kind) -> None:
    curves = learning_curves(1)
    assert simulate(kind, -curves, direction="maximize")[0] == simulate(kind, curves)[0]


@pytest.mark.parametrize("kind", ["median", "asha"])
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_decisions_do_not_depend_on_the_order_of_the_cells(kind: Kind, data: st.DataObject) -> None:
    cells = data.draw(st.integers(2, 12))
    levels = data.draw(
        st.lists(st.floats(0, 100, width=16), min_size=cells, max_size=cells, unique=True)
    )
    order = data.draw(st.permutations(range(cells)))
    curves = np.array(levels)[:, None] + np.linspace(1, 0, 16)
    ended, _ = simulate(kind, curves)
    moved, _ = simulate(kind, curves[order])
    assert [ended[cell] for cell in order] == list(moved.values())


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_the_best_cell_is_never_pruned(kind: Kind, data: st.DataObject) -> None:
    value = st.one_of(st.integers(-3, 3).map(float), st.just(math.nan), st.just(math.inf))
    judge = pruner(kind, 16, range(7))
    live = set(range(7))
    for epoch in range(1, 17):
        values = {cell: data.draw(value) for cell in sorted(live)}
        finite = {cell: each for cell, each in values.items() if math.isfinite(each)}
        cut = judge.report(epoch, values)
        assert cut < live
        assert not finite or min(finite, key=finite.__getitem__) not in cut
        live -= cut


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_cell_that_diverges_counts_as_the_worst(kind: Kind, bad: float) -> None:
    curves = learning_curves(2)
    curves[5, :] = bad
    replaced = curves.copy()
    replaced[5, :] = 1e6
    ended, judge = simulate(kind, curves)
    assert ended == simulate(kind, replaced)[0]
    assert kind == "hyperband" or ended[5] == judge.decides_at[0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("killed", [1, 7, 13, 14, 27, 45])
def test_a_pruner_rebuilt_from_its_reports_goes_on_as_before(kind: Kind, killed: int) -> None:
    curves = learning_curves(3)
    ended, _ = simulate(kind, curves)
    first = pruner(kind, 60, range(64))
    everything: list[tuple[int, dict[int, float]]] = []
    for epoch in range(1, killed + 1):
        live = [cell for cell in range(64) if ended[cell] >= epoch]
        everything.append((epoch, {cell: float(curves[cell, epoch - 1]) for cell in live}))
        first.report(*everything[-1])
    stored = [(epoch, {int(k): v for k, v in values.items()})
              for epoch, values in json.loads(json.dumps(first.reports))]  # fmt: skip
    for reports in (stored, everything):
        second = pruner(kind, 60, range(64))
        second.replay(reports)
        assert second.reports == first.reports
        for epoch in range(killed + 1, 61):
            live = [cell for cell in range(64) if ended[cell] >= epoch]
            cut = second.report(epoch, {cell: float(curves[cell, epoch - 1]) for cell in live})
            assert cut == ({cell for cell in live if ended[cell] == epoch} if epoch < 60 else set())


def test_cells_are_known_by_their_own_numbers() -> None:
    curves = learning_curves(4, cells=8, epochs=16)
    judge = pruner("asha", 16, [10 * cell for cell in range(8)])
    cut = judge.report(2, {10 * cell: float(curves[cell, 1]) for cell in range(8)})
    assert cut == {10 * int(cell) for cell in np.argsort(curves[:, 1])[4:]}


def test_the_pruner_is_the_one_that_the_sweep_names() -> None:
    def config(sweep: dict[str, object] | None) -> object:
        return config_from_mapping(
            {
                "dataset": {"name": "digits", "validation": 0.2},
                "model": {"name": "linear"},
                "optimizer": {"name": "sgd", "lr": 0.1},
                "training": {"epochs": 80},
                "sweep": sweep,
            }
        ).config

    assert pruner_of(config(None), [0]) is None  # type: ignore[arg-type]
    assert pruner_of(config({}), [0]) is None  # type: ignore[arg-type]
    found = pruner_of(config({"pruner": "asha", "metric": "val/accuracy"}), [0, 1])  # type: ignore[arg-type]
    assert found is not None
    assert found.metric == "val/accuracy"
    assert found.decides_at == (10, 20, 40)
    assert found.report(10, {0: 0.5, 1: 0.4}) == {1}
    shorter = pruner_of(config({"pruner": "asha"}), [0, 1], epochs=16)  # type: ignore[arg-type]
    assert shorter is not None
    assert shorter.decides_at == (2, 4, 8)


@pytest.mark.parametrize("kind", KINDS)
def test_a_pruner_is_silent(
    kind: Kind, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    simulate(kind, learning_curves(0, cells=6))
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list
