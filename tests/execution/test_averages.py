"""What a run with averages of its weights leaves behind, and what is said about it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import regrun
from regrun.config.load import config_from_mapping
from regrun.config.schema import Config
from regrun.errors import ConfigError, UsageError
from regrun.execution.budget import tensor_copies
from regrun.store.reading import load_stored_run
from regrun.stored import Run
from tests.support.runs import DIGITS, LINEAR, rows_in

NORMED = {"name": "cnn", "channels": [3], "hidden": [5], "norm": "batch"}
BOTH = {"training.ema": 0.8, "training.swa": {"start": 2}}


def loss_of(run: Run, average: Any) -> float:
    """Test loss of stored weights, by torch alone."""
    section = Config.model_validate(load_stored_run(run.directory).config).dataset
    data = section.load().to(torch.device("cpu"), torch.float32)
    model = regrun.load_model(run.directory, average)
    with torch.no_grad():
        outputs = model(data.features(data.test.inputs, torch.float32)).double()
    return torch.nn.functional.cross_entropy(outputs, data.test.targets).item()


@pytest.fixture
def run(train: Any) -> Run:
    found: Run = train({**DIGITS, "model": NORMED}, BOTH)
    return found


def test_each_average_is_stored_as_it_was_measured(run: Run) -> None:
    metrics = run.summary.metrics
    for average, prefix in ((None, ""), ("ema", "ema/"), ("swa", "swa/")):
        expected = metrics[f"{prefix}test/loss"]
        assert loss_of(run, average) == pytest.approx(expected, rel=2e-5)
    assert len({metrics[f"{p}test/loss"] for p in ("", "ema/", "swa/")}) == 3
    assert {f"{a}/{s}/{q}" for a in ("ema", "swa") for s in ("train", "val", "test")
            for q in ("loss", "accuracy")} <= metrics.keys()  # fmt: skip


def test_averages_are_curves_of_the_runs_own_directory(run: Run) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run.directory)).Reload()
    rows = rows_in(run.directory)
    assert [point.step for point in events.Scalars("ema/test/loss")] == [r["step"] for r in rows]
    assert [point.step for point in events.Scalars("swa/val/loss")] == [
        row["step"] for row in rows[1:]
    ]


def test_a_run_without_averages_stores_none(train: Any) -> None:
    run = train(LINEAR)
    assert not list(run.directory.glob("weights_*"))
    assert not any(tag.startswith(("ema/", "swa/")) for tag in run.summary.metrics)
    with pytest.raises(UsageError, match=r"no weights_swa\.safetensors here; set training\.swa"):
        regrun.load_model(run.directory, "swa")


def test_the_best_epoch_is_that_of_the_stored_weights_also_under_min_delta(train: Any) -> None:
    stopping = {"metric": "test/loss", "patience": 4, "min_delta": 0.2}
    run = train(
        DIGITS,
        {"optimizer.lr": 0.05, "training.epochs": 60, "training.early_stopping": stopping},
    )
    rows, best = rows_in(run.directory), run.summary.best
    assert best.epoch == len(rows) - 4
    assert min(row["test/loss"] for row in rows) < best.value, "nothing was passed over"
    assert best.value == run.summary.metrics["test/loss"]
    assert loss_of(run, None) == pytest.approx(best.value, rel=1e-5)


def test_the_report_has_the_averages_next_to_the_weights(invoke: Any, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps({**LINEAR, "training": {"epochs": 3, "ema": 0.5}}))
    shown = invoke("train", path, "--runs-dir", tmp_path / "runs").stdout
    assert "\nema loss" in shown
    assert "swa" not in shown


def test_a_sweep_over_averages_is_one_stack(tmp_path: Path) -> None:
    axes: dict[str, list[Any]] = {"training.ema": [0.0, 0.9], "training.swa": [None, {"start": 3}]}
    sweep = regrun.sweep(LINEAR, axes, runs_dir=tmp_path, device="cpu")
    cells = sweep.summary.cells
    assert sweep.summary.completed == 4
    for cell in cells:
        has = {label for label in ("ema", "swa") if f"{label}/test/loss" in cell.metrics}
        wanted = [("ema", cell.params["training.ema"]), ("swa", cell.params["training.swa"])]
        assert has == {label for label, value in wanted if value}


def test_the_update_rule_names_what_acts_on_the_gradient_and_the_averages(invoke: Any) -> None:
    from regrun.inspection.update_rule import update_rule

    training = {
        "epochs": 20, "clip_value": 0.1, "clip_norm": 2, "ema": 0.99,
        "swa": {"start": 0.5, "every": 2, "lr": 0.01},
    }  # fmt: skip
    optimizer = {"name": "sgd", "lr": 0.1, "weight_decay": 0.3, "sam": 0.05}
    rule = update_rule(
        Config.model_validate({**LINEAR, "optimizer": optimizer, "training": training})
    )
    start = rule.index("g = ∂J/∂w")
    assert rule[start + 1 : start + 4] == [
        "g ← g at w + 0.05 g / ‖g‖₂   (SAM; ‖·‖₂ over all parameters)",
        "g ← min(max(g, −0.1), 0.1)",
        "g ← g · min(1, 2 / ‖g‖₂)   (‖·‖₂ over all parameters)",
    ]
    assert rule[start + 4].startswith("g ← g + 0.3 w   (weight decay, coupled")
    assert "η_t = 0.01 after epoch 10   (SWA)" in rule
    assert rule[-2:] == [
        "m ← 0.99 m + 0.01 w;  m / (1 − 0.99ᵗ) is measured next to w   (EMA)",
        "the mean of w after epochs 10, 12, …, 20 is measured next to w   (SWA)",
    ]
    plain = "\n".join(update_rule(Config.model_validate(LINEAR)))
    assert not any(word in plain for word in ("SAM", "EMA", "SWA", "min(", "‖g‖"))


def test_the_memory_of_copies_is_counted() -> None:
    def copies(optimizer: dict[str, Any], **training: Any) -> int:
        optimizer = {"name": "sgd", "lr": 0.1, **optimizer}
        section = {**LINEAR, "optimizer": optimizer, "training": training}
        return tensor_copies([Config.model_validate(section)])

    plain = copies({})
    assert copies({}, ema=0.9) == copies({}, swa={}) == copies({}, clip_norm=1.0) == plain + 1
    assert copies({}, r_drop={}) == plain + 1
    assert copies({"lookahead": {}}) == copies({"sam": 0.1}) == plain + 2
    assert copies({}, ema=0.9, swa={}) == plain + 2
    stopping = {"metric": "test/loss"}
    assert copies({}, early_stopping=stopping) == plain + 1
    assert copies({}, early_stopping=stopping, ema=0.9, swa={}) == plain + 5


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("optimizer.sam", -0.1, "-0.1 is below 0"),
        ("training.clip_norm", 0, "0 is not above 0"),
        ("training.clip_value", -1, "-1 is not above 0"),
        ("training.ema", 1, r"1 is not in \[0, 1\)"),
        ("training.swa", {"start": 0}, "0 is not above 0|0 is below 1"),
        ("training.swa", {"start": 5}, "5 is not within the 4 training.epochs"),
        ("training.swa", {"every": 0}, "0 is below 1"),
        ("training.swa", {"lr": 0}, "0 is not above 0"),
        ("training.swa", {"begin": 1}, "unknown key"),
    ],
)
def test_what_cannot_be_is_refused(key: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config_from_mapping(LINEAR, {key: value})


def test_the_best_of_an_average_is_reported_and_the_raw_weights_of_that_epoch_are_stored(
    train: Any,
) -> None:
    stopping = {"metric": "ema/val/accuracy", "patience": 3}
    run = train(DIGITS, {"training.ema": 0.8, "training.early_stopping": stopping,
                         "training.epochs": 30, "optimizer.lr": 0.03})  # fmt: skip
    rows, best = rows_in(run.directory), run.summary.best
    assert best.metric == "ema/val/accuracy"
    assert best.value == max(row["ema/val/accuracy"] for row in rows)
    (there,) = [row for row in rows if row["epoch"] == best.epoch]
    assert there != rows[-1], "the best was the last"
    assert loss_of(run, None) == pytest.approx(there["test/loss"], rel=1e-5)
    assert loss_of(run, "ema") == pytest.approx(there["ema/test/loss"], rel=1e-5)


def test_an_average_that_begins_late_has_a_best_only_from_then_on(train: Any) -> None:
    stopping = {"metric": "swa/test/loss", "patience": 1}
    run = train(LINEAR, {"training.swa": {"start": 3}, "training.early_stopping": stopping})
    assert run.summary.best.epoch >= 3
    assert len(rows_in(run.directory)) == 4


NO_AVERAGE = [
    ({"training.early_stopping": {"metric": "ema/test/loss"}}, "ema/test/loss needs training.ema"),
    ({"training.early_stopping": {"metric": "swa/test/loss"}}, "swa/test/loss needs training.swa"),
    ({"sweep": {"seeds": 2, "metric": "ema/test/loss"}}, "ema/test/loss needs training.ema"),
    (
        {"training.ema": 0.5, "sweep": {"seeds": 2, "metric": "ema/val/loss"}},
        "ema/val/loss needs dataset.validation",
    ),
]


@pytest.mark.parametrize(("overrides", "message"), NO_AVERAGE)
def test_the_metric_of_an_average_that_is_not_kept_is_refused(
    overrides: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        config_from_mapping(LINEAR, overrides)
    assert error.value.problems[0].path[-1] == "metric"


def test_a_sweep_can_be_led_by_an_average_that_every_cell_keeps(
    invoke: Any, tmp_path: Path
) -> None:
    grid = {"training.ema": [0.5, 0.9]}
    section = {"grid": grid, "seeds": 2, "metric": "ema/val/loss"}
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps({**DIGITS, "sweep": {**section, "pruner": "asha"}}))
    shown = invoke("sweep", path, "--runs-dir", tmp_path / "runs", "--json")
    best = json.loads(shown.stdout)["best"]
    assert (best["metric"], best["selected_on"]) == ("ema/val/loss", "val")
    path.write_text(json.dumps({**DIGITS, "sweep": section}))
    text = invoke("sweep", path, "--runs-dir", tmp_path / "runs", env={"COLUMNS": "200"}).stdout
    assert "lowest ema/val/loss: training.ema=" in text
    assert "ema/val/loss" in text.splitlines()[0], "no column of what they are chosen by"

    grid["training.ema"] = [0.0, 0.9]
    path.write_text(json.dumps({**DIGITS, "sweep": section}))
    refused = invoke("sweep", path, "--runs-dir", tmp_path / "none")
    assert refused.exit_code == 2
    message = "sweep.metric: ema/val/loss needs training.ema, and there is a cell without it: ema=0"
    assert message in refused.stderr
    assert not list((tmp_path / "none").glob("*/*"))
