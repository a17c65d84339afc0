"""Stored runs, found and read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from regrun.errors import CorruptInputError, UsageError
from regrun.results import DataCard, InputCard, Task
from regrun.store.lock import exclusive
from regrun.store.place import Place
from regrun.store.reading import (
    StoredRun,
    find_runs,
    load_stored_run,
    load_test_examples,
    read_card,
)
from regrun.store.run_dir import claim_run_dir
from regrun.store.writer import RunWriter
from tests.support.scripted_run import CONFIG, EVALUATIONS, HPARAMS, SUMMARY, examples, live, row
from tests.support.tampering import relist, write_document, write_yaml


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    directory = tmp_path / "run"
    live(directory)
    return directory


def test_a_finished_run_is_read_back(finished: Path) -> None:
    run = load_stored_run(finished)
    assert run.status == "completed"
    assert run.summary is not None
    assert run.summary.model_copy(update={"files": {}}) == SUMMARY
    assert run.rows == [row(step) for step in range(1, EVALUATIONS + 1)]
    assert run.metrics["train/loss"].tolist() == [stored["train/loss"] for stored in run.rows]
    assert run.config == {"name": "small", "optimizer": {"name": "sgd", "lr": 0.1}}


def test_without_a_summary_it_is_running_while_someone_holds_it_else_interrupted(
    tmp_path: Path,
) -> None:
    directory = claim_run_dir(tmp_path / "sweep")
    RunWriter.create(directory, CONFIG, HPARAMS)
    run = load_stored_run(directory)
    assert run.summary is None
    assert run.status == "interrupted"
    for held in (directory, directory.parent):
        with exclusive(held):
            assert run.status == "running"
    assert run.status == "interrupted"
    assert run.rows == []


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        *((text, "not JSON") for text in ("", "{", '{"status": "comp', "\ufffe", "[" * 100_000)),
        ("[]", "damaged: the document: "),
        ("{}", "damaged: run_dir: field required"),
        ('{"run_dir": "x", "status": 3}', "damaged: status: "),
        ('{"run_dir": "x", "status": "done"}', "damaged: status: "),
        (
            '{"run_dir": "x", "status": "failed", "metrics": {"test/loss": "low"}}',
            "damaged: metrics.test/loss: input should be a valid number",
        ),
        (
            '{"run_dir": "x", "status": "failed", "weights": {"per_layer": {"a.b": {"l2": []}}}}',
            "damaged: weights.per_layer.a.b.l2: input should be a valid number",
        ),
    ],
)
def test_a_damaged_summary_is_named_with_its_key(
    finished: Path, content: str, complaint: str
) -> None:
    (finished / "summary.json").write_text(content)
    with pytest.raises(CorruptInputError, match=re.escape(f"summary.json: {complaint}")):
        load_stored_run(finished)


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("summary.json", lambda run: run.summary),
        ("config.yaml", lambda run: run.config),
        ("metrics.jsonl", lambda run: run.rows),
        ("data.json", read_card),
        ("test_examples.safetensors", lambda run: run.test_examples),
    ],
)
def test_any_changed_byte_of_a_finished_run_is_noticed(
    finished: Path, name: str, read: Callable[[StoredRun], object]
) -> None:
    describe(finished)
    file = finished / name
    whole = file.read_bytes()
    unnoticed = []
    for at in range(0, len(whole), 1 + len(whole) // 300):
        for flip in (1, 4, 0x20, 0x80):
            file.write_bytes(whole[:at] + bytes([whole[at] ^ flip]) + whole[at + 1 :])
            try:
                read(load_stored_run(finished))
            except CorruptInputError as error:
                assert str(file) in str(error)
            else:
                unnoticed.append((at, flip))
    for length in (0, 1, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:length])
        with pytest.raises(CorruptInputError, match=re.escape(str(file))):
            read(load_stored_run(finished))
    file.write_bytes(whole)
    read(load_stored_run(finished))
    assert unnoticed == []


@pytest.mark.parametrize(
    "name", ["config.yaml", "metrics.jsonl", "test_examples.safetensors", "data.json"]
)
def test_a_missing_file_is_named(finished: Path, name: str) -> None:
    describe(finished)
    (finished / name).unlink()
    run = load_stored_run(finished)
    with pytest.raises(CorruptInputError, match=re.escape(f"{finished / name}: missing")):
        _ = run.config, run.rows, run.test_examples, read_card(run)


def test_damaged_metrics_are_named_with_their_line(finished: Path) -> None:
    text = (finished / "metrics.jsonl").read_text().replace('"step":2,', '"step":2', 1)
    (finished / "metrics.jsonl").write_text(text)
    relist(finished)
    run = load_stored_run(finished)
    with pytest.raises(CorruptInputError, match=r"metrics\.jsonl:2: "):
        _ = run.rows


@pytest.mark.parametrize("content", [b"a: [\n", b"\x00\n", b"just words\n", b"!!python/none x\n"])
def test_a_damaged_config_is_named(finished: Path, content: bytes) -> None:
    write_yaml(finished / "config.yaml", content.decode("latin-1"))
    relist(finished)
    run = load_stored_run(finished)
    with pytest.raises(CorruptInputError, match=r"config\.yaml: not "):
        _ = run.config


def describe(directory: Path, task: Task = "classification", count: int = 5) -> None:
    """Write what the run's data are taken for."""
    card = DataCard(
        dataset="d",
        task=task,
        sizes={"test": count},
        test_set="the set",
        input=InputCard(shape=[2], dtype="text"),
    )
    write_document(directory / "data.json", card.to_dict())
    summary = json.loads((directory / "summary.json").read_bytes())
    summary["files"]["data.json"] = ""
    write_document(directory / "summary.json", summary)
    relist(directory)


