"""Checkpoints: the state that a resume needs.

A checkpoint is one safetensors file: the tensors, and the rest of the state as JSON in its header.
Its name holds its number and the checksum of all its bytes, so any damage is noticed. The last two
checkpoints are kept, so that one of them is whole after a kill at any moment.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from regrun.errors import CorruptInputError
from regrun.store.atomic import (
    make_directory,
    read_bytes,
    remove_stale_temporaries,
    write_atomic,
)
from regrun.store.place import Place, as_folder
from regrun.store.weights import decode, encode, to_portable

_NAME = re.compile(r"(\d{8})-([0-9a-f]{32})\.safetensors")


@dataclass(frozen=True)
class Checkpoint:
    """A state read from a file."""

    file: Place
    tensors: dict[str, Tensor]
    """On the CPU."""
    state: Any
    """What JSON holds: whoever asks for it has to parse it."""
    warnings: tuple[str, ...] = ()
    """Messages for the user about newer checkpoints that were damaged and skipped."""


class CheckpointStore:
    """The checkpoints in one directory; one writer at a time (`regrun.store.lock`)."""

    def __init__(self, directory: Path | Place) -> None:
        self._directory = as_folder(directory)
        self._last_good: Place | None = None

    def save(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Write a checkpoint, then remove all others but the last good one.

        ``state`` is anything that JSON can hold; floats are restored bit for bit, NaN and
        infinities included, tuples as lists. Flush the metrics first: a resume truncates them to
        the checkpoint, but cannot restore what was never written. Raises `StorageError`; the
        earlier checkpoints are then still there.
        """
        make_directory(self._directory)
        data = encode(to_portable(tensors), {"state": json.dumps(state)})
        earlier = self._files()
        number = int(earlier[0].name[:8]) + 1 if earlier else 1
        place = self._directory / f"{number:08d}-{_checksum(data)}.safetensors"
        write_atomic(place, data)
        if self._last_good is None:
            remove_stale_temporaries(self._directory)
            whole = (old for old in earlier if _matches(old, read_bytes(old)))
            self._last_good = next(whole, None)
        self._remove(old for old in earlier if old != self._last_good)
        self._last_good = place

    def load(self) -> Checkpoint | None:
        """The newest undamaged checkpoint; None when none was ever completed.

        Raises `CorruptInputError` when all checkpoints are damaged, or an undamaged one is none,
        `StorageError`.
        """
        warnings: list[str] = []
        for place in self._files():
            data = read_bytes(place)
            if not _matches(place, data):
                damage = f"{place}: damaged: its checksum does not match"
                warnings.append(f"{damage}; using the checkpoint before it")
                continue
            # Whoever wrote this meant it: it is no damage that the checkpoint before would mend.
            tensors, state = _parse(place, data)
            self._last_good = place
            return Checkpoint(place, tensors, state, tuple(warnings))
        if warnings:
            raise CorruptInputError(
                f"{self._directory}: all {len(warnings)} checkpoints are damaged; "
                "the run can only be started again"
            )
        return None

    def damaged(self) -> list[Place]:
        """The checkpoints whose checksums do not match. Raises `StorageError`."""
        return [place for place in self._files() if not _matches(place, read_bytes(place))]

    def clear(self) -> None:
        """Remove all checkpoints, after the run has ended. Raises `StorageError`."""
        if self._directory.is_folder():
            remove_stale_temporaries(self._directory)
            self._remove(self._files())
            if not self._directory.entries():
                self._directory.remove_folder()

    def keep_newest(self) -> None:
        """Remove all checkpoints but the newest. Raises `StorageError`."""
        self._remove(self._files()[1:])

    def _files(self) -> list[Place]:
        """The checkpoint files, newest first."""
        names = [name for name in self._directory.entries() if _NAME.fullmatch(name)]
        return [self._directory / name for name in reversed(names)]

    def _remove(self, places: Iterable[Place]) -> None:
        for place in places:
            place.unlink()


def _parse(place: Place, data: bytes) -> tuple[dict[str, Tensor], Any]:
    tensors, metadata = decode(place, data)
    try:
        return tensors, json.loads(metadata["state"])
    except (KeyError, ValueError, RecursionError) as error:
        raise CorruptInputError(f"{place}: damaged: its header holds no state in JSON") from error


def _matches(place: Place, data: bytes) -> bool:
    return place.name == f"{place.name[:8]}-{_checksum(data)}.safetensors"


def _checksum(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
