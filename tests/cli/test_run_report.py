"""The report of a run and the commands that it suggests, from real and from made summaries."""

from __future__ import annotations

import io
import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import regrun
from regrun.cli.run_report import after_training, run_report, warnings
from regrun.config.load import config_from_mapping
from regrun.results import Best, RunSummary, Seconds, WeightNorms
from regrun.stored import Run

CONFIG: dict[str, Any] = {"name": "toy", "seed": 7}
SUMMARY = RunSummary(
    run_dir="runs/toy/x",
    status="completed",
    epochs=100,
    steps=400,
    device="cpu",
    metrics={"train/loss": 0.25, "test/loss": 1.75, "objective": 1.25},
    best=Best(epoch=40, metric="test/loss", value=1.5),
    weights=WeightNorms(l1=3.0, l2=13.0, sparsity=0.25),
    penalty={"l1": 1.0},
    seconds=Seconds(total=0.5),
)
DIGITS: dict[str, Any] = {
    "name": "toy",
    "seed": 7,
    "dataset": {"name": "digits", "num_train": 60, "num_test": 40, "validation": 20},
    "model": {"name": "mlp", "hidden": [6]},
    "optimizer": {"name": "sgd", "lr": 0.1},
    "training": {"epochs": 3, "batch_size": 20},
}


def summary(**changes: Any) -> RunSummary:
    return SUMMARY.model_copy(update=changes)


def text_of(content: RunSummary) -> str:
    shown = io.StringIO()
    console = Console(file=shown, width=120)
    for part in run_report(content, CONFIG, []):
        console.print(part)
    return shown.getvalue()


def trained(tmp_path: Path, overrides: dict[str, Any] | None = None) -> Run:
    return regrun.train(DIGITS, overrides, runs_dir=tmp_path, device="cpu")


def test_the_numbers_that_matter_are_there() -> None:
    text = text_of(SUMMARY)
    for figure in ("toy, seed 7", "100 epochs, 400 steps", "0.25", "1.75", "1.5", "13", "25%"):
        assert figure in text
    (loss,) = [line for line in text.splitlines() if line.startswith("loss")]
    assert loss.split() == ["loss", "0.25", "1.75", "1.5"]  # train, test, gap


def test_accuracy_and_validation_have_their_places(tmp_path: Path) -> None:
    run = trained(tmp_path)
    lines = text_of(run.summary).splitlines()
    rows = {line.split()[0]: line.split()[1:] for line in lines if line.strip()}
    for quantity in ("loss", "accuracy"):
        values = [run.summary.metrics[f"{split}/{quantity}"] for split in ("train", "val", "test")]
        assert rows[quantity][:3] == [f"{value:.4g}" for value in values]


def test_penalties_stand_apart_from_the_loss() -> None:
    text = text_of(SUMMARY)
    assert "penalty    l1 1   objective 1.25" in text
    assert "penalty" not in text_of(summary(penalty={}))


@pytest.mark.parametrize(("penalty", "warned"), [(25.0, False), (25.1, True), (None, False)])
def test_a_penalty_above_100_times_the_data_loss_is_warned_of(
    penalty: float | None, warned: bool
) -> None:
    lines = warnings(summary(penalty={"l1": penalty}))
    assert bool(lines) == warned
    if warned:
        assert "penalty/l1 is 100 times the data loss" in lines[0]


def test_a_diverged_run_says_when_and_what_helps(tmp_path: Path) -> None:
    run = trained(tmp_path, {"optimizer.lr": 1e30})
    text = text_of(run.summary)
    assert "toy, seed 7: diverged in epoch 1, at step 2 in " in text  # of 3 in an epoch
    assert "not a number at step 2" in text
    assert "gap (test" not in text  # a head without a row
    assert "learning rate" in text


def test_one_epoch_of_one_step_is_singular() -> None:
    assert "completed after 1 epoch, 1 step in" in text_of(summary(epochs=1, steps=1))
    assert "completed after 100 epochs, 400 steps in" in text_of(SUMMARY)


