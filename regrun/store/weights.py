"""Named tensors in a safetensors file with a checksum; no pickle."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from regrun.errors import CorruptInputError
from regrun.store.atomic import read_bytes, write_atomic
from regrun.store.checksums import text_of
from regrun.store.place import Place, as_file

_CHECKSUM = "blake2b"

_SMALL = 1_000_000
"""Bytes that safetensors takes besides tensors."""


def save_weights(
    file: Path | Place, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> str:
    """Write tensors of any device and layout, with a checksum; returns that of the file's bytes.

    Raises `StorageError`, in which case an existing file is unchanged.
    """
    portable = to_portable(tensors)
    data = encode(portable, {**(metadata or {}), _CHECKSUM: _checksum(portable)})
    write_atomic(file, data, durable=False)
    return text_of(data)


def load_weights(file: Path | Place) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors, on the CPU, and the metadata.

    Files of other programs, without a checksum, are accepted. Raises `CorruptInputError`,
    `StorageError`, FileNotFoundError.
    """
    place = as_file(file)
    return parse_weights(place, read_bytes(place))


def parse_weights(place: Place, data: bytes) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The same of the content of a file. Raises `CorruptInputError`."""
    tensors, metadata = decode(place, data)
    checksum = metadata.pop(_CHECKSUM, None)
    if checksum is not None and checksum != _checksum(tensors):
        raise CorruptInputError(f"{place}: damaged: its checksum does not match")
    return tensors, metadata


def to_portable(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors as safetensors needs them: on the CPU, contiguous, not sharing memory."""
    portable: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        plain = tensor.detach().cpu().contiguous()
        if plain.data_ptr() in seen:  # tied weights
            plain = plain.clone()
        seen.add(plain.data_ptr())
        portable[name] = plain
    return portable


def encode(portable: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """The content of a safetensors file. portable: what `to_portable` gives."""
    _check_room(2 * sum(tensor.nbytes for tensor in portable.values()))
    return save(dict(portable), dict(metadata))


def _check_room(size: int) -> None:
    """Raise what torch raises where it gets no memory of this size; it is not written to.

    safetensors, which is written in Rust, ends the process instead.
    """
    torch.empty(size + _SMALL, dtype=torch.uint8)


def decode(place: Place, data: bytes) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata from the bytes of a safetensors file; ``place`` is for messages.

    Raises `CorruptInputError`.
    """
    _check_room(len(data))
    try:
        tensors = load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    except (SafetensorError, ValueError, KeyError) as error:
        raise CorruptInputError(f"{place}: not a whole safetensors file: {error}") from error
    return tensors, header.get("__metadata__", {})


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
