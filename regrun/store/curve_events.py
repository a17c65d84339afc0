"""TensorBoard event records for many points at once.

The events of one set of tags differ only in step, time and values, whose byte offsets are fixed. So
one protobuf message is serialised as a template, and NumPy fills in all points of a flush. This
is far faster than a message per point, but depends on how protobuf encodes these messages:
`tests/store/test_curve_events.py` compares the bytes with tensorboardX's own.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Any

import numpy as np
from crc32c import crc32c

HEAD_BYTES = 12
"""Size of a record's header: the length of the data and the checksum of the length."""

TAIL_BYTES = 4
"""Size of a record's footer: the checksum of the data."""

STEP_BYTES = 6
"""Width of the varint-encoded step. Wider than most steps need (readers accept padded varints), so
that all records have one size."""


def record(event: Any) -> bytes:
    """One message as a TFRecord: length, checksum of the length, data, checksum of the data."""
    data: bytes = event.SerializeToString()
    head = struct.pack("<Q", len(data))
    return b"".join([head, masked_checksum(head), data, masked_checksum(data)])


def curve_records(
    tags: tuple[str, ...], steps: np.ndarray, wall_times: np.ndarray, values: np.ndarray
) -> tuple[bytes, int]:
    """One record per step with every tag's value, concatenated, and the size of one record.

    steps, wall_times: (N,), steps from 0 to 2^42, wall times in seconds since 1970. values:
    (N, len(tags)); values that float32 cannot hold become infinite.
    """
    template, layout = _layout(tags)
    table = np.tile(np.frombuffer(template, np.uint8), len(steps)).view(layout)
    table["wall_time"] = wall_times
    table["step"] = varints(steps)
    with np.errstate(over="ignore"):
        for position in range(len(tags)):
            table[str(position)] = values[:, position]
    data, size = table.tobytes(), len(template)
    starts = range(0, len(data), size)
    checksums = [crc32c(data[start + HEAD_BYTES : start + size - TAIL_BYTES]) for start in starts]
    table["checksum"] = _masked(np.array(checksums, np.uint64))
    return table.tobytes(), size


@lru_cache(maxsize=256)
def _layout(tags: tuple[str, ...]) -> tuple[bytes, np.dtype[Any]]:
    """A template record and its fields: `wall_time`, `step`, "0", "1", … (values), `checksum`."""
    from tensorboardX.proto import event_pb2, summary_pb2

    values = [summary_pb2.Summary.Value(tag=tag, simple_value=0.0) for tag in tags]
    summary = summary_pb2.Summary(value=values)
    event = event_pb2.Event(wall_time=1.0, step=1 << 7 * (STEP_BYTES - 1), summary=summary)
    template = record(event)
    # The wall time comes first, then the step, each after a one-byte field key. Each value ends a
    # nested message.
    places = {
        "wall_time": ("<f8", HEAD_BYTES + 1),
        "step": (f"({STEP_BYTES},)u1", HEAD_BYTES + 10),
        "checksum": ("<u4", len(template) - TAIL_BYTES),
    }
    end = len(template) - TAIL_BYTES
    for position, value in reversed(list(enumerate(values))):
        places[str(position)] = ("<f4", end - 4)
        size = value.ByteSize()
        end -= 1 + max(1, -(-size.bit_length() // 7)) + size  # field key, size as a varint
    formats, offsets = zip(*places.values(), strict=True)
    layout: Any = {
        "names": list(places),
        "formats": formats,
        "offsets": offsets,
        "itemsize": len(template),
    }
    return template, np.dtype(layout)


def varints(numbers: np.ndarray) -> np.ndarray:
    """(N,) → (N, STEP_BYTES): seven bits per byte, lowest first, bit 7 set in all but the last."""
    place = np.arange(STEP_BYTES)
    bits = (numbers.astype(np.int64)[:, None] >> 7 * place) & 0x7F
    return bits | np.where(place < STEP_BYTES - 1, 0x80, 0)


def masked_checksum(part: bytes) -> bytes:
    """The checksum of a part of a record, as the record holds it."""
    return int(_masked(crc32c(part))).to_bytes(TAIL_BYTES, "little")


def _masked(checksum: Any) -> Any:
    """Mask a CRC-32C as the TFRecord format does."""
    rotated = (checksum >> 15) | (checksum << 17)
    return (rotated + 0xA282EAD8) & 0xFFFFFFFF
