"""Finished runs that are trained for more epochs are runs of that many epochs, bit for bit."""

from __future__ import annotations

import errno
import json
import shutil
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

import regrun
from regrun.config.load import config_from_mapping, load_config
from regrun.errors import ConfigError, Interrupted, StorageError, UsageError
from regrun.execution.observer import Observer
from regrun.execution.train import resume_run, train_run
from regrun.store.checksums import KEY
from regrun.store.run_dir import RunDir
from tests.support.faults import dying, failing, in_child, recorded
from tests.support.program import invoke
from tests.support.runs import rows_in
from tests.support.stopping import StopsRun

DIGITS: dict[str, Any] = {
    "name": "digits",
    "dataset": {"name": "digits", "num_train": 60, "num_test": 40, "validation": 50},
    "model": {"name": "mlp", "hidden": [8, 6]},
    "optimizer": {"name": "sgd", "lr": 0.05},
    "training": {"epochs": 4, "batch_size": 16},
}


def with_keys(**sections: dict[str, Any]) -> dict[str, Any]:
    """The digits with keys of their sections replaced; `epochs` stays 4."""
    merged = dict(DIGITS)
    for name, section in sections.items():
        merged[name] = {**merged.get(name, {}), **section}
    return merged


ADAM = {"name": "adam", "lr": 0.01}
CONFIGS: dict[str, dict[str, Any]] = {
    "sgd": DIGITS,
    "momentum": with_keys(optimizer={"momentum": 0.9, "nesterov": True, "weight_decay": 1e-3}),
    "adam": with_keys(optimizer=ADAM),
    "adam in float64": with_keys(optimizer=ADAM, training={"precision": "float64"}),
    "rmsprop": with_keys(optimizer={"name": "rmsprop", "lr": 1e-3, "momentum": 0.5}),
    "full batches": with_keys(training={"batch_size": "full"}, optimizer={"momentum": 0.9}),
    "dropout": with_keys(model={"dropout": 0.3, "input_dropout": 0.1}, optimizer=ADAM),
    "ema": with_keys(training={"ema": 0.9}, optimizer=ADAM, model={"dropout": 0.2}),
    "swa": with_keys(training={"swa": {"start": 3, "lr": 0.1}}),
    "swa that has not begun": with_keys(training={"swa": {"start": 4, "every": 3}}),
    "batch norm of an average": with_keys(
        model={"norm": "batch", "dropout": 0.2}, training={"ema": 0.8, "evaluate_every": 3}
    ),
    "steps with a warm-up": with_keys(
        schedule={"type": "step", "step_size": 3, "gamma": 0.5, "warmup_epochs": 2}
    ),
    "lookahead": with_keys(optimizer={**ADAM, "lookahead": {"k": 7}}),
    "plateau": with_keys(
        schedule={"type": "plateau", "patience": 0, "threshold": 0.2, "factor": 0.7},
        training={"evaluate_every": 3},
    ),
    "patience": with_keys(
        training={"early_stopping": {"metric": "val/loss", "patience": 3}, "evaluate_every": 3},
        optimizer=ADAM,
    ),
    "sam on augmented images": with_keys(
        optimizer={"sam": 0.05}, augment={"crop": 1, "mixup": 0.2}
    ),
    "standardized targets": {
        **DIGITS,
        "dataset": {"name": "diabetes", "validation": 50, "standardize_target": True},
        "model": {"name": "linear"},
    },
    "l1": with_keys(penalty={"type": "l1", "strength": 1e-3}, training={"evaluate_every": 2}),
    "histograms": with_keys(training={"histograms_every": 3, "evaluate_every": 2}),
    "histograms at the end": with_keys(training={"histograms_every": 20, "evaluate_every": 3}),
}


def train(tree: dict[str, Any], epochs: int, runs: Path, observer: Observer | None = None) -> Path:
    """The directory of a run with that many epochs."""
    loaded = config_from_mapping(tree, {"training.epochs": epochs})
    if observer is not None:
        with pytest.raises(Interrupted):
            train_run(loaded, runs_dir=runs, device="cpu", observer=observer)
        (directory,) = runs.glob("*/*")
        return directory
    return Path(train_run(loaded, runs_dir=runs, device="cpu").run_dir)


def make_longer(directory: Path, epochs: int) -> None:
    resume_run(directory, reload=partial(load_config, overrides=[f"training.epochs={epochs}"]))


