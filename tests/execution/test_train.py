"""A run from its config to everything it leaves behind."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

import regrun
from regrun.config.load import config_from_mapping
from regrun.data.dataset import Dataset
from regrun.errors import (
    ConfigError,
    CorruptInputError,
    DivergedError,
    OutOfMemoryError,
    UsageError,
)
from regrun.results import Best
from regrun.stored import Run
from regrun.training.step import Step
from tests.support.runs import DIGITS, LINEAR, results, rows_in
from tests.support.tampering import relist, write_yaml

SPLITS = ("train", "val", "test")
ELASTIC = {"type": "elastic_net", "strength": 1e-3, "l1_ratio": 0.3}


def events_of(directory: Path) -> Any:
    from tensorboard.backend.event_processing import event_accumulator

    return event_accumulator.EventAccumulator(
        str(directory), size_guidance={"scalars": 0, "tensors": 0}
    ).Reload()


def dataset_of(run: Run, dtype: torch.dtype = torch.float32) -> Dataset:
    config = config_from_mapping(run.directory / "config.yaml").config
    return config.dataset.load().to("cpu", dtype)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A classifier with a validation split and two penalties, without noise."""
    model = {"name": "mlp", "hidden": [8, 6]}
    config = {**DIGITS, "model": model, "penalty": [{"type": "l2", "strength": 0.01}, ELASTIC]}
    return regrun.train(config, runs_dir=tmp_path_factory.mktemp("runs"), device="cpu")


def test_a_run_leaves_the_files_of_the_contract_and_no_others(finished: Run) -> None:
    found = {
        str(path.relative_to(finished.directory))
        for path in finished.directory.rglob("*")
        if not path.name.startswith("events.out.tfevents.") and path.parent.name != "checkpoints"
    }
    assert found == {
        "config.yaml", "metrics.jsonl", "summary.json", "weights.safetensors",
        "data.json", "preprocessing.json", "checkpoints", "train", "val", "test",
    }  # fmt: skip
    for folder in (".", *SPLITS):
        assert len(list((finished.directory / folder).glob("events.out.tfevents.*"))) == 1, folder


def test_a_line_of_metrics_has_the_tags_of_the_contract(finished: Run) -> None:
    rows = rows_in(finished.directory)
    assert [(row["epoch"], row["step"]) for row in rows] == [(1, 4), (2, 8), (3, 12)]
    for row in rows:
        assert set(row) == {
            "epoch", "step", "lr", "objective", "weights/l1", "weights/l2", "weights/sparsity",
            *(f"{split}/{metric}" for split in SPLITS for metric in ("loss", "accuracy")),
            "penalty/l2", "penalty/elastic_net", "penalty/elastic_net/l1", "penalty/elastic_net/l2",
        }  # fmt: skip
        parts = row["train/loss"] + row["penalty/l2"] + row["penalty/elastic_net"]
        assert row["objective"] == pytest.approx(parts, rel=1e-6)


def test_the_summary_has_the_keys_of_the_contract(finished: Run) -> None:
    summary = json.loads((finished.directory / "summary.json").read_text())
    assert summary.keys() >= {
        "run_dir", "status", "epochs", "steps", "device", "metrics", "best", "weights", "penalty",
        "seconds",
    }  # fmt: skip
    assert (summary["status"], summary["epochs"], summary["steps"]) == ("completed", 3, 12)
    assert summary["device"] == "cpu"
    assert summary["run_dir"] == str(finished.directory)
    last, best = rows_in(finished.directory)[-1], summary["best"]
    assert summary["metrics"] == {
        tag: value for tag, value in last.items() if tag.startswith(SPLITS) or tag == "objective"
    }
    assert best["metric"] == "val/loss"
    assert best["value"] == min(row["val/loss"] for row in rows_in(finished.directory))
    assert summary["seconds"].keys() == {"total", "train", "data"}
    assert summary["penalty"] == {
        tag[8:]: value for tag, value in last.items() if tag.startswith("penalty/")
    }
    weights = load_file(finished.directory / "weights.safetensors")
    matrices = {name: w.double() for name, w in weights.items() if name.endswith("weight")}
    assert summary["weights"]["per_layer"].keys() == matrices.keys()
    squares = sum(w.square().sum().item() for w in matrices.values())
    assert summary["weights"]["l2"] == pytest.approx(squares**0.5, rel=1e-6)
    total = sum(w.abs().sum().item() for w in matrices.values())
    assert summary["weights"]["l1"] == pytest.approx(total, rel=1e-6)


