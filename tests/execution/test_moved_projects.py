"""Projects that are moved or copied, with the data in them or without: runs and sweeps go on."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

import regrun
from regrun.config.load import load_config
from regrun.errors import Interrupted
from regrun.execution.observer import Observer
from regrun.execution.train import train_run
from regrun.store.sweep_dir import SweepDir
from regrun.sweeps.run import Options, run_sweep
from tests.support.program import invoke
from tests.support.runs import results
from tests.support.stopping import StopsRun, StopsSweep

CONFIG: dict[str, Any] = {
    "dataset": {"name": "csv", "path": "data/d.csv", "target": "y"},
    "model": {"name": "linear"},
    "optimizer": {"name": "sgd", "lr": 0.01},
    "training": {"epochs": 30, "batch_size": 5},
}


def write_table(path: Path, seed: int = 0) -> None:
    random = np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [",".join(f"{cell:.3f}" for cell in row) for row in random.normal(size=(40, 3))]
    path.write_text("\n".join(["a,b,y", *lines]) + "\n")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder, which is the working directory."""
    folder = tmp_path / "project"
    write_table(folder / "data/d.csv")
    (folder / "c.yaml").write_text(yaml.safe_dump(CONFIG))
    monkeypatch.chdir(folder)
    return folder


def train(observer: Observer | None = None, runs: str = "runs") -> Path:
    """The directory of a run of the project, relative to it."""
    loaded = load_config("c.yaml")
    if observer is None:
        return Path(train_run(loaded, runs_dir=Path(runs), device="cpu").run_dir)
    with pytest.raises(Interrupted):
        train_run(loaded, runs_dir=Path(runs), device="cpu", observer=observer)
    return max(Path(runs).glob("c/*"), key=lambda path: path.stat().st_mtime)


def sweep(project: Path, grid: dict[str, list[Any]]) -> Path:
    """The directory of an interrupted sweep of the project, relative to it."""
    tree = {**CONFIG, "sweep": {"grid": grid, "stack_size": 1}}
    (project / "s.yaml").write_text(yaml.safe_dump(tree))
    with pytest.raises(Interrupted):
        run_sweep(
            load_config("s.yaml"),
            runs_dir=Path("runs"),
            options=Options("cpu", workers=0),
            observer=StopsSweep(),
        )
    (directory,) = Path("runs").glob("s/*")
    return directory


def stored_path(directory: Path, name: str = "config.yaml") -> str:
    path: str = yaml.safe_load((directory / name).read_text())["dataset"]["path"]
    return path


@pytest.fixture
def whole(project: Path) -> dict[str, bytes]:
    """The undisturbed run, but for its config."""
    return {name: data for name, data in results(train(runs="whole")).items() if "." in name}


def move(project: Path) -> Path:
    """The project's new place; the working directory is outside it from now on."""
    moved = project.parent / "deeper" / "moved"
    moved.parent.mkdir()
    os.chdir(project.parent)
    project.rename(moved)
    return moved


def same_results(directory: Path, whole: dict[str, bytes]) -> bool:
    names = ("metrics.jsonl", "weights.safetensors")
    return all((directory / name).read_bytes() == whole[name] for name in names)


def test_a_stored_config_names_the_data_from_its_own_folder(project: Path) -> None:
    run = train()
    assert stored_path(run) == "../../../data/d.csv"
    assert regrun.load_run(run).config["dataset"]["path"] == str(project / "data/d.csv")


def test_data_outside_the_project_are_stored_with_their_absolute_path(project: Path) -> None:
    outside = project.parent / "outside.csv"
    shutil.move("data/d.csv", outside)
    tree = {**CONFIG, "dataset": {**CONFIG["dataset"], "path": "../outside.csv"}}
    (project / "c.yaml").write_text(yaml.safe_dump(tree))
    assert stored_path(train()) == str(outside)


def test_runs_on_another_disk_have_the_absolute_path(project: Path, tmp_path: Path) -> None:
    assert stored_path(train(runs=str(tmp_path / "disk"))) == str(project / "data/d.csv")


