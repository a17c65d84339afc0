"""Checkpoints: bit for bit, damaged ones noticed, older ones kept."""

from __future__ import annotations

import errno
import math
import random
from pathlib import Path

import pytest
import torch

from regrun.errors import CorruptInputError, StorageError
from regrun.store.checkpoint import CheckpointStore
from tests.support.faults import failing


def tensors(step: int) -> dict[str, torch.Tensor]:
    return {
        "weight": torch.full((4, 5), step + 0.1),
        "generator": torch.arange(step, step + 40, dtype=torch.uint8),
        "step": torch.tensor(step),
    }


def saved(directory: Path, *steps: int) -> CheckpointStore:
    store = CheckpointStore(directory)
    for step in steps:
        store.save(tensors(step), {"step": step})
    return store


def assert_holds(store: CheckpointStore, step: int, warnings: int = 0) -> None:
    checkpoint = store.load()
    assert checkpoint is not None
    assert checkpoint.state == {"step": step}
    assert len(checkpoint.warnings) == warnings
    expected = tensors(step)
    assert checkpoint.tensors.keys() == expected.keys()
    for name, tensor in checkpoint.tensors.items():
        assert tensor.dtype == expected[name].dtype
        assert torch.equal(tensor, expected[name])


def damage(path: Path, generator: random.Random) -> None:
    data = bytearray(path.read_bytes())
    if generator.random() < 0.4:
        del data[generator.randrange(len(data)) :]
    else:
        data[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
    path.write_bytes(data)


def generations(directory: Path) -> list[Path]:
    return sorted(directory.iterdir())


def test_none_was_saved_none_is_loaded(tmp_path: Path) -> None:
    assert CheckpointStore(tmp_path / "checkpoints").load() is None
    (tmp_path / "checkpoints").mkdir()
    assert CheckpointStore(tmp_path / "checkpoints").load() is None


def test_the_newest_is_loaded_and_two_checkpoints_are_kept(tmp_path: Path) -> None:
    saved(tmp_path / "c", 1, 2, 3, 4)
    assert_holds(CheckpointStore(tmp_path / "c"), 4)
    assert len(generations(tmp_path / "c")) == 2


def test_state_comes_back_bit_for_bit(tmp_path: Path) -> None:
    state = {
        "best": math.inf,
        "loss": 0.1 + 0.2,
        "tiny": 5e-324,
        "nested": {"a": [1, None, True, "é"]},
        "large": 2**63 + 1,
    }
    CheckpointStore(tmp_path).save({}, {**state, "nan": math.nan})
    checkpoint = CheckpointStore(tmp_path).load()
    assert checkpoint is not None
    assert math.isnan(checkpoint.state.pop("nan"))
    assert checkpoint.state == state
    assert checkpoint.tensors == {}


def all_damage_is_detected(directory: Path, count: int) -> None:
    generator = random.Random(0)
    saved(directory, 1, 2)
    newest = generations(directory)[-1]
    whole = newest.read_bytes()
    for _ in range(count):
        damage(newest, generator)
        assert newest.read_bytes() != whole
        assert_holds(CheckpointStore(directory), 1, warnings=1)
        newest.write_bytes(whole)
    assert_holds(CheckpointStore(directory), 2)


def test_200_damages_of_the_newest_are_detected_and_the_older_is_used(tmp_path: Path) -> None:
    all_damage_is_detected(tmp_path / "c", 200)


@pytest.mark.long
def test_2000_damages_of_the_newest_are_detected_and_the_older_is_used(tmp_path: Path) -> None:
    all_damage_is_detected(tmp_path / "c", 2000)


def test_the_warning_names_the_damaged_file(tmp_path: Path) -> None:
    saved(tmp_path, 1, 2)
    newest = generations(tmp_path)[-1]
    newest.write_bytes(newest.read_bytes()[:-1])
    checkpoint = CheckpointStore(tmp_path).load()
    assert checkpoint is not None
    assert checkpoint.warnings == (
        f"{newest}: damaged: its checksum does not match; using the checkpoint before it",
    )


@pytest.mark.parametrize("steps", [(1,), (1, 2)])
def test_when_all_are_damaged_it_is_an_error_and_no_restart(
    tmp_path: Path, steps: tuple[int, ...]
) -> None:
    saved(tmp_path, *steps)
    for path in generations(tmp_path):
        path.write_bytes(b"")
    with pytest.raises(CorruptInputError, match=f"{tmp_path}: all {len(steps)} checkpoints"):
        CheckpointStore(tmp_path).load()


@pytest.mark.parametrize("load_first", [False, True])
def test_a_damaged_generation_never_takes_the_place_of_a_whole_one(
    tmp_path: Path, load_first: bool
) -> None:
    saved(tmp_path, 1, 2)
    damaged = generations(tmp_path)[-1]
    damaged.write_bytes(b"junk")
    store = CheckpointStore(tmp_path)
    if load_first:
        store.load()
    store.save(tensors(3), {"step": 3})
    assert damaged not in generations(tmp_path)
    assert_holds(CheckpointStore(tmp_path), 3)
    generations(tmp_path)[-1].write_bytes(b"junk")
    assert_holds(CheckpointStore(tmp_path), 1, warnings=1)


@pytest.mark.parametrize("for_ever", [False, True])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EACCES])
def test_a_failing_save_is_a_storage_error_and_loses_no_checkpoint(
    tmp_path: Path, error: int, for_ever: bool
) -> None:
    number = 0
    while True:
        number += 1
        directory = tmp_path / str(number)
        store = saved(directory, 1, 2)
        with failing(number, error, for_ever=for_ever) as faults:
            try:
                store.save(tensors(3), {"step": 3})
            except StorageError as raised:
                assert str(directory) in str(raised)
            else:  # that the directory is there already is found out by failing to create it
                if not faults.reached:
                    break
        checkpoint = CheckpointStore(directory).load()
        assert checkpoint is not None
        assert checkpoint.warnings == ()
        assert checkpoint.state["step"] in (2, 3)
        assert_holds(CheckpointStore(directory), checkpoint.state["step"])
        store.save(tensors(4), {"step": 4})
        assert_holds(CheckpointStore(directory), 4)
    assert number > 9


def test_the_newest_alone_is_kept_when_it_is_to_stay(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    for number in range(3):
        store.save({}, {"number": number})
    store.keep_newest()
    assert len([*tmp_path.iterdir()]) == 1
    checkpoint = store.load()
    assert checkpoint is not None and checkpoint.state == {"number": 2}


def test_clearing_removes_the_directory_but_nothing_of_others(tmp_path: Path) -> None:
    store = saved(tmp_path / "a", 1, 2)
    store.clear()
    store.clear()
    assert list(tmp_path.iterdir()) == []
    store = saved(tmp_path / "b", 1)
    (tmp_path / "b" / "notes.txt").write_text("mine")
    store.clear()
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["notes.txt"]
