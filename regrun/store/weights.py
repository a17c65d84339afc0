"""Named tensors in a safetensors file: no pickle, and damage is always noticed."""

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

_CHECKSUM = "blake2b"


def save_weights(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write the tensors, of any device and layout, with a checksum over them.

    Raises `StorageError`; what was at ``path`` is then untouched.
    """
    portable = to_portable(tensors)
    data = save(portable, {**(metadata or {}), _CHECKSUM: _checksum(portable)})
    write_atomic(path, data, durable=False)


def load_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors, on the CPU, and the metadata.

    A file of another program, without our checksum, is read too. Raises `CorruptInputError`,
    `StorageError`, FileNotFoundError.
    """
    tensors, metadata = decode(path, read_bytes(path))
    checksum = metadata.pop(_CHECKSUM, None)
    if checksum is not None and checksum != _checksum(tensors):
        raise CorruptInputError(f"{path}: damaged: its checksum does not match")
    return tensors, metadata


def to_portable(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors as safetensors takes them: on the CPU, contiguous, none sharing its memory."""
    portable: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        plain = tensor.detach().cpu().contiguous()
        if plain.data_ptr() in seen:  # tied weights
            plain = plain.clone()
        seen.add(plain.data_ptr())
        portable[name] = plain
    return portable


def decode(path: Path, data: bytes) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of the safetensors bytes that were read from ``path``.

    Raises `CorruptInputError`.
    """
    try:
        tensors = load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    except (SafetensorError, ValueError, KeyError) as error:
        raise CorruptInputError(f"{path}: not a whole safetensors file: {error}") from error
    return tensors, header.get("__metadata__", {})


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