@pytest.mark.parametrize("relative", [False, True])
def test_an_interrupted_run_goes_on_after_its_project_was_moved(
    relative: bool, project: Path, whole: dict[str, bytes]
) -> None:
    run = train(StopsRun())
    moved = move(project)
    if relative:
        os.chdir(moved / "runs")
    process = invoke("resume", os.path.relpath(moved / run), "--quiet")
    assert process.exit_code == 0, process.stderr
    assert same_results(moved / run, whole)


def test_a_moved_run_is_trained_again_from_its_config(
    project: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    run = train()
    moved = move(project)
    config = moved / run / "config.yaml"
    process = invoke("train", config, "--quiet", "--json", "--runs-dir", tmp_path / "again")
    assert process.exit_code == 0, process.stderr
    assert same_results(Path(json.loads(process.stdout)["run_dir"]), whole)


def test_a_moved_runs_model_is_loaded(project: Path) -> None:
    run = train()
    shutil.rmtree("data")
    model = regrun.load_model(move(project) / run)
    assert [tuple(each.shape) for each in model.parameters()] == [(1, 2), (1,)]


def test_runs_that_were_moved_out_of_their_project_go_on_from_it(
    project: Path, whole: dict[str, bytes]
) -> None:
    run, directory = train(StopsRun()), sweep(project, {"optimizer.lr": [0.01, 0.02]})
    disk = project.parent / "disk"
    disk.mkdir()
    Path("runs").rename(disk / "runs")
    process = invoke("resume", disk / run, "-q")
    assert process.exit_code == 0, process.stderr
    assert same_results(disk / run, whole)
    process = invoke("resume", disk / directory, "--json")
    assert process.exit_code == 0, process.stderr
    assert json.loads(process.stdout)["completed"] == 2


def test_data_that_are_gone_are_named_with_the_way_to_give_their_new_place(project: Path) -> None:
    run = train(StopsRun())
    Path("data/d.csv").rename("elsewhere.csv")
    process = invoke("resume", run)
    assert process.exit_code == 2
    assert f"{project / 'data/d.csv'}: no such file or folder" in process.stderr
    assert f"regrun resume {run} dataset.path=NEW_PLACE" in process.stderr


def test_moved_data_are_accepted_and_their_place_is_kept(
    project: Path, whole: dict[str, bytes]
) -> None:
    run = train(StopsRun())
    Path("data/d.csv").rename("elsewhere.csv")
    assert invoke("resume", run, "dataset.path=elsewhere.csv", "-q").exit_code == 0
    assert same_results(run, whole)
    assert stored_path(run) == "../../../elsewhere.csv"
    card = json.loads((run / "data.json").read_text())
    card.pop("checksum")
    assert card == json.loads((run / "summary.json").read_text())["data"]


def test_other_data_are_refused_and_nothing_changes(project: Path) -> None:
    run = train(StopsRun())
    write_table(project / "other.csv", seed=1)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    process = invoke("resume", run, "dataset.path=other.csv")
    assert process.exit_code == 5
    assert f"{project / 'other.csv'}: the examples are not those" in process.stderr
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    "override", ["optimizer.lr=0.5", "model.name=mlp", "dataset.target=a", "training.batch_size=7"]
)
def test_no_other_key_can_change(override: str, project: Path) -> None:
    run = train(StopsRun())
    process = invoke("resume", run, override)
    assert process.exit_code == 2
    key = override.partition("=")[0]
    assert f"override 1: {override}: " in process.stderr
    assert "cannot change in a run that has begun" in process.stderr
    assert f"regrun train {run}/config.yaml {key}=" in process.stderr


def test_an_override_that_changes_nothing_is_accepted(
    project: Path, whole: dict[str, bytes]
) -> None:
    run = train(StopsRun())
    assert invoke("resume", run, "optimizer.lr=0.01", "-q").exit_code == 0
    assert same_results(run, whole)


