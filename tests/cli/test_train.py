"""The verbs around training, with the training itself replaced."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from regrun import errors
from regrun.config.load import load_config
from regrun.config.yaml_nodes import Document
from regrun.execution.observer import Start
from regrun.results import RunSummary
from regrun.store.reading import load_result
from regrun.store.run_dir import RunDir

LOADED = SimpleNamespace(config=SimpleNamespace(seed=3))


class Calls:
    """Stands for `regrun.config.load` and `regrun.execution`; remembers what it was asked."""

    def __init__(self, make_run: Any) -> None:
        self._make_run = make_run
        self.summary_changes: dict[str, Any] = {}
        self.raises: BaseException | None = None
        self.asked: dict[str, Any] = {}
        self.again: Path | None = None
        """An earlier run that ends again, instead of a new one."""

    def load_config(self, path: Path | Document, overrides: Any = ()) -> Any:
        if isinstance(path, Document):  # the stored one of a run
            return load_config(path)
        self.asked["config"] = (path, list(overrides))
        return LOADED

    def train_run(self, loaded: Any, *, observer: Any, **options: Any) -> RunSummary:
        self.asked["train"] = (loaded, options)
        return self._run("trained", observer)

    def resume_run(
        self, directory: Path, *, device: Any, observer: Any, **options: Any
    ) -> RunSummary:
        self.asked["resume"] = (directory, device)
        assert options == {"allow_large": False, "threads": None}
        return self._run("resumed", observer)

    def _run(self, run_id: str, observer: Any) -> RunSummary:
        observer.on_start(Start("somewhere", "cpu", 20, (), epochs=5))
        observer.on_progress(10, 20)
        observer.on_evaluation({"epoch": 1, "step": 4, "train/loss": 0.5})
        if self.raises is not None:
            raise self.raises
        directory = self.again or self._make_run(run_id, **self.summary_changes)
        summary = load_result(RunDir(directory).summary, RunSummary)
        assert summary is not None
        return summary


@pytest.fixture
def calls(make_run: Any, monkeypatch: pytest.MonkeyPatch) -> Calls:
    fake = Calls(make_run)
    monkeypatch.setattr("regrun.config.load.load_config", fake.load_config)
    monkeypatch.setattr("regrun.execution.train.train_run", fake.train_run)
    monkeypatch.setattr("regrun.execution.train.resume_run", fake.resume_run)
    return fake


def test_train_passes_on_what_it_was_given(invoke: Any, calls: Calls, tmp_path: Path) -> None:
    result = invoke(
        "train", "c.yaml", "optimizer.lr=0.1", "seed=3",
        "--runs-dir", tmp_path / "elsewhere", "--device", "cpu", "--threads", "2",
    )  # fmt: skip
    assert result.exit_code == 0
    assert calls.asked["config"] == (Path("c.yaml"), ["optimizer.lr=0.1", "seed=3"])
    loaded, options = calls.asked["train"]
    assert loaded is LOADED
    assert options.pop("label") == "lr=0.1,seed=3"
    assert options == {
        "runs_dir": tmp_path / "elsewhere",
        "device": "cpu",
        "allow_large": False,
        "threads": 2,
    }


def test_train_ends_in_a_plot_numbers_the_place_and_the_next_command(
    invoke: Any, calls: Calls, tmp_path: Path
) -> None:
    result = invoke("train", "c.yaml", "--runs-dir", tmp_path / "runs")
    for text in (
        "train loss", "epoch", "13.25", "0.5",
        str(tmp_path / "runs" / "toy" / "trained"),
        "regrun train c.yaml optimizer.weight_decay=",
        f"regrun view {tmp_path / 'runs'}",
    ):  # fmt: skip
        assert text in result.stdout
    assert "somewhere" in result.stderr
    assert "somewhere" not in result.stdout


def test_json_is_the_summary_and_nothing_else(invoke: Any, calls: Calls, tmp_path: Path) -> None:
    result = invoke("train", "c.yaml", "--json", "--runs-dir", tmp_path / "runs")
    stored = json.loads((tmp_path / "runs" / "toy" / "trained" / "summary.json").read_text())
    assert {**json.loads(result.stdout), "checksum": stored["checksum"]} == stored
    assert "somewhere" in result.stderr


def test_quiet_leaves_stderr_empty(invoke: Any, calls: Calls, tmp_path: Path) -> None:
    result = invoke("train", "c.yaml", "--quiet", "--runs-dir", tmp_path / "runs")
    assert result.stderr == ""
    assert "13.25" in result.stdout


@pytest.mark.parametrize(("status", "code"), [("completed", 0), ("diverged", 3), ("failed", 3)])
def test_the_status_decides_the_exit_code(
    invoke: Any, calls: Calls, tmp_path: Path, status: str, code: int
) -> None:
    calls.summary_changes = {"status": status, "test": None}
    arguments = ["train", "c.yaml", "--runs-dir", tmp_path / "runs"]
    result = invoke(*arguments, "--json")
    assert result.exit_code == code
    assert json.loads(result.stdout)["status"] == status


def test_a_diverged_run_still_shows_its_report(invoke: Any, calls: Calls, tmp_path: Path) -> None:
    calls.summary_changes = {"status": "diverged", "test": None, "diverged_at_step": 9}
    result = invoke("train", "c.yaml", "--runs-dir", tmp_path / "runs")
    assert result.exit_code == 3
    assert "step 9" in result.stdout
    assert "optimizer.lr=0.0003" in result.stdout


def test_an_interrupted_run_says_how_to_continue(invoke: Any, calls: Calls, tmp_path: Path) -> None:
    stopped = RunSummary(run_dir="runs/toy/x", status="interrupted")
    calls.raises = errors.Interrupted("saved; regrun resume runs/toy/x", 15, stopped)
    result = invoke("train", "c.yaml", "--runs-dir", tmp_path / "runs", "--json")
    assert result.exit_code == 143
    assert json.loads(result.stdout) == stopped.to_dict()
    assert result.stderr.endswith("regrun resume runs/toy/x\n")


def test_a_runs_directory_that_cannot_be_is_reported_before_training(
    invoke: Any, calls: Calls, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    result = invoke("train", "c.yaml", "--runs-dir", tmp_path / "file")
    assert result.exit_code == 4
    assert "train" not in calls.asked


def test_resume_needs_the_directory_alone_from_wherever_it_is_called(
    invoke: Any, calls: Calls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls.summary_changes = {"run_dir": "as/it/was/called/then"}
    (tmp_path / "runs" / "toy" / "resumed").parent.mkdir(parents=True)
    for place, directory, runs in (
        (tmp_path, "runs/toy/resumed", "runs"),
        (tmp_path / "runs" / "toy", "resumed", ".."),
        (tmp_path / "runs" / "toy" / "resumed", ".", "../.."),
    ):
        monkeypatch.chdir(place)
        result = invoke("resume", directory)
        calls.again = tmp_path / "runs" / "toy" / "resumed"
        assert result.exit_code == 0
        assert calls.asked["resume"] == (Path(directory), None)
        assert f"regrun view {runs}\n" in result.stdout


def test_an_unwritable_terminal_does_not_lose_the_run(
    invoke: Any, calls: Calls, tmp_path: Path
) -> None:
    result = invoke(
        "train", "c.yaml", "--runs-dir", tmp_path / "runs", env={"COLUMNS": "15", "NO_COLOR": "1"}
    )
    assert result.exit_code == 0
    assert "┌" not in result.stdout
    assert "\x1b" not in result.stdout
