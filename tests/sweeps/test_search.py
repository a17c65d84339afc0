"""Random, TPE and CMA-ES searches, without training."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regrun.config.sweeps import Distribution, Sweep
from regrun.errors import ConfigError, UsageError
from regrun.sweeps.search import BATCH, Result, Search
from regrun.sweeps.space import PlannedCell, identity
from tests.support.program import run_python

LEARNING = ("tpe", "cmaes")
SEARCHES = ("random", "qmc", *LEARNING)

NUMERIC = {
    "optimizer.weight_decay": Distribution(log_uniform=(1e-5, 10.0)),
    "optimizer.lr": Distribution(log_uniform=(1e-4, 1.0)),
    "model.dropout": Distribution(uniform=(0.0, 0.9)),
    "training.batch_size": Distribution(int=(1, 64)),
}
MIXED = NUMERIC | {
    "model.hidden": Distribution(choice=([8], [16, 16], [])),
    "penalty": Distribution(choice=("none", {"type": "l1", "strength": 0.1})),
}


def section(search: str, trials: int = 40, space: dict[str, Distribution] | None = None) -> Sweep:
    return Sweep(search=search, trials=trials, space=space or NUMERIC)  # type: ignore[arg-type]


def valley(params: Any) -> float:
    """Least at weight_decay 0.1, lr 0.01, dropout 0.3."""
    decay = math.log10(params["optimizer.weight_decay"]) + 1
    lr = math.log10(params["optimizer.lr"]) + 2
    return 0.1 * decay**2 + 0.05 * lr**2 + (float(params["model.dropout"]) - 0.3) ** 2


def outcome(cell: PlannedCell) -> tuple[float | None, Any, int]:
    """Some cells fail, diverge or are pruned."""
    if cell.index % 7 == 3:
        return None, "failed", 0
    if cell.index % 7 == 4:
        return None, "diverged", 2
    if cell.index % 7 == 5:
        return valley(cell.params), "pruned", 1 + cell.index % 4
    return valley(cell.params), "completed", 10


def run(
    search: Search, result: Callable[[PlannedCell], Any] = outcome, backwards: bool = False
) -> list[PlannedCell]:
    cells: list[PlannedCell] = []
    while batch := search.ask():
        cells += batch
        for cell in reversed(batch) if backwards else batch:
            search.tell(cell.index, *result(cell))
    return cells


def results(
    cells: Sequence[PlannedCell], result: Callable[[PlannedCell], Any] = outcome
) -> list[Result]:
    return [Result(json.loads(json.dumps(cell.params)), *result(cell)) for cell in cells]


@pytest.mark.parametrize("name", SEARCHES)
def test_the_same_seed_proposes_the_same_cells_and_another_seed_others(name: str) -> None:
    first, again, other = (run(Search(section(name), seed)) for seed in (3, 3, 4))
    assert first == again
    assert len(first) == 40
    assert [cell.index for cell in first] == list(range(40))
    assert all(left.params != right.params for left, right in zip(first, other, strict=True))


@pytest.mark.parametrize("name", SEARCHES)
def test_the_order_in_which_cells_finish_does_not_matter(name: str) -> None:
    assert run(Search(section(name), 0)) == run(Search(section(name), 0), backwards=True)


@pytest.mark.parametrize("name", LEARNING)
def test_results_change_what_is_proposed_next(name: str) -> None:
    one = run(Search(section(name), 0))
    two = run(Search(section(name), 0), lambda cell: (-valley(cell.params), "completed"))
    assert one[:BATCH] == two[:BATCH]
    assert one[2 * BATCH :] != two[2 * BATCH :]


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize("finished", [0, 5, BATCH, BATCH + 1, 3 * BATCH, 40])
def test_a_replayed_search_goes_on_as_the_undisturbed_one(name: str, finished: int) -> None:
    undisturbed = run(Search(section(name, space=NUMERIC), 1))
    replayed = Search.replay(section(name), 1, results(undisturbed[:finished]))
    assert undisturbed[:finished] + run(replayed) == undisturbed


def test_a_replay_with_lists_mappings_and_equal_cells_goes_on_as_the_undisturbed_one() -> None:
    space = {key: MIXED[key] for key in ("model.hidden", "penalty")}
    space["seed"] = Distribution(int=(0, 3))

    def result(cell: PlannedCell) -> tuple[float, str]:
        return len(cell.params["model.hidden"]) + cell.params["seed"], "completed"

    undisturbed = run(Search(section("tpe", 60, space), 5), result)
    for finished in range(len(undisturbed) + 1):
        done = results(undisturbed[:finished], result)
        replayed = Search.replay(section("tpe", 60, space), 5, done)
        assert undisturbed[:finished] + run(replayed, result) == undisturbed


def test_stored_cells_that_no_version_here_would_propose_are_taken_over() -> None:
    foreign = run(Search(section("tpe", 24, MIXED), 1))
    search = Search.replay(section("tpe", 40, MIXED), 2, results(foreign))
    rest = run(search)
    assert [cell.index for cell in rest] == list(range(24, 40))
    again = Search.replay(section("tpe", 40, MIXED), 2, results([*foreign, *rest[:3]]))
    known = {identity(cell.params) for cell in [*foreign, *rest[:3]]}
    assert all(identity(cell.params) not in known for cell in run(again))


@pytest.mark.parametrize(
    "params", [{"model.dropout": 0.1}, {"model.hidden": [9]}], ids=["keys", "choice"]
)
def test_stored_cells_of_another_space_are_refused(params: dict[str, Any]) -> None:
    space = {"model.hidden": MIXED["model.hidden"]}
    with pytest.raises(UsageError, match="stored cell"):
        Search.replay(section("tpe", 9, space), 0, [Result(params, 1.0, "completed")])


@pytest.mark.parametrize("name", ["random", "qmc", "tpe"])
@settings(max_examples=10, deadline=None)
@given(
    low=st.floats(-10, 10),
    width=st.floats(0.001, 10),
    magnitude=st.floats(-6, 2),
    decades=st.floats(0.01, 5),
    least=st.integers(-50, 50),
    more=st.integers(1, 50),
    choices=st.lists(st.one_of(st.text("ab"), st.lists(st.integers(0, 2))), min_size=1, max_size=3),
    seed=st.integers(0, 2**63 - 1),
)
def test_every_proposal_lies_in_the_space(
    name: str,
    low: float,
    width: float,
    magnitude: float,
    decades: float,
    least: int,
    more: int,
    choices: list[Any],
    seed: int,
) -> None:
    bounds = (10**magnitude, 10 ** (magnitude + decades))
    space = {
        "u": Distribution(uniform=(low, low + width)),
        "l": Distribution(log_uniform=bounds),
        "i": Distribution(int=(least, least + more)),
        "c": Distribution(choice=tuple(choices)),
    }
    for cell in run(
        Search(section(name, 15, space), seed), lambda cell: (cell.params["u"], "completed")
    ):
        assert low <= cell.params["u"] <= low + width
        assert bounds[0] <= cell.params["l"] <= bounds[1]
        assert type(cell.params["i"]) is int
        assert least <= cell.params["i"] <= least + more
        assert cell.params["c"] in choices


@pytest.mark.parametrize("name", ["random", "qmc"])
def test_each_distribution_is_spread_as_it_says(name: str) -> None:
    space = {
        "u": Distribution(uniform=(2.0, 4.0)),
        "l": Distribution(log_uniform=(1e-4, 1.0)),
        "i": Distribution(int=(1, 4)),
        "c": Distribution(choice=([0], [1, 1])),
    }
    cells = Search(section(name, 1024, space), 0).ask()
    shares = [
        sum(cell.params["u"] < 3 for cell in cells) / 1024 - 0.5,
        sum(cell.params["l"] < 1e-2 for cell in cells) / 1024 - 0.5,
        sum(cell.params["c"] == [0] for cell in cells) / 1024 - 0.5,
        *(sum(cell.params["i"] == i for cell in cells) / 1024 - 0.25 for i in (1, 2, 3, 4)),
    ]
    assert max(map(abs, shares)) < (0.05 if name == "random" else 1 / 1024)


@pytest.mark.parametrize("name", SEARCHES)
def test_batches_are_equal_unless_nothing_is_learned(name: str) -> None:
    search = Search(section(name, 30), 0)
    sizes = []
    while cells := search.ask():
        sizes.append(len(cells))
        for cell in cells:
            search.tell(cell.index, valley(cell.params), "completed")
    assert sizes == ([BATCH, BATCH, 30 - 2 * BATCH] if name in LEARNING else [30])


def test_asking_again_gives_the_cells_that_still_miss_a_result() -> None:
    search = Search(section("tpe"), 0)
    cells = search.ask()
    assert search.ask() == cells
    search.tell(cells[4].index, 1.0, "completed")
    assert search.ask() == cells[:4] + cells[5:]


@pytest.mark.parametrize("name", ["random", "qmc", "tpe"])
def test_equal_cells_are_proposed_only_once(name: str) -> None:
    space = {"model.hidden": MIXED["model.hidden"], "penalty": MIXED["penalty"]}
    search = Search(section(name, 50, space), 0)
    cells = run(search, lambda cell: (float(len(cell.params["model.hidden"])), "completed"))
    assert len({identity(cell.params) for cell in cells}) == len(cells) == 6
    assert [cell.index for cell in cells] == list(range(6))


@pytest.mark.parametrize("name", LEARNING)
def test_a_search_that_learns_beats_the_median_random_one(name: str) -> None:
    def best(search: str, seed: int) -> float:
        cells = run(
            Search(section(search, 60), seed), lambda cell: (valley(cell.params), "completed")
        )
        return min(valley(cell.params) for cell in cells)

    random = statistics.median(best("random", seed) for seed in range(15))
    assert statistics.median(best(name, seed) for seed in range(5)) < random / 2


@pytest.mark.parametrize("name", LEARNING)
def test_a_region_that_diverges_is_avoided(name: str) -> None:
    def result(cell: PlannedCell) -> tuple[float | None, str]:
        diverges = cell.params["optimizer.lr"] > 0.01
        return (None, "diverged") if diverges else (valley(cell.params), "completed")

    cells = run(Search(section(name, 60), 0), result)
    late = [cell.params["optimizer.lr"] > 0.01 for cell in cells[-24:]]
    assert sum(late) < 8


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf])
def test_a_cell_without_a_finite_value_counts_as_the_worst(value: float | None) -> None:
    def result(cell: PlannedCell) -> tuple[float | None, str]:
        return (value, "completed") if cell.index % 3 else (valley(cell.params), "completed")

    def diverged(cell: PlannedCell) -> tuple[float | None, str]:
        return (0.0, "diverged") if cell.index % 3 else (valley(cell.params), "completed")

    assert run(Search(section("tpe"), 0), result) == run(Search(section("tpe"), 0), diverged)


def test_an_accuracy_is_maximised() -> None:
    up = Sweep(search="tpe", trials=40, space=NUMERIC, metric="val/accuracy")
    cells = run(Search(up, 0, "maximize"), lambda cell: (-valley(cell.params), "completed"))
    assert cells == run(Search(section("tpe"), 0), lambda cell: (valley(cell.params), "completed"))


def test_cmaes_refuses_choices_and_single_axes() -> None:
    with pytest.raises(ConfigError, match="this is a choice; use tpe") as caught:
        Search(section("cmaes", space=MIXED), 0)
    assert caught.value.problems[0].path == ("sweep", "space", "model.hidden")
    with pytest.raises(ConfigError, match="cmaes needs two axes or more; use tpe for one"):
        Search(section("cmaes", space={"seed": Distribution(int=(0, 9))}), 0)


@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_is_silent_and_leaves_optunas_logging_as_it_was(
    name: str, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    import optuna

    before = optuna.logging.get_verbosity()
    run(Search(section(name, 30), 0))
    assert optuna.logging.get_verbosity() == before
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list


def test_importing_the_search_loads_neither_optuna_nor_torch() -> None:
    code = (
        "import sys, regrun.sweeps.search, regrun.sweeps.pruning\n"
        "print({'optuna', 'torch', 'numpy'} & set(sys.modules))"
    )
    assert run_python(code).stdout.strip() == "set()"
