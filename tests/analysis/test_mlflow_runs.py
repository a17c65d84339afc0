"""Runs in a database of MLflow, read back by MLflow."""

from __future__ import annotations

import json
import sqlite3
import sys
from pathlib import Path
from typing import Any

import pytest

import regrun
from regrun.analysis.mlflow_runs import add_to_database
from regrun.errors import CorruptInputError, UsageError
from regrun.store.run_dir import RunDir
from tests.support.program import invoke

mlflow = pytest.importorskip("mlflow", reason="needs regrun[mlflow]")

CONFIG: dict[str, Any] = {
    "name": "small",
    "dataset": {"name": "synthetic_linear", "num_train": 20, "num_test": 10},
    "model": {"name": "linear"},
    "optimizer": {"name": "sgd", "lr": 0.003},
    "training": {"epochs": 3},
}
AXES = {"optimizer.weight_decay": [0, 1]}


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> regrun.Sweep:
    folder = tmp_path_factory.mktemp("mlflow")
    return regrun.sweep(CONFIG, AXES, seeds=2, runs_dir=folder, device="cpu")


def runs_in(database: Path, experiment: str) -> dict[str, Any]:
    """Name → run, as MLflow gives them."""
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{database}")
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    return {run.info.run_name: run for run in client.search_runs([found.experiment_id])}


def test_mlflow_has_the_settings_curves_and_results_of_every_run(
    sweep: regrun.Sweep, tmp_path: Path
) -> None:
    database = tmp_path / "all.db"
    assert add_to_database(sweep.directory, database) == 4
    found = runs_in(database, f"small/{sweep.directory.name}")
    assert found.keys() == {*sweep.runs.index}
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{database}")
    for name, row in sweep.runs.iterrows():
        run, stored = found[str(name)], regrun.load_run(row["run_dir"])
        assert run.info.status == "FINISHED"
        assert float(run.data.params["optimizer.weight_decay"]) == row["optimizer.weight_decay"]
        assert run.data.params["dataset.num_test"] == "10"
        assert "dataset.num_train" not in run.data.params  # the default
        assert run.data.tags["regrun.directory"] == row["run_dir"]
        assert run.data.metrics["kept/test/loss"] == row["test/loss"]
        curve = client.get_metric_history(run.info.run_id, "train/loss")
        assert [(each.step, each.value) for each in curve] == [
            *zip(stored.metrics["epoch"], stored.metrics["train/loss"], strict=True)
        ]
        assert stored.summary.seconds is not None
        taken = run.info.end_time - run.info.start_time
        assert taken == int(1000 * stored.summary.seconds.total)


def test_runs_are_added_once(sweep: regrun.Sweep, tmp_path: Path) -> None:
    database = tmp_path / "all.db"
    (first, *_) = [Path(each) for each in sweep.runs["run_dir"]]
    assert add_to_database(first, database) == 1
    before = database.read_bytes()
    assert add_to_database(sweep.directory, database) == 4
    assert add_to_database(sweep.directory, database) == 0
    assert len(runs_in(database, f"small/{sweep.directory.name}")) == 4
    assert [*runs_in(database, f"{sweep.directory.name}/{first.name}")] == [first.name]
    assert database.read_bytes() != before
    assert [each.name for each in tmp_path.iterdir()] == ["all.db"]


def test_a_run_without_a_result_has_failed(sweep: regrun.Sweep, tmp_path: Path) -> None:
    bad = {**CONFIG, "optimizer": {"name": "sgd", "lr": 1e30}}
    run = regrun.train(bad, runs_dir=tmp_path, device="cpu")
    assert run.summary.status == "diverged"
    add_to_database(run.directory, tmp_path / "a.db")
    (found,) = runs_in(tmp_path / "a.db", f"small/{run.directory.name}").values()
    assert found.info.status == "FAILED"
    assert found.data.tags["regrun.status"] == "diverged"
    RunDir(run.directory).summary.path.unlink()
    add_to_database(run.directory, tmp_path / "b.db")
    (found,) = runs_in(tmp_path / "b.db", f"small/{run.directory.name}").values()
    assert found.data.tags["regrun.status"] == "interrupted"


@pytest.mark.parametrize(
    ("content", "words"), [(b"no database", "no SQLite database"), (None, "no database of MLflow")]
)
def test_other_files_stay_as_they_are(
    content: bytes | None, words: str, sweep: regrun.Sweep, tmp_path: Path
) -> None:
    file = tmp_path / "other.db"
    if content is None:
        connection = sqlite3.connect(file)
        connection.execute("CREATE TABLE mine (x)")
        connection.commit()
        connection.close()
    else:
        file.write_bytes(content)
    before = file.read_bytes()
    with pytest.raises(CorruptInputError, match=f"other.db: {words}"):
        add_to_database(sweep.directory, file)
    assert file.read_bytes() == before


def test_without_mlflow_it_says_what_to_install(
    sweep: regrun.Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(UsageError, match=r"pip install 'regrun\[mlflow\]'"):
        add_to_database(sweep.directory, tmp_path / "a.db")
    assert list(tmp_path.iterdir()) == []


def test_the_verb_says_how_to_look_at_them(sweep: regrun.Sweep, tmp_path: Path) -> None:
    shown = invoke("export", sweep.directory, tmp_path / "a.db")
    assert shown.exit_code == 0, shown.stderr
    assert "runs       4 added" in shown.stdout
    assert f"mlflow ui --backend-store-uri sqlite:///{tmp_path}/a.db" in shown.stdout
    document = json.loads(invoke("export", sweep.directory, tmp_path / "a.db", "--json").stdout)
    assert document == {"output": f"{tmp_path}/a.db"}