def test_a_sweep_goes_on_after_its_project_was_moved(project: Path) -> None:
    directory = sweep(project, {"optimizer.lr": [0.01, 0.02]})
    assert stored_path(directory, "sweep.yaml") == "../../../data/d.csv"
    moved = move(project) / directory
    process = invoke("resume", moved, "--json")
    assert process.exit_code == 0, process.stderr
    assert json.loads(process.stdout)["completed"] == 2
    runs = [run for each in SweepDir(moved).read_rounds() for run in each.runs]
    assert {stored_path(moved / run.directory) for run in runs} == {"../../../../data/d.csv"}


def test_a_sweep_half_of_which_was_trained_elsewhere_has_the_card_of_its_data(
    project: Path,
) -> None:
    tree = {**CONFIG, "sweep": {"grid": {"optimizer.lr": [0.01, 0.02]}}}
    (project / "s.yaml").write_text(yaml.safe_dump(tree))
    options = Options("cpu", workers=0)
    directory = run_sweep(load_config("s.yaml"), runs_dir=Path("runs"), options=options).sweep_dir
    moved = move(project)
    process = invoke("resume", moved / directory, "--seeds", 2, "--json")
    assert process.exit_code == 0, process.stderr
    found = json.loads(process.stdout)
    assert (found["sweep_dir"], found["completed"]) == (str(moved / directory), 4)
    assert found["data"]["files"] == [str(moved / "data/d.csv")]


def test_a_finished_run_that_was_moved_says_where_it_is(project: Path) -> None:
    run = train()
    moved = move(project)
    process = invoke("resume", moved / run, "--json")
    assert json.loads(process.stdout)["run_dir"] == str(moved / run)


def test_the_files_of_an_axis_are_found_after_the_project_was_moved(project: Path) -> None:
    write_table(project / "data/e.csv", seed=1)
    directory = sweep(project, {"dataset.path": ["data/d.csv", "data/e.csv"]})
    moved = move(project) / directory
    process = invoke("resume", moved, "--json")
    assert process.exit_code == 0, process.stderr
    found = json.loads(process.stdout)
    assert [cell["params"]["dataset.path"] for cell in found["cells"]] == [
        "data/d.csv",
        "data/e.csv",
    ]
    assert found["completed"] == 2


def test_the_data_of_a_sweep_may_have_moved(project: Path) -> None:
    directory = sweep(project, {"optimizer.lr": [0.01, 0.02]})
    Path("data/d.csv").rename("elsewhere.csv")
    lost = invoke("resume", directory)
    assert lost.exit_code == 2
    assert f"regrun resume {directory} dataset.path=NEW_PLACE" in lost.stderr
    write_table(project / "other.csv", seed=1)
    assert invoke("resume", directory, "dataset.path=other.csv").exit_code == 5
    assert stored_path(directory, "sweep.yaml") == "../../../data/d.csv"
    process = invoke("resume", directory, "dataset.path=elsewhere.csv", "--json")
    assert process.exit_code == 0, process.stderr
    assert json.loads(process.stdout)["completed"] == 2
    assert stored_path(directory, "sweep.yaml") == "../../../elsewhere.csv"
    for config in directory.glob("*/config.yaml"):
        assert stored_path(config.parent) == "../../../../elsewhere.csv"


def test_runs_of_a_project_at_different_depths_are_one_setting(project: Path) -> None:
    """Their stored paths differ, what they mean does not."""
    directory = sweep(project, {"optimizer.lr": [0.01]})
    assert invoke("resume", directory, "-q").exit_code == 0
    process = invoke("compare", train(), directory, "--json")
    assert [[*cell["params"]] for cell in json.loads(process.stdout)] == [["name"], ["name"]]


def write_pictures(folder: Path) -> None:
    """Six pictures, and a table of labels in their folder."""
    folder.mkdir(parents=True)
    draw = np.random.default_rng(0)
    names = [f"{number}.png" for number in range(12)]
    for name in names:
        Image.fromarray(draw.integers(0, 255, (6, 6, 3), dtype=np.uint8)).save(folder / name)
    lines = [f"{name},{'ab'[number % 2]}" for number, name in enumerate(names)]
    (folder / "labels.csv").write_text("\n".join(["file,label", *lines]) + "\n")


def write_arrays(path: Path) -> None:
    draw = np.random.default_rng(0)
    np.savez(path, x=draw.normal(size=(40, 3)), y=draw.normal(size=40))


