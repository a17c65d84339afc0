"""Stored weights."""

from __future__ import annotations

import errno
import random
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from regrun.errors import CorruptInputError, StorageError
from regrun.store import weights
from regrun.store.weights import load_weights, save_weights
from tests.support.faults import failing

TENSORS = {
    "hidden.0.weight": torch.arange(12.0).reshape(3, 4),
    "hidden.0.bias": torch.tensor([0.0, -0.0, torch.inf]),
    "scalar": torch.tensor(2.5, dtype=torch.float64),
    "empty": torch.empty(0, 3),
    "counts": torch.tensor([1, 2**40]),
    "mask": torch.tensor([True, False]),
    "half": torch.tensor([1.5, 2.5], dtype=torch.bfloat16),
    "state": torch.arange(250, dtype=torch.uint8),
}


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(
        left[name].dtype == right[name].dtype and torch.equal(left[name], right[name])
        for name in left
    )


def test_tensors_and_metadata_come_back_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_weights(path, TENSORS, {"epoch": "7"})
    tensors, metadata = load_weights(path)
    assert same(tensors, TENSORS)
    assert metadata == {"epoch": "7"}
    tensors["hidden.0.weight"].add_(1)  # the caller's own memory


def test_any_safetensors_reader_can_read_them(tmp_path: Path) -> None:
    save_weights(tmp_path / "w", TENSORS)
    assert same(load_file(tmp_path / "w"), TENSORS)


def test_views_of_one_buffer_transposes_and_tied_weights_are_stored_as_they_look(
    tmp_path: Path,
) -> None:
    flat = torch.arange(10.0, requires_grad=True)
    tensors = {
        "a": flat[:6].view(2, 3),
        "b": flat[6:],
        "transposed": torch.arange(6.0).reshape(2, 3).t(),
        "column": torch.arange(6.0).reshape(2, 3)[:, 1],
        "tied": flat[6:],
        "stacked": torch.arange(4.0).expand(3, 4),
    }
    save_weights(tmp_path / "w", tensors)
    assert same(load_weights(tmp_path / "w")[0], {k: v.detach() for k, v in tensors.items()})


def test_a_file_of_another_program_is_read_too(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "w", {"by": "someone"})
    tensors, metadata = load_weights(tmp_path / "w")
    assert same(tensors, TENSORS)
    assert metadata == {"by": "someone"}


def test_no_cut_and_no_flipped_bit_gives_other_tensors(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_weights(path, {name: TENSORS[name] for name in ("hidden.0.weight", "scalar", "state")})
    whole = path.read_bytes()
    right, _ = load_weights(path)
    generator = random.Random(0)
    noticed = 0
    for _ in range(300):
        if generator.random() < 0.3:
            damaged = whole[: generator.randrange(len(whole))]
        else:
            position = generator.randrange(len(whole))
            flipped = whole[position] ^ (1 << generator.randrange(8))
            damaged = whole[:position] + bytes([flipped]) + whole[position + 1 :]
        path.write_bytes(damaged)
        try:
            tensors, _ = load_weights(path)
        except CorruptInputError as error:
            assert str(path) in str(error)
            noticed += 1
        else:  # only the words of the header's own checksum entry may go unnoticed
            assert same(tensors, right)
    assert noticed > 280


@pytest.mark.parametrize("content", [b"", b"\0", b"\xff" * 100, b"not tensors at all"])
def test_what_is_no_safetensors_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w").write_bytes(content)
    with pytest.raises(CorruptInputError, match="w: not a whole safetensors file"):
        load_weights(tmp_path / "w")


def test_a_failing_disk_leaves_the_old_weights(tmp_path: Path) -> None:
    path = tmp_path / "w"
    old, new = {"a": torch.zeros(3)}, {"a": torch.ones(3)}
    for number in range(1, 5):  # open, write, close, replace
        save_weights(path, old)
        with failing(number, errno.ENOSPC), pytest.raises(StorageError, match="disk full"):
            save_weights(path, new)
        assert same(load_weights(path)[0], old)


def test_a_lack_of_memory_is_noticed_before_safetensors_ends_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "weights.safetensors"
    save_weights(file, TENSORS)
    monkeypatch.setattr(weights, "_SMALL", 10**15)
    for work in (lambda: save_weights(tmp_path / "other", TENSORS), lambda: load_weights(file)):
        with pytest.raises(RuntimeError, match="can't allocate memory"):
            work()
    assert not (tmp_path / "other").exists()