def test_tensorboard_holds_the_values_of_the_metrics(finished: Run) -> None:
    rows = rows_in(finished.directory)
    for folder in (".", *SPLITS):
        events = events_of(finished.directory / folder)
        prefix = "" if folder == "." else f"{folder}/"
        expected = {
            tag.removeprefix(prefix)
            for tag in rows[0]
            if tag not in ("epoch", "step")
            and (tag.startswith(prefix) if prefix else not tag.startswith(SPLITS))
        }
        assert set(events.Tags()["scalars"]) == expected
        for tag in expected:
            points = [(point.step, point.value) for point in events.Scalars(tag)]
            assert points == [(row["step"], np.float32(row[prefix + tag])) for row in rows]


def test_the_hyper_parameters_lie_in_the_runs_own_directory(finished: Run) -> None:
    from tensorboard.plugins.hparams import plugin_data_pb2

    found: dict[str, Any] = {}
    for tag, metadata in events_of(finished.directory).summary_metadata.items():
        if metadata.plugin_data.plugin_name == "hparams":
            content = plugin_data_pb2.HParamsPluginData.FromString(metadata.plugin_data.content)
            found[tag] = content
    assert set(found) == {"_hparams_/session_start_info", "_hparams_/session_end_info"}
    settings = found["_hparams_/session_start_info"].session_start_info.hparams
    assert settings["optimizer.lr"].number_value == 0.01
    assert settings["penalty.1.l1_ratio"].number_value == 0.3
    assert settings["model.name"].string_value == "mlp"


@pytest.mark.parametrize("base", [LINEAR, DIGITS], ids=["linear", "digits"])
def test_the_stored_config_alone_gives_the_same_run_to_the_last_bit(
    base: dict[str, Any], train: Any
) -> None:
    first = train(base, {"seed": 3, "penalty": ELASTIC, "schedule": "cosine"})
    second = train(first.directory / "config.yaml")
    assert second.directory != first.directory
    assert results(second.directory) == results(first.directory)


def test_another_seed_is_another_run(train: Any) -> None:
    first, second = train(LINEAR, {"seed": 0}), train(LINEAR, {"seed": 1})
    assert rows_in(first.directory)[-1]["train/loss"] != rows_in(second.directory)[-1]["train/loss"]


def test_evaluate_every_thins_the_rows_but_keeps_the_last_epoch(train: Any) -> None:
    every, third = (train(LINEAR, {"training.evaluate_every": n}) for n in (1, 3))
    assert rows_in(third.directory) == [
        row for row in rows_in(every.directory) if row["epoch"] in (3, 4)
    ]


def test_a_run_that_diverges_says_at_which_step_and_stores_no_weights(train: Any) -> None:
    run = train(LINEAR, {"optimizer.lr": 1e30, "training.epochs": 20})
    summary = json.loads((run.directory / "summary.json").read_text())
    assert summary["status"] == "diverged"
    assert not (run.directory / "weights.safetensors").exists()
    assert not (run.directory / "checkpoints").exists()
    # By plain gradient descent: at which step is the loss no number any more?
    assert summary["diverged_at_step"] == summary["steps"] == first_bad_step(lr=1e30)
    with pytest.raises(UsageError, match="diverged"):
        regrun.load_model(run.directory)


