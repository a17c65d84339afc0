"""Data paths: found when a config is loaded, and stored so that a project can be moved."""

from __future__ import annotations

from pathlib import Path

import pytest

from regrun.config.paths import (
    found,
    portable,
    with_absolute_paths,
    with_portable_paths,
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with data and a run, next to another folder."""
    for folder in ("project/data", "project/runs/c/r", "elsewhere"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "project/data/d.csv").touch()
    (tmp_path / "elsewhere/d.csv").touch()
    return tmp_path / "project"


def test_a_path_within_the_project_is_relative_to_the_run(project: Path) -> None:
    run = project / "runs/c/r"
    assert portable(str(project / "data/d.csv"), run, [project]) == "../../../data/d.csv"
    assert portable(str(run / "d.csv"), run, [project]) == "d.csv"


@pytest.mark.parametrize("name", ["elsewhere/d.csv", "project2/d.csv", "d.csv"])
def test_data_outside_the_project_keep_their_absolute_path(name: str, project: Path) -> None:
    path = str(project.parent / name)
    assert portable(path, project / "runs/c/r", [project]) == path


def test_a_run_outside_the_project_has_the_absolute_path(project: Path) -> None:
    data = str(project / "data/d.csv")
    assert portable(data, project.parent / "elsewhere", [project]) == data


def test_a_runs_directory_that_is_a_link_to_another_place_is_outside(project: Path) -> None:
    (project / "big").symlink_to(project.parent / "elsewhere")
    data = str(project / "data/d.csv")
    assert portable(data, project / "big", [project]) == data


def test_the_root_of_the_file_system_is_no_project(project: Path) -> None:
    data = str(project / "data/d.csv")
    assert portable(data, project / "runs/c/r", [Path("/")]) == data


def test_one_of_several_projects_is_enough(project: Path) -> None:
    projects = [project.parent / "elsewhere", project]
    assert portable(str(project / "data/d.csv"), project / "runs/c/r", projects).startswith("..")


def test_a_link_to_data_stays_a_link(project: Path) -> None:
    link = project / "data/link.csv"
    link.symlink_to(project.parent / "elsewhere/d.csv")
    assert found("data/link.csv", [project]) == str(link)
    assert portable(str(link), project / "runs/c/r", [project]) == "../../../data/link.csv"
    assert found("../../../data/link.csv", [project / "runs/c/r"]) == str(link)


def test_a_project_named_through_a_link_is_the_same_project(project: Path) -> None:
    alias = project.parent / "alias"
    alias.symlink_to(project)
    path = portable(str(alias / "data/d.csv"), project / "runs/c/r", [alias])
    assert path == "../../../data/d.csv"


def test_behind_a_link_the_folder_above_is_that_of_its_target(project: Path) -> None:
    (project / "deep").mkdir()
    (project / "link").symlink_to(project.parent / "elsewhere")
    (project.parent / "near.csv").touch()
    assert found("link/../near.csv", [project]) == str(project.parent / "near.csv")


def test_a_file_that_is_nowhere_is_named_where_it_was_meant(project: Path) -> None:
    run = project / "runs/c/r"
    assert found("no.csv", [run, project]) == str(project / "no.csv")
    assert found("../../../no.csv", [run, project.parent]) == str(project / "no.csv")


def test_a_path_that_climbed_to_a_project_is_found_in_it(project: Path) -> None:
    away = project.parent / "elsewhere"
    assert found("../../../data/d.csv", [away, project]) == str(project / "data/d.csv")
    assert found("../../../data/no.csv", [project / "runs/c/r", project]) == str(
        project / "data/no.csv"
    )
    assert found("../../..", [away, project]).startswith("/")


@pytest.mark.parametrize("name", [r"C:\data\d.csv", r"data\d.csv", "d a t a.csv", "ä.csv", "-d"])
def test_unusual_names_are_names(name: str, project: Path) -> None:
    (project / name).touch()
    path = found(name, [project.parent, project])
    assert path == str(project / name)
    assert portable(path, project / "runs/c/r", [project]) == f"../../../{name}"


def test_a_home_folder_is_expanded(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(project.parent / "elsewhere"))
    assert found("~/d.csv", [project]) == str(project.parent / "elsewhere/d.csv")


def test_a_stored_config_has_its_paths_again(project: Path) -> None:
    run = project / "runs/c/r"
    dataset = {"name": "csv", "path": str(project / "data/d.csv"), "target": "y", "root": None}
    tree = {"dataset": {**dataset, "test_path": str(project.parent / "elsewhere/d.csv")}}
    stored = with_portable_paths(tree, run, [project])
    assert stored["dataset"]["path"] == "../../../data/d.csv"
    assert with_absolute_paths(stored, run) == tree


@pytest.mark.parametrize("dataset", ["digits", None, {"name": "csv", "path": 3}])
def test_a_dataset_without_paths_is_left_alone(dataset: object, project: Path) -> None:
    assert with_portable_paths({"dataset": dataset}, project, [project]) == {"dataset": dataset}