OTHER_DATA: dict[str, dict[str, Any]] = {
    "arrays": {"name": "npz", "path": "data/a.npz", "test": 0.2},
    "a second table": {"name": "csv", "path": "data/d.csv", "test_path": "data/e.csv"},
    "pictures": {"name": "image_folder", "path": "data/pictures", "size": 6, "test": 4},
}
OTHER_DATA["a second table"]["target"] = "y"
OTHER_DATA["pictures"]["labels"] = "labels.csv"


@pytest.mark.parametrize("kind", OTHER_DATA)
def test_every_kind_of_data_moves_with_its_project(kind: str, project: Path) -> None:
    write_arrays(project / "data/a.npz")
    write_table(project / "data/e.csv", seed=1)
    write_pictures(project / "data/pictures")
    tree = {**CONFIG, "dataset": OTHER_DATA[kind], "training": {"epochs": 5, "batch_size": 4}}
    (project / "c.yaml").write_text(yaml.safe_dump(tree))
    whole = results(train(runs="whole"))
    run = train(StopsRun())
    moved = move(project) / run
    assert str(project) not in (moved / "config.yaml").read_text()
    process = invoke("resume", moved, "-q")
    assert process.exit_code == 0, process.stderr
    assert same_results(moved, whole)


@pytest.mark.parametrize("kind", OTHER_DATA)
def test_every_kind_of_data_may_be_moved_alone(kind: str, project: Path) -> None:
    write_arrays(project / "data/a.npz")
    write_table(project / "data/e.csv", seed=1)
    write_pictures(project / "data/pictures")
    tree = {**CONFIG, "dataset": OTHER_DATA[kind], "training": {"epochs": 5, "batch_size": 4}}
    (project / "c.yaml").write_text(yaml.safe_dump(tree))
    run = train(StopsRun())
    Path("data").rename(project.parent / "disk")
    lost = invoke("resume", run)
    assert lost.exit_code == 2
    assert f"if the data were moved: regrun resume {run} dataset." in lost.stderr
    keys = [key for key in ("path", "test_path") if key in OTHER_DATA[kind]]
    places = [str(OTHER_DATA[kind][key]).replace("data/", "../disk/") for key in keys]
    overrides = [f"dataset.{key}={place}" for key, place in zip(keys, places, strict=True)]
    process = invoke("resume", run, *overrides, "-q")
    assert process.exit_code == 0, process.stderr
    assert stored_path(run) == str((project / places[0]).resolve())


def test_a_finished_run_takes_the_new_place_of_its_data(project: Path) -> None:
    run = train()
    write_table(project / "other.csv", seed=1)
    Path("data/d.csv").rename("elsewhere.csv")
    assert invoke("resume", run, "dataset.path=other.csv").exit_code == 5
    assert stored_path(run) == "../../../data/d.csv"
    process = invoke("resume", run, "dataset.path=elsewhere.csv")
    assert process.exit_code == 0, process.stderr
    assert "had finished before; nothing to do" in process.stderr
    assert stored_path(run) == "../../../elsewhere.csv"


def test_a_finished_sweep_takes_the_new_place_of_its_data_and_its_runs_do_not(
    project: Path,
) -> None:
    directory = sweep(project, {"optimizer.lr": [0.01, 0.02]})
    assert invoke("resume", directory, "-q").exit_code == 0
    Path("data/d.csv").rename("elsewhere.csv")
    (run, _) = sorted(path.parent for path in directory.glob("*/config.yaml"))
    alone = invoke("resume", run, "dataset.path=elsewhere.csv")
    assert alone.exit_code == 2
    assert f"regrun resume {directory.resolve()} dataset.path=" in alone.stderr
    before = {path: path.stat().st_mtime_ns for path in directory.glob("*/metrics.jsonl")}
    process = invoke("resume", directory, "dataset.path=elsewhere.csv")
    assert process.exit_code == 0, process.stderr
    assert stored_path(run) == "../../../../elsewhere.csv"
    assert {path: path.stat().st_mtime_ns for path in before} == before