def first_bad_step(lr: float) -> int:
    """For a linear model under float32 SGD on LINEAR's data, whatever weights it starts from."""
    from regrun.kinds.models import build_model
    from regrun.seeding import derive
    from regrun.training.batches import epoch_order

    config = config_from_mapping(LINEAR).config
    data = config.dataset.load().to("cpu", torch.float32).train
    model = build_model(config.model, (12,), 1, derive(0, "init"))
    optimizer = torch.optim.SGD(model.parameters(), lr)
    for step in range(100):
        order = epoch_order([0], step // 2, 10)[0]
        batch = order[5 * (step % 2) : 5 * (step % 2) + 5]
        loss = (model(data.inputs[batch]) - data.targets[batch]).square().mean()
        if not torch.isfinite(loss):
            return step + 1
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    raise AssertionError("did not diverge")


def test_a_diverged_run_ends_with_code_3(invoke: Any, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(LINEAR))
    result = invoke("train", path, "optimizer.lr=1e30", "--json", "--runs-dir", tmp_path / "runs")
    assert result.exit_code == 3
    assert json.loads(result.stdout)["status"] == "diverged"


def test_early_stopping_keeps_the_weights_of_the_best_epoch(train: Any) -> None:
    run = train(
        DIGITS,
        {
            "optimizer.lr": 0.05,
            "training.epochs": 60,
            "training.early_stopping": {"metric": "test/loss", "patience": 3},
        },
    )
    losses = [row["test/loss"] for row in rows_in(run.directory)]
    best = int(np.argmin(losses))
    assert best < len(losses) - 1 < 59, "nothing was restored"
    assert run.summary.best == Best(epoch=best + 1, metric="test/loss", value=losses[best])
    assert run.summary.metrics["test/loss"] == losses[best]
    assert plain_test_loss(run) == pytest.approx(losses[best], rel=1e-5)


def plain_test_loss(run: Run, dtype: torch.dtype = torch.float32) -> float:
    """The stored weights on the test set, by torch alone."""
    model, data = regrun.load_model(run.directory), dataset_of(run, dtype)
    assert not model.training
    with torch.no_grad():
        outputs = model(data.features(data.test.inputs, dtype)).double()
    if data.task == "classification":
        return torch.nn.functional.cross_entropy(outputs, data.test.targets).item()
    return torch.nn.functional.mse_loss(outputs, data.test.targets.double()).item()


MODELS: dict[str, dict[str, Any]] = {
    "mlp": {"name": "mlp", "hidden": [8, 6], "dropout": [0.1, 0.2], "activation": "tanh"},
    "linear": {"name": "linear", "input_dropout": 0.1},
    "cnn": {"name": "cnn", "channels": [3, 4], "hidden": [5], "norm": "batch"},
    "squeezenet1_1": {"name": "squeezenet1_1"},
    "mnasnet0_5": {"name": "mnasnet0_5"},
}


@pytest.mark.parametrize("name", MODELS)
def test_a_loaded_model_gives_the_stored_test_loss(name: str, train: Any) -> None:
    run = train({**DIGITS, "model": MODELS[name]}, {"training.epochs": 1, "optimizer.lr": 1e-3})
    assert plain_test_loss(run) == pytest.approx(run.summary.metrics["test/loss"], rel=2e-5)
    regression = train(LINEAR)
    expected = regression.summary.metrics["test/loss"]
    assert plain_test_loss(regression) == pytest.approx(expected, rel=2e-5)


def test_weights_of_another_network_are_not_loaded(train: Any) -> None:
    run = train(DIGITS)
    config = run.directory / "config.yaml"
    write_yaml(config, config.read_text().replace("hidden: [8, 6]", "hidden: [8, 7]"))
    relist(run.directory)
    with pytest.raises(CorruptInputError, match=r"weights\.safetensors: damaged: tensor hidden\.1"):
        regrun.load_model(run.directory)


def test_an_unfinished_run_has_no_model(train: Any) -> None:
    run = train(LINEAR)
    (run.directory / "summary.json").unlink()
    with pytest.raises(UsageError, match="interrupted"):
        regrun.load_model(run.directory)


def test_float64_trains_and_stores_in_double_precision(train: Any) -> None:
    run = train(LINEAR, {"training.precision": "float64", "training.epochs": 10})
    weights = load_file(run.directory / "weights.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float64}
    loss = run.summary.metrics["test/loss"]
    assert plain_test_loss(run, torch.float64) == pytest.approx(loss, rel=1e-13)
    single = train(LINEAR, {"training.epochs": 10}).summary.metrics["test/loss"]
    assert 0 < abs(single - loss) < 1e-4 * loss


def test_bfloat16_is_autocast_over_float32_parameters(train: Any) -> None:
    overrides = {"training.epochs": 5}
    exact = train(DIGITS, overrides).summary.metrics["train/loss"]
    run = train(DIGITS, {**overrides, "training.precision": "bfloat16"})
    weights = load_file(run.directory / "weights.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
    loss = run.summary.metrics["train/loss"]
    assert loss != exact
    assert loss == pytest.approx(exact, rel=0.05)


def test_a_full_batch_is_plain_gradient_descent(train: Any) -> None:
    run = train(
        LINEAR,
        {
            "training.batch_size": "full",
            "training.epochs": 30,
            "training.precision": "float64",
            "model.init": "zeros",
        },
    )
    assert run.summary.steps == 30
    data = dataset_of(run, torch.float64).train
    x, y = data.inputs.numpy(), data.targets.numpy()[:, 0]
    w, b = np.zeros(12), 0.0
    for _ in range(30):
        residual = x @ w + b - y
        w, b = w - 0.01 * 2 * x.T @ residual / 10, b - 0.01 * 2 * residual.mean()
    weights = load_file(run.directory / "weights.safetensors")
    np.testing.assert_allclose(weights["output.weight"].numpy()[0], w, rtol=1e-12)
    np.testing.assert_allclose(weights["output.bias"].numpy(), [b], rtol=1e-12)


TOO_LARGE = [
    "model: {name: mlp, hidden: [1000000000]}",
    "training: {epochs: 1000000000000}",
    "training: {epochs: 1000000000, batch_size: 1}",
    "dataset: {name: synthetic_linear, num_train: 2000000000}",
    "model: {name: vit_h_14}",
]


@pytest.mark.parametrize("text", TOO_LARGE)
def test_what_the_machine_cannot_do_is_refused_with_its_place(
    text: str, invoke: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr("regrun.execution.budget.available_bytes", lambda device: 4 * 10**9)
    sections = {
        "dataset": "dataset: {name: digits}",
        "model": "model: {name: linear}",
        "optimizer": "optimizer: {name: sgd, lr: 0.1}",
    }
    sections[text.partition(":")[0]] = text
    path = tmp_path / "large.yaml"
    path.write_text("\n".join(sections.values()) + "\n")
    line = list(sections).index(text.partition(":")[0]) + 1
    before = peak_memory()
    result = invoke("train", path, "--runs-dir", tmp_path / "runs")
    assert result.exit_code == 2
    assert result.stderr.startswith(f"{path}:{line}:")
    assert peak_memory() - before < 200e6
    assert not list((tmp_path / "runs").glob("*")), "a refused run left something behind"


def peak_memory() -> float:
    """Bytes that this process held at most."""
    import resource

    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def test_allow_large_tries_it_anyway(invoke: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("regrun.execution.budget.available_bytes", lambda device: 1000)
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(LINEAR))
    refused = invoke("train", path, "--runs-dir", tmp_path / "runs")
    assert refused.exit_code == 2
    assert "--allow-large" in refused.stderr
    tried = invoke("train", path, "--allow-large", "--runs-dir", tmp_path / "runs", "--quiet")
    assert tried.exit_code == 0


@pytest.mark.parametrize("device", ["cuda", "cuda:7"])
@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_gpu_that_is_not_there_is_refused(device: str, invoke: Any, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(LINEAR))
    result = invoke("train", path, "--device", device, "--runs-dir", tmp_path / "runs")
    assert result.exit_code == 2
    assert f"--device {device}: this machine has 0" in result.stderr


ILL_FITTING: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "a penalty on nothing": (
        LINEAR, {"penalty": {"type": "l1", "strength": 1, "apply_to": "norm"}}, "apply_to",
    ),
    "decay on nothing": (LINEAR, {"optimizer.decay_on": "hidden.*"}, "optimizer.decay_on"),
    "accuracy of numbers": (
        {**LINEAR, "dataset": {"name": "csv", "path": "numbers.csv", "target": "y"}},
        {"training.early_stopping": {"metric": "test/accuracy"}},
        "training.early_stopping.metric: test/accuracy needs classes",
    ),
    "batch norm over one example": (
        {**DIGITS, "model": {"name": "resnet18"}},
        {"training.batch_size": 59},
        "training.batch_size=59: 59 leaves a batch of one of the 60",
    ),
    "pictures too small to keep": (
        {**DIGITS, "model": {"name": "alexnet", "small_images": "keep"}},
        {},
        "model.name: inputs of shape [1, 8, 8]",
    ),
    "a picture network on a table": (
        {**LINEAR, "model": {"name": "cnn"}}, {}, "model.name: cnn needs images",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ILL_FITTING)
def test_what_does_not_go_together_is_refused_before_anything_is_written(
    case: str, train: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = [f"{i / 7},{i * i / 3}" for i in range(40)]
    Path("numbers.csv").write_text("\n".join(["x,y", *lines]))
    config, overrides, message = ILL_FITTING[case]
    with pytest.raises(ConfigError) as error:
        train(config, overrides)
    assert message in str(error.value)
    assert not (tmp_path / "runs").exists()


def test_the_train_loss_of_a_large_set_is_measured_on_a_fixed_part(train: Any) -> None:
    whole = train(DIGITS, {"training.evaluate_train": "all"})
    part = train(DIGITS, {"training.evaluate_train": 20})
    assert rows_in(whole.directory)[-1]["test/loss"] == rows_in(part.directory)[-1]["test/loss"]
    assert rows_in(whole.directory)[-1]["train/loss"] != rows_in(part.directory)[-1]["train/loss"]


def test_the_python_api_reads_back_what_was_stored(train: Any) -> None:
    run = train(LINEAR, {"optimizer.weight_decay": 0.5})
    again = regrun.load_run(str(run.directory))
    assert again.summary == run.summary
    assert again.config["optimizer"]["weight_decay"] == 0.5
    assert list(again.metrics["step"]) == [2, 4, 6, 8]
    assert again.metrics["test/loss"].iloc[-1] == run.summary.metrics["test/loss"]
    with pytest.raises(UsageError, match="not a run directory"):
        regrun.load_run(os.devnull)


def test_the_config_of_a_run_is_written_once_and_durably(
    train: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[tuple[str, bool]] = []
    synced: list[int] = []
    replace, fsync = os.replace, os.fsync

    def note_replace(source: str, target: str, **folders: int) -> None:
        written.append((target, bool(synced)))
        synced.clear()
        replace(source, target, **folders)

    def note_fsync(descriptor: int) -> None:
        synced.append(descriptor)
        fsync(descriptor)

    monkeypatch.setattr(os, "replace", note_replace)
    monkeypatch.setattr(os, "fsync", note_fsync)
    train(LINEAR)
    assert [durable for name, durable in written if name == "config.yaml"] == [True]


def test_a_run_that_diverges_ends_the_program_with_its_error(invoke: Any, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps(LINEAR))
    arguments = ["optimizer.lr=1e30", "training.epochs=20", "--runs-dir", tmp_path / "runs"]
    ended = invoke("train", path, *arguments, "--json", "--quiet")
    assert ended.exit_code == DivergedError.exit_code == 3
    assert json.loads(ended.stdout)["status"] == "diverged"
    assert ended.stderr == "the run diverged\n"


@pytest.mark.parametrize(
    ("precision", "instead"), [("float32", "training.precision: bfloat16"), ("float64", "float32")]
)
def test_a_run_that_runs_out_of_memory_says_what_to_change_and_can_go_on(
    precision: str, instead: str, invoke: Any, tmp_path: Path, train: Any, monkeypatch: Any
) -> None:
    training = {"epochs": 3, "precision": precision, "checkpoint_every": 0}
    config = {**LINEAR, "name": "run", "training": training}
    write_yaml(tmp_path / "config.yaml", yaml.safe_dump(config))
    take = Step.__call__

    def short(step: Step, number: int) -> torch.Tensor:
        if number == 2:
            torch.empty(10**15)
        return take(step, number)

    with monkeypatch.context() as patched:
        patched.setattr(Step, "__call__", short)
        ended = invoke("train", tmp_path / "config.yaml", "--runs-dir", tmp_path / "runs")
        assert ended.exit_code == 4
        with pytest.raises(OutOfMemoryError, match="use a smaller model"):
            regrun.train(config, runs_dir=tmp_path / "python", device="cpu")
    (directory,) = (tmp_path / "runs").glob("*/*")
    said = ended.stderr.splitlines()[-1]
    assert said.startswith("out of memory: 4.0 PB were asked for at once; ")
    assert "; use a smaller model, a smaller training.batch_size or " in said
    assert f"{instead}; or, once more memory is free: regrun resume {directory}" in said
    resumed = regrun.resume(directory)
    assert isinstance(resumed, Run)
    assert results(directory) == results(train(config).directory)