def test_results_on_test_examples_are_read_back(finished: Path) -> None:
    describe(finished)
    for found in (load_test_examples(finished), load_stored_run(finished).test_examples):
        assert found is not None and found.correct is not None
        assert found.loss.tolist() == examples()["loss"].tolist()
        assert found.correct.tolist() == [True, False, True, True, False]
        assert found.test_set == "the set"
    (finished / "test_examples.safetensors").unlink()
    relist(finished)
    assert load_test_examples(finished) is None


def test_of_numbers_there_is_only_the_loss(finished: Path) -> None:
    describe(finished, "regression", 2)
    path = finished / "test_examples.safetensors"
    save_file({"loss": torch.tensor([0.25, 2], dtype=torch.float64)}, path)
    relist(finished)
    found = load_test_examples(finished)
    assert found is not None and found.correct is None
    assert found.loss.dtype == "float64"
    assert found.loss.tolist() == [0.25, 2.0]


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"loss": None}, "holds correct, not loss and correct"),
        ({"correct": None}, "holds loss, not loss and correct"),
        ({"more": torch.ones(5)}, "holds correct, loss, more, not loss and correct"),
        ({"loss": torch.arange(5)}, "loss is of type int64, not float32 or float64"),
        ({"loss": torch.ones(5).bfloat16()}, "loss is of type bfloat16, not float32 or float64"),
        ({"correct": torch.ones(5)}, "correct is of type float32, not uint8"),
        ({"loss": torch.ones(4)}, "loss has shape (4,), and the test set 5 examples"),
        ({"loss": torch.ones(5, 1)}, "loss has shape (5, 1), and the test set 5 examples"),
        ({"correct": torch.ones(6).byte()}, "correct has shape (6,), and the test set 5 examples"),
        ({"loss": torch.tensor([1, 2, 3, 4, torch.nan])}, "loss is not finite everywhere"),
        ({"loss": torch.tensor([1, 2, 3, 4, torch.inf])}, "loss is not finite everywhere"),
        ({"correct": torch.tensor([0, 1, 2, 0, 0]).byte()}, "correct is not 0 or 1 everywhere"),
    ],
)
def test_wrong_results_on_test_examples_are_named(
    finished: Path, changes: dict[str, torch.Tensor | None], complaint: str
) -> None:
    describe(finished)
    path = finished / "test_examples.safetensors"
    tensors = {name: t for name, t in {**examples(), **changes}.items() if t is not None}
    save_file(tensors, path)
    relist(finished)
    with pytest.raises(CorruptInputError, match=re.escape(f"{path}: damaged: {complaint}")):
        load_test_examples(finished)


def test_a_flipped_or_missing_byte_of_them_is_noticed(finished: Path) -> None:
    describe(finished)
    path = finished / "test_examples.safetensors"
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole[:-1] + bytes([whole[-1] ^ 1]), b"", b"{}"):
        path.write_bytes(damaged)
        with pytest.raises(CorruptInputError, match=re.escape(str(path))):
            load_test_examples(finished)


def test_without_the_data_card_they_are_not_believed(finished: Path) -> None:
    with pytest.raises(CorruptInputError, match=r"data\.json: missing"):
        load_test_examples(finished)
    describe(finished)
    (finished / "data.json").write_text("{}")
    with pytest.raises(CorruptInputError, match=r"data\.json: damaged"):
        load_test_examples(finished)


def test_what_is_no_run_is_a_usage_error(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(UsageError, match=r"not a run directory: it has no config\.yaml"):
            load_stored_run(path)


def found(*paths: Path) -> list[Path]:
    return [run.path for run in find_runs(paths)]


def test_links_to_runs_are_not_followed(tmp_path: Path, finished: Path) -> None:
    (tmp_path / "runs" / "a").mkdir(parents=True)
    (tmp_path / "runs" / "a" / "linked").symlink_to(finished)
    (tmp_path / "runs" / "loop").symlink_to(tmp_path / "runs")
    assert found(tmp_path / "runs") == []
    assert found(tmp_path / "runs" / "a" / "linked") == [tmp_path / "runs" / "a" / "linked"]


def test_runs_are_found_from_every_level_in_order_and_once(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    places = ["a/seed0-x", "b/sweep-1/lr=1-x", "b/sweep-1/lr=2-x", "b/seed0-y"]
    for place in reversed(places):
        (runs / place).mkdir(parents=True)
        (runs / place / "config.yaml").write_text(CONFIG)
        (runs / place / "train").mkdir()
    (runs / "b" / "claimed-but-empty").mkdir()
    (runs / "stray.txt").write_text("")
    in_order = ["a/seed0-x", "b/seed0-y", "b/sweep-1/lr=1-x", "b/sweep-1/lr=2-x"]
    assert found(runs) == [runs / place for place in in_order]
    assert found(runs / "b") == [runs / place for place in in_order[1:]]
    assert found(runs / "b" / "sweep-1") == [runs / place for place in in_order[2:]]
    assert found(runs / "a" / "seed0-x") == [runs / "a" / "seed0-x"]
    assert found(runs / "b" / "sweep-1", runs) == [
        runs / place for place in [*in_order[2:], *in_order[:2]]
    ]
    with pytest.raises(UsageError, match="none is not a directory"):
        find_runs([runs / "none"])


def test_a_summary_alone_is_read_with_one_open(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    real = Place.open

    def opening(place: Place, flags: int) -> int:
        opened.append(place.name)
        return real(place, flags)

    monkeypatch.setattr(Place, "open", opening)
    assert load_stored_run(finished).status == "completed"
    assert opened == ["summary.json"]