def test_a_run_that_early_stopping_ended_says_so(tmp_path: Path) -> None:
    early = {"training.epochs": 50, "training.early_stopping": {"patience": 1, "min_delta": 9.0}}
    stopped = trained(tmp_path, early)
    assert stopped.summary.epochs < 50
    assert f"completed (stopped early) after {stopped.summary.epochs} epochs" in text_of(
        stopped.summary
    )
    whole = trained(tmp_path, {"training.early_stopping": {"patience": 10}})
    assert "completed after 3 epochs" in text_of(whole.summary)


WEIGHT_DECAY: dict[str, Any] = {
    "dataset": {"name": "synthetic_linear"},
    "model": {"name": "linear"},
    "optimizer": {"name": "sgd", "lr": 0.003},
}
OVERFIT = RunSummary(
    run_dir="runs/weight-decay/x",
    status="completed",
    steps=400,
    metrics={"train/loss": 1e-9, "test/loss": 170.0},
)


def first(summary: RunSummary, config: dict[str, Any]) -> str:
    directory = Path("runs/weight-decay/x")
    loaded = config_from_mapping(config).config
    return after_training(summary, loaded, Path("c.yaml"), directory, Path("runs"))[0]


def with_changes(**sections: Any) -> dict[str, Any]:
    return {**WEIGHT_DECAY, **sections}


def test_an_overfit_run_is_answered_with_the_weight_decay_of_the_source_experiment() -> None:
    assert first(OVERFIT, WEIGHT_DECAY) == "regrun train c.yaml optimizer.weight_decay=3"


def test_the_decay_scales_with_learning_rate_and_steps() -> None:
    config = with_changes(optimizer={"name": "sgd", "lr": 0.1, "weight_decay": 0.0})
    command = first(OVERFIT.model_copy(update={"steps": 10_000}), config)
    assert command.endswith("optimizer.weight_decay=0.004")


def test_a_hidden_layer_under_adam_gets_dropout() -> None:
    config = with_changes(
        model={"name": "mlp", "hidden": [64], "dropout": 0.0},
        optimizer={"name": "adam", "lr": 0.001, "weight_decay": 0.0},
    )
    assert first(OVERFIT, config).endswith("model.dropout=0.5")


@pytest.mark.parametrize(
    "section",
    [
        {"optimizer": {"name": "sgd", "lr": 0.1, "weight_decay": 3.0}},
        {"penalty": [{"type": "l1", "strength": 0.1}]},
        {"model": {"name": "mlp", "hidden": [4, 4], "dropout": [0.0, 0.5]}},
        {"constraints": [{"type": "max_norm", "limit": 3.0}]},
        {"optimizer": {"name": "sgd", "lr": 0.1, "sam": 0.05}},
        {"model": {"name": "mlp", "norm": "batch"}},
        {"training": {"clip_norm": 1.0}},
        {"training": {"early_stopping": {"metric": "test/loss"}}},
    ],
)
def test_a_regularized_run_is_compared_instead(section: dict[str, Any]) -> None:
    assert first(OVERFIT, with_changes(**section)) == "regrun compare runs/weight-decay"


def test_a_run_that_does_not_overfit_is_compared() -> None:
    fine = OVERFIT.model_copy(update={"metrics": {"train/loss": 1.0, "test/loss": 1.2}})
    assert first(fine, WEIGHT_DECAY) == "regrun compare runs/weight-decay"


def test_a_diverged_run_is_tried_with_a_tenth_of_the_learning_rate() -> None:
    diverged = OVERFIT.model_copy(update={"status": "diverged"})
    assert first(diverged, WEIGHT_DECAY) == "regrun train c.yaml optimizer.lr=0.0003"
    own_step = with_changes(optimizer={"name": "fista"}, training={"batch_size": "full"})
    assert first(diverged, own_step) == "regrun train c.yaml training.precision=float64"