def summary_of(directory: Path) -> dict[str, Any]:
    summary = json.loads((directory / "summary.json").read_text())
    return {key: value for key, value in summary.items() if key not in ("run_dir", "seconds", KEY)}


def assert_same(directory: Path, whole: Path) -> None:
    """Bitwise in everything but times and places."""
    names = {path.name for path in whole.glob("*.*") if not path.name.startswith("events.")}
    assert names >= {"config.yaml", "metrics.jsonl", "weights.safetensors", "summary.json"}
    assert {path.name for path in directory.glob("*.*") if path.name in names} == names
    for name in names - {"summary.json"}:
        assert (directory / name).read_bytes() == (whole / name).read_bytes(), name
    assert summary_of(directory) == summary_of(whole)


def points(directory: Path, split: str) -> list[tuple[int, float]]:
    from tensorboard.backend.event_processing import event_accumulator

    events = event_accumulator.EventAccumulator(str(directory / split), {"scalars": 0}).Reload()
    return [(point.step, point.value) for point in events.Scalars("loss")]


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_run_made_longer_is_the_longer_run(kind: str, tmp_path: Path) -> None:
    whole = train(CONFIGS[kind], 10, tmp_path / "whole")
    directory = train(CONFIGS[kind], 4, tmp_path / "runs")
    make_longer(directory, 10)
    assert_same(directory, whole)
    assert points(directory, "test") == points(whole, "test")


def test_a_run_is_made_longer_again_and_again(tmp_path: Path) -> None:
    tree = with_keys(training={"evaluate_every": 2}, optimizer=ADAM, model={"dropout": 0.2})
    directory = train(tree, 3, tmp_path / "runs")
    for epochs in (5, 6, 9):
        make_longer(directory, epochs)
        assert_same(directory, train(tree, epochs, tmp_path / "whole"))


def test_an_interrupted_run_is_made_longer_and_shorter(tmp_path: Path) -> None:
    for epochs in (12, 5):
        runs = tmp_path / str(epochs)
        directory = train(DIGITS, 8, runs, StopsRun(3))
        make_longer(directory, epochs)
        assert_same(directory, train(DIGITS, epochs, tmp_path / "whole"))


def test_a_run_interrupted_while_it_is_made_longer_goes_on(tmp_path: Path) -> None:
    directory = train(DIGITS, 4, tmp_path / "runs")
    with pytest.raises(Interrupted):
        resume_run(
            directory,
            reload=partial(load_config, overrides=["training.epochs=10"]),
            observer=StopsRun(2),
        )
    assert not (directory / "summary.json").exists()
    assert not (directory / "weights.safetensors").exists(), "those of 4 epochs"
    resume_run(directory)
    assert_same(directory, train(DIGITS, 10, tmp_path / "whole"))


def test_the_last_evaluation_goes_when_the_longer_run_would_not_make_it(tmp_path: Path) -> None:
    tree = with_keys(training={"evaluate_every": 3})
    directory = train(tree, 4, tmp_path / "runs")
    assert [row["epoch"] for row in rows_in(directory)] == [3, 4]
    make_longer(directory, 8)
    assert [row["epoch"] for row in rows_in(directory)] == [3, 6, 8]


