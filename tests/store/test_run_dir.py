"""Names of run directories, and claims of new ones by many processes at once."""

from __future__ import annotations

import errno
import multiprocessing
import re
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from regrun.errors import StorageError, UsageError
from regrun.store.run_dir import RunDir, claim_run_dir, experiment_dir, safe_label
from tests.support.faults import failing

HOSTILE = [
    "../x",
    "..",
    ".",
    "",
    "/etc/x",
    "a/b",
    "a/../../b",
    "a\0b",
    "./a",
    "a/",
]


def test_a_claim_is_a_new_directory_named_after_the_label(tmp_path: Path) -> None:
    first = claim_run_dir(tmp_path / "runs" / "small", "weight_decay=3")
    second = claim_run_dir(tmp_path / "runs" / "small", "weight_decay=3")
    assert first != second
    assert re.fullmatch(r"weight_decay=3-[a-z2-7]{6}", first.name)
    assert list(first.iterdir()) == []
    assert claim_run_dir(tmp_path).name.startswith("seed0-")


def test_a_taken_name_is_never_given_out_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suffixes = iter(["aaaaaa", "aaaaaa", "aaaaaa", "bbbbbb"])
    monkeypatch.setattr("regrun.store.run_dir._random_suffix", lambda: next(suffixes))
    assert claim_run_dir(tmp_path, "x").name == "x-aaaaaa"
    assert claim_run_dir(tmp_path, "x").name == "x-bbbbbb"


def _claim_many(parent: Path, barrier: Barrier, count: int) -> None:
    barrier.wait()
    for _ in range(count):
        (claim_run_dir(parent, "same") / "mine").touch(exist_ok=False)


def claim_at_once(parent: Path, processes: int, count: int) -> None:
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(processes)
    workers = [
        context.Process(target=_claim_many, args=(parent, barrier, count)) for _ in range(processes)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * processes
    assert len(list(parent.glob("*/mine"))) == len(list(parent.iterdir())) == processes * count


def test_eight_processes_claiming_at_once_get_200_directories(tmp_path: Path) -> None:
    claim_at_once(tmp_path / "runs" / "small", 8, 25)


@pytest.mark.long
def test_eight_processes_claiming_at_once_get_200_directories_20_times(tmp_path: Path) -> None:
    for turn in range(20):
        claim_at_once(tmp_path / str(turn), 8, 25)


def test_a_claim_on_a_disk_that_fails_is_a_storage_error(tmp_path: Path) -> None:
    for number in (1, 2):
        with (
            failing(number, errno.ENOSPC, for_ever=True),
            pytest.raises(StorageError, match="disk full"),
        ):
            claim_run_dir(tmp_path / f"new{number}", "x")


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(label=st.one_of(st.text(max_size=200), st.sampled_from([*HOSTILE, "CON", "nul.x", "-rf"])))
def test_no_label_leads_out_of_the_parent(tmp_path: Path, label: str) -> None:
    parent = tmp_path / "parent"
    directory = claim_run_dir(parent, label)
    assert directory.resolve().parent == parent.resolve()
    assert len(directory.name) <= 71
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._=,+-]*", directory.name)
    assert [path.name for path in tmp_path.iterdir()] == ["parent"]


@pytest.mark.parametrize(
    ("label", "safe"),
    [
        ("weight_decay=3", "weight_decay=3"),
        ("penalty.0.strength=1e-05,seed=2", "penalty.0.strength=1e-05,seed=2"),
        ("dropout=[0.2, 0.5]", "dropout=-0.2,-0.5"),
        ("../../etc/passwd", "etc-passwd"),
        ("été", "t"),
        ("con", "run-con"),
        ("Aux.txt", "run-Aux.txt"),
        ("", "run"),
        ("...", "run"),
    ],
)
def test_labels_stay_readable(label: str, safe: str) -> None:
    assert safe_label(label) == safe


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.one_of(st.text(max_size=60), st.sampled_from(HOSTILE)))
def test_a_name_is_one_folder_below_the_runs_directory_or_an_error(
    tmp_path: Path, name: str
) -> None:
    try:
        directory = experiment_dir(tmp_path / "runs", name)
    except UsageError:
        return
    assert directory.resolve() == (tmp_path / "runs").resolve() / name
    assert name not in HOSTILE


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="is not a folder directly below"):
        experiment_dir(tmp_path, name)


def test_a_link_out_of_the_runs_directory_is_refused(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    runs.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (runs / "small").symlink_to(tmp_path / "elsewhere")
    (runs / "loop").symlink_to(runs / "loop")
    with pytest.raises(UsageError):
        experiment_dir(runs, "small")
    with pytest.raises(UsageError):
        experiment_dir(runs, "loop")


def test_a_runs_directory_that_is_itself_a_link_is_fine(tmp_path: Path) -> None:
    (tmp_path / "big-disk").mkdir()
    (tmp_path / "runs").symlink_to(tmp_path / "big-disk")
    assert experiment_dir(tmp_path / "runs", "small") == tmp_path / "runs" / "small"


def test_a_run_has_finished_when_its_summary_is_there(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    assert not run.finished
    run.summary.path.write_text("{}")
    assert run.finished
    names = {path.name for path in (run.config, run.metrics, run.weights, run.checkpoints)}
    assert names == {"config.yaml", "metrics.jsonl", "weights.safetensors", "checkpoints"}
