"""What the lines under a table say, and that they say no more than the runs allow."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from regrun.analysis.cells import Cell
from regrun.analysis.sweeps import SweptRun, contenders
from regrun.cli.conclusions import caption, conclusions
from regrun.metrics import Metric
from regrun.results import DataCard, InputCard, RunSummary
from regrun.store import reading
from regrun.store.run_dir import RunDir

TEST_LOSS = Metric("test", "loss")
SHOWN = ["train/loss", "test/loss"]


def a_card(**changes: Any) -> DataCard:
    return DataCard(
        dataset="toy",
        task="regression",
        sizes={"train": 80, "test": 20},
        drawn=["train", "test"],
        pool=100,
        input=InputCard(shape=[3], dtype="float64"),
    ).model_copy(update=changes)


def a_cell(
    decay: float,
    losses: list[float],
    *,
    seeds: bool = True,
    data: bool = False,
    card: DataCard | None = None,
    metrics: Mapping[str, float] | None = None,
) -> Cell:
    runs = []
    for number, loss in enumerate(losses):
        summary = RunSummary(
            run_dir="toy",
            status="completed",
            metrics={"test/loss": loss, **(metrics or {})},
            data=card or a_card(),
        )
        config = {"seed": number * seeds, "dataset.seed": number * data}
        runs.append(SweptRun(RunDir(Path(f"toy-{decay}")), config, summary))
    return Cell({"decay": decay}, runs)


GOOD, BAD = [1.0, 1.1, 0.9, 1.05], [3.0, 3.3, 2.9, 3.1]


def test_one_run_each_has_no_caption() -> None:
    assert caption([a_cell(0, [1.0]), a_cell(1, [2.0])], SHOWN) == []


@pytest.mark.parametrize(
    ("seeds", "data", "changes", "repeated"),
    [
        (True, False, {}, "4 seeds"),
        (True, True, {}, "4 seeds, each with its own split"),
        (False, True, {}, "4 splits"),
        (True, True, {"generated": True}, "4 seeds, each with its own draw of the data"),
        (False, True, {"generated": True}, "4 draws of the data"),
    ],
)
def test_the_caption_says_what_was_repeated(
    seeds: bool, data: bool, changes: dict[str, Any], repeated: str
) -> None:
    cell = a_cell(0, GOOD, seeds=seeds, data=data, card=a_card(**changes))
    line = caption([cell], SHOWN)[0]
    assert line == f"geometric means of losses and norms, else means; 95% intervals over {repeated}"


def test_it_says_when_all_runs_share_one_split() -> None:
    lines = caption([a_cell(0, GOOD)], SHOWN)
    assert "all on one split of the data: another split may give another order" in lines


def test_it_says_that_splits_share_examples() -> None:
    lines = caption([a_cell(0, GOOD, data=True)], SHOWN)
    assert any("Nadeau & Bengio" in line for line in lines)
    generated = caption([a_cell(0, GOOD, data=True, card=a_card(generated=True))], SHOWN)
    assert len(generated) == 1


def test_it_says_by_how_much_another_test_set_would_change_an_accuracy() -> None:
    card = a_card(drawn=[], sizes={"train": 80, "test": 10_000})
    cell = a_cell(0, GOOD, card=card, metrics={"test/accuracy": 0.9})
    # 2 √(0.9 · 0.1 / 10,000) = 0.006
    (line,) = caption([cell], ["test/loss", "test/accuracy"])[1:]
    assert "all runs share the 10,000 test examples" in line
    assert "accuracies by about ±0.006" in line


def test_a_winner_is_named_only_where_all_others_are_out() -> None:
    lines = conclusions([a_cell(0, BAD), a_cell(1, GOOD)], TEST_LOSS)
    assert lines[0].startswith("lowest test/loss: decay=1")
    assert lines[1].startswith("better than every other row (rotation test")
    alike = conclusions([a_cell(0, [1.1, 1.0, 1.0, 0.9]), a_cell(1, GOOD)], TEST_LOSS)
    assert alike[1] == "not distinguishable from it with 4 seeds: decay=1"


def test_how_many_seeds_would_settle_it_is_a_command() -> None:
    lines = conclusions([a_cell(0, [1.2, 1.0, 1.3, 1.1]), a_cell(1, GOOD)], TEST_LOSS)
    assert any("would settle it (80% power): regrun resume DIR --seeds" in line for line in lines)


def test_a_choice_among_several_is_said_to_flatter_until_it_is_confirmed() -> None:
    cells = [a_cell(0, BAD), a_cell(1, GOOD), a_cell(2, BAD)]
    assert any("flattered by the choice among 3" in each for each in conclusions(cells, TEST_LOSS))
    confirmed = conclusions(cells, TEST_LOSS, confirmed=True)
    assert not any("flattered" in each for each in confirmed)


def test_where_no_seed_changes_anything_no_difference_is_claimed() -> None:
    lines = conclusions([a_cell(0, [2.0] * 4), a_cell(1, [1.0] * 4)], TEST_LOSS)
    assert lines[0].startswith("lowest test/loss: decay=1")
    assert lines[1].startswith("nothing varies between the 4 seeds")
    assert len(lines) == 2


def stored(losses: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> list[Cell]:
    """Two cells of 4 runs with these losses of their test examples, (2, 4, examples)."""
    cells = [
        a_cell(decay, losses[decay].mean(1).tolist(), card=a_card(drawn=[])) for decay in (0, 1)
    ]
    queues = {
        f"toy-{decay}": iter([reading.TestExamples(row, None, "set") for row in losses[decay]])
        for decay in (0, 1)
    }
    found = property(lambda run: next(queues[run.path.name]))
    monkeypatch.setattr(reading.StoredRun, "test_examples", found)
    return cells


def test_a_difference_on_few_test_examples_is_not_claimed_for_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every seed agrees, but all of it comes from one of the ten examples."""
    rng = np.random.default_rng(0)
    losses = np.full((2, 4, 10), 1.0) + rng.normal(0, 1e-3, size=(2, 4, 10))
    losses[0, :, 3] += 4.0
    plain = [a_cell(decay, losses[decay].mean(1).tolist()) for decay in (0, 1)]
    assert contenders(plain, TEST_LOSS).alike == [1]
    narrow = plain[0].interval("test/loss")
    cells = stored(losses, monkeypatch)
    assert contenders(cells, TEST_LOSS).alike == [1, 0]
    wide = cells[0].interval("test/loss")
    assert narrow is not None and wide is not None
    assert narrow.high is not None and wide.high is not None
    assert wide.high > narrow.high
    assert "intervals on the test set cover another one of 20 examples, too" in caption(
        cells, SHOWN
    )


def test_two_single_networks_are_compared_on_their_test_examples(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    right = np.array([[1] * 90 + [0] * 10, [1] * 70 + [0] * 20 + [1] * 10], bool)
    cells = [
        a_cell(decay, [1.0 + decay], card=a_card(drawn=[]), metrics={"test/accuracy": 0.9})
        for decay in (0, 1)
    ]
    found = property(
        lambda run: reading.TestExamples(np.ones(100), right[int(run.path.name[-1])], "set")
    )
    monkeypatch.setattr(reading.StoredRun, "test_examples", found)
    lines = conclusions(cells, TEST_LOSS)
    assert "one seed cannot distinguish a difference from chance" in lines
    p = stats.binomtest(20, 30).pvalue
    assert any(
        "of 100 test examples decay=0 alone is right on 20, decay=1 alone on 10" in line
        and f"p = {p:.2g}" in line
        for line in lines
    )


def test_a_difference_on_all_test_examples_is_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    losses = np.full((2, 4, 30), 1.0) + rng.normal(0, 0.05, size=(2, 4, 30))
    losses[0] += 0.5
    assert contenders(stored(losses, monkeypatch), TEST_LOSS).alike == [1]