def files_of(directory: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "cosine": (
        with_keys(schedule={"type": "cosine"}),
        "training.epochs=10",
        "schedule: cosine is spread over all epochs",
    ),
    "a part of the epochs": (
        with_keys(training={"swa": {"start": 0.5}}),
        "training.epochs=10",
        "training.swa.start: 0.5 is a fraction of them",
    ),
    "fewer": (DIGITS, "training.epochs=3", "the run has trained for 4 already; start a new run"),
    "diverged": (
        with_keys(optimizer={"lr": 1e30}),
        "training.epochs=10",
        "the run diverged, so it has no more epochs; start a new run",
    ),
    "patience": (
        with_keys(
            training={"early_stopping": {"metric": "val/loss", "patience": 1, "min_delta": 9}}
        ),
        "training.epochs=10",
        "early stopping ended the run after",
    ),
    "no checkpoint": (
        with_keys(training={"keep_checkpoint": False}),
        "training.epochs=10",
        "its last checkpoint is not there (training.keep_checkpoint was off",
    ),
    "another key": (DIGITS, "optimizer.lr=0.5", "cannot change in a run that has begun"),
    "two keys": (DIGITS, "training.batch_size=8", "cannot change in a run that has begun"),
    "a wrong value": (DIGITS, "training.epochs=many", "many"),
    "an unknown key": (DIGITS, "training.epoch=10", 'did you mean "epochs"'),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_not_well_defined_is_refused_with_the_reason(kind: str, tmp_path: Path) -> None:
    tree, override, reason = REFUSED[kind]
    directory = train(tree, 4, tmp_path / "runs")
    before = files_of(directory)
    process = invoke("resume", directory, override)
    assert process.exit_code == 2
    assert reason in " ".join(process.stderr.split())
    assert "Traceback" not in process.stderr
    assert files_of(directory) == before


@pytest.mark.parametrize("epochs", [3, 12])
def test_an_interrupted_run_with_a_cosine_keeps_its_end(epochs: int, tmp_path: Path) -> None:
    directory = train(with_keys(schedule={"type": "cosine"}), 8, tmp_path / "runs", StopsRun(3))
    process = invoke("resume", directory, f"training.epochs={epochs}")
    assert process.exit_code == 2
    assert "schedule: cosine is spread over all epochs" in " ".join(process.stderr.split())


def test_an_interrupted_run_keeps_the_epochs_that_it_has(tmp_path: Path) -> None:
    directory = train(DIGITS, 8, tmp_path / "runs", StopsRun(3))
    process = invoke("resume", directory, "training.epochs=2")
    assert process.exit_code == 2
    assert "2: the run has trained for 3" in " ".join(process.stderr.split())


def test_the_same_number_of_epochs_changes_nothing(tmp_path: Path) -> None:
    directory = train(DIGITS, 4, tmp_path / "runs")
    before = files_of(directory)
    process = invoke("resume", directory, "training.epochs=4")
    assert process.exit_code == 0
    assert "had finished before; nothing to do" in process.stderr
    assert f"for more epochs: regrun resume {directory} training.epochs=8" in process.stderr
    assert files_of(directory) == before


def test_one_checkpoint_stays_only_where_it_is_of_use(tmp_path: Path) -> None:
    def kept(tree: dict[str, Any]) -> int:
        directory = train(tree, 4, tmp_path / "runs")
        assert (directory / "checkpoints").exists() == bool([*directory.glob("checkpoints/*")])
        return len([*directory.glob("checkpoints/*")])

    assert kept(DIGITS) == 1
    assert kept(with_keys(training={"checkpoint_every": 0})) == 1
    assert kept(with_keys(training={"keep_checkpoint": False})) == 0
    for kind in ("cosine", "a part of the epochs", "diverged", "patience"):
        assert kept(REFUSED[kind][0]) == 0


def test_data_of_a_finished_run_that_changed_are_noticed(tmp_path: Path) -> None:
    table = tmp_path / "d.csv"
    table.write_text("a,y\n" + "".join(f"{n / 7:.3f},{n / 5:.3f}\n" for n in range(30)))
    tree = {
        "name": "csv",
        "dataset": {"name": "csv", "path": str(table), "target": "y"},
        "model": {"name": "linear"},
        "optimizer": {"name": "sgd", "lr": 0.01},
    }
    directory = train(tree, 4, tmp_path / "runs")
    text = table.read_text()
    table.write_text(text.replace("0.143", "0.144"))
    before = files_of(directory)
    process = invoke("resume", directory, "training.epochs=10")
    assert process.exit_code == 5
    assert f"{table}: the examples are not those" in process.stderr
    assert files_of(directory) == before
    moved = tmp_path / "moved.csv"
    moved.write_text(text)
    process = invoke("resume", directory, "training.epochs=10", f"dataset.path={moved}", "-q")
    assert process.exit_code == 0, process.stderr
    stored = yaml.safe_load((directory / "config.yaml").read_text())
    assert (stored["dataset"]["path"], stored["training"]["epochs"]) == (str(moved), 10)


TINY = with_keys(
    model={"name": "linear"},
    dataset={"num_train": 20, "num_test": 20, "validation": 20},
    training={"checkpoint_every": 0, "ema": 0.5, "evaluate_every": 3},
)
del TINY["model"]["hidden"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Epochs → the undisturbed run."""
    runs = tmp_path_factory.mktemp("tiny")
    return {epochs: train(TINY, epochs, runs) for epochs in (4, 8)}


def operations(tiny: dict[int, Path], folder: Path) -> int:
    """How many file operations it takes to make the tiny run longer."""
    directory = folder / "runs" / "recorded"
    shutil.copytree(tiny[4], directory)
    with recorded() as found:
        make_longer(directory, 8)
    assert_same(directory, tiny[8])
    return len(found.names)


def die_and_go_on(tiny: dict[int, Path], folder: Path, numbers: range) -> set[str]:
    """Kill the run that is made longer, then look at what is there, and go on."""
    seen = set()
    for number in numbers:
        directory = folder / "runs" / str(number)
        shutil.copytree(tiny[4], directory)

        def work(directory: Path = directory, number: int = number) -> None:
            with dying(number, torn=True):
                make_longer(directory, 8)

        assert in_child(work) == -signal.SIGKILL
        files = RunDir(directory)
        epochs = yaml.safe_load(files.config.path.read_text())["training"]["epochs"]
        if files.finished:
            seen.add(f"finished after {epochs}")
            assert_same(directory, tiny[epochs])
        else:
            seen.add(f"unfinished towards {epochs}")
            copy = folder / "runs" / f"{number}-as-it-is"
            shutil.copytree(directory, copy)
            resume_run(copy)
            assert_same(copy, tiny[epochs])
        make_longer(directory, 8)
        assert_same(directory, tiny[8])
        assert len([*files.checkpoints.path.iterdir()]) == 1
    return seen


def test_a_run_killed_while_it_is_made_longer_is_one_or_the_other(
    tiny: dict[int, Path], tmp_path: Path
) -> None:
    count = operations(tiny, tmp_path)
    seen = die_and_go_on(tiny, tmp_path, range(1, count + 1, 5))
    assert seen >= {"finished after 4", "unfinished towards 8"}


@pytest.mark.long
def test_a_run_killed_at_any_operation_while_it_is_made_longer_is_one_or_the_other(
    tiny: dict[int, Path], tmp_path: Path
) -> None:
    count = operations(tiny, tmp_path)
    assert die_and_go_on(tiny, tmp_path, range(1, count + 1)) == {
        "finished after 4",
        "unfinished towards 4",
        "unfinished towards 8",
        "finished after 8",
    }


def test_a_damaged_checkpoint_leaves_the_finished_run(tmp_path: Path) -> None:
    directory = train(DIGITS, 4, tmp_path / "runs")
    (checkpoint,) = (directory / "checkpoints").iterdir()
    checkpoint.write_bytes(checkpoint.read_bytes()[:-1])
    before = files_of(directory)
    process = invoke("resume", directory, "training.epochs=6")
    assert process.exit_code == 5
    assert "all 1 checkpoints are damaged" in process.stderr
    assert files_of(directory) == before


@pytest.mark.parametrize("number", range(2, 60, 6))
def test_a_full_disk_leaves_a_run_that_can_still_be_made_longer(
    number: int, tiny: dict[int, Path], tmp_path: Path
) -> None:
    directory = tmp_path / "runs" / "full"
    shutil.copytree(tiny[4], directory)
    with failing(number, errno.ENOSPC, for_ever=True) as found, pytest.raises(StorageError):
        make_longer(directory, 8)
    assert found.reached
    make_longer(directory, 8)
    assert_same(directory, tiny[8])


def test_a_run_has_no_keys_of_a_sweep(tmp_path: Path) -> None:
    directory = train(DIGITS, 4, tmp_path / "runs")
    process = invoke("resume", directory, "sweep.seeds=3")
    assert process.exit_code == 2
    assert f"{directory} is a run, not a sweep; start one: regrun sweep" in process.stderr


def test_in_python_a_run_is_made_longer(tmp_path: Path) -> None:
    directory = train(DIGITS, 4, tmp_path / "runs")
    run = regrun.resume(directory, {"training.epochs": 6})
    assert isinstance(run, regrun.Run)
    assert (run.summary.epochs, len(run.metrics)) == (6, 6)
    assert regrun.resume(directory).summary == run.summary
    with pytest.raises(UsageError, match="only a sweep has axes and seeds"):
        regrun.resume(directory, seeds=3)
    with pytest.raises(ConfigError, match="cannot change in a run that has begun"):
        regrun.resume(directory, {"seed": 1})