def test_commands_can_be_pasted_whatever_the_path() -> None:
    config_path, directory = Path("my configs/c.yaml"), Path("my runs/a b/x")
    config = config_from_mapping(WEIGHT_DECAY).config
    commands = after_training(OVERFIT, config, config_path, directory, Path("my runs"))
    assert shlex.split(commands[0])[2] == "my configs/c.yaml"
    assert shlex.split(commands[1]) == ["regrun", "compare", "my runs/a b"]
    assert shlex.split(commands[-1]) == ["regrun", "view", "my runs"]


def test_r_drop_without_noise_is_noted(invoke: Any, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(
        "dataset: {name: digits, num_train: 60}\nmodel: {name: mlp, hidden: [4]}\n"
        "optimizer: {name: sgd, lr: 0.1}\ntraining: {epochs: 1, r_drop: {}}\n"
    )
    for words in (("train", path, "--runs-dir", tmp_path), ("inspect", path)):
        for noise in ([], ["model.dropout=0.1"], ["model.input_noise=0.1"]):
            result = invoke(*words, *noise)
            noted = "note: training.r_drop only doubles the passes" in result.stdout + result.stderr
            assert noted == (not noise)


def test_a_key_without_effect_is_noted_in_a_run_and_not_in_a_sweep(
    invoke: Any, tmp_path: Path
) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(
        "dataset: {name: digits, num_train: 60}\nmodel: {name: linear}\n"
        "optimizer: {name: sgd, lr: 0.1}\ntraining: {epochs: 2}\n"
        "schedule: {type: multistep, milestones: [1, 5]}\nsweep: {seeds: 2}\n"
    )
    note = "note: schedule.milestones: 5: never reached, as the run ends after 2 epochs"
    for words in (("train", path, "--runs-dir", tmp_path), ("inspect", path)):
        result = invoke(*words)
        assert note in " ".join((result.stdout + result.stderr).split())
    assert "never reached" not in invoke("sweep", path, "--runs-dir", tmp_path).stderr


def test_choosing_by_the_test_set_is_marked(invoke: Any, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(
        "dataset: {name: digits, num_train: 60}\nmodel: {name: linear}\n"
        "optimizer: {name: sgd, lr: 0.1}\n"
        "training: {epochs: 2, early_stopping: {metric: test/loss}}\n"
    )
    result = invoke("train", path, "--runs-dir", tmp_path)
    assert "early stopping chooses by test/loss, which flatters the test set" in result.stderr
    assert "(chosen by the test set, which flatters it)" in result.stdout
    summary = json.loads(invoke("train", path, "--runs-dir", tmp_path, "--json").stdout)
    assert summary["best"]["selected_on"] == "test"
    assert summary["early_stopping"] == "test/loss"
    warning = "early stopping chooses by test/loss, which flatters the test set"
    assert any(note.startswith(warning) for note in summary["data"]["notes"])
    assert warning in invoke("inspect", path).stdout
    words = ("dataset.validation=0.2", "training.early_stopping=null")
    result = invoke("train", path, *words, "--runs-dir", tmp_path)
    assert "flatters" not in result.stdout + result.stderr
    assert "flatters" not in invoke("inspect", path, *words).stdout
    summary = json.loads(invoke("train", path, *words, "--runs-dir", tmp_path, "--json").stdout)
    assert summary["best"]["selected_on"] == "val" and "early_stopping" not in summary


def test_without_a_validation_set_the_best_epoch_is_marked_as_the_test_sets(
    invoke: Any, tmp_path: Path
) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(
        "dataset: {name: digits, num_train: 60}\nmodel: {name: linear}\n"
        "optimizer: {name: sgd, lr: 0.1}\ntraining: {epochs: 2}\n"
    )
    result = invoke("train", path, "--runs-dir", tmp_path)
    (best,) = [line for line in result.stdout.splitlines() if line.startswith("best ")]
    assert "test/loss" in best and "(chosen by the test set, which flatters it)" in best
    summary = json.loads(invoke("train", path, "--runs-dir", tmp_path, "--json").stdout)
    assert summary["best"]["selected_on"] == "test" and "early_stopping" not in summary
