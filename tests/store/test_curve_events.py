"""Event records against those that TensorBoard's own writer makes."""

from __future__ import annotations

import struct
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorboardX.proto import event_pb2
from tensorboardX.record_writer import RecordWriter, masked_crc32c

from regrun.store.curve_events import curve_records, record

STEPS = st.integers(0, 2**42 - 1)
TIMES = st.floats(1e8, 4e9)
TAGS = st.lists(st.text(min_size=1, max_size=150), min_size=1, max_size=5, unique=True)


def by_tensorboardx(events: list[event_pb2.Event]) -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "reference"
        writer = RecordWriter(str(path))
        for event in events:
            writer.write(event.SerializeToString())
        writer.close()
        return path.read_bytes()


def messages(records: bytes, size: int) -> list[event_pb2.Event]:
    """Every message, once its record is seen to be what tensorboardX would write of it."""
    parts = [records[start : start + size] for start in range(0, len(records), size)]
    for part in parts:
        length = struct.pack("<Q", size - 16)
        assert part[:8] == length
        assert part[8:12] == struct.pack("<I", masked_crc32c(length))
        assert part[-4:] == struct.pack("<I", masked_crc32c(part[12:-4]))
    return [event_pb2.Event.FromString(part[12:-4]) for part in parts]


@settings(max_examples=100)
@given(tags=TAGS, data=st.data())
def test_curves_are_read_as_they_were(tags: list[str], data: st.DataObject) -> None:
    steps = data.draw(st.lists(STEPS, max_size=8))
    times = data.draw(st.lists(TIMES, min_size=len(steps), max_size=len(steps)))
    points = st.lists(st.floats(width=32, allow_nan=False), min_size=len(tags), max_size=len(tags))
    values = [data.draw(points) for _ in steps]
    table = np.reshape(np.array(values), (len(steps), len(tags)))
    events = messages(*curve_records(tuple(tags), np.array(steps), np.array(times), table))
    assert [(event.step, event.wall_time) for event in events] == list(
        zip(steps, times, strict=True)
    )
    for event, row in zip(events, values, strict=True):
        found = [(value.tag, value.simple_value) for value in event.summary.value]
        assert found == list(zip(tags, row, strict=True))


def test_records_equal_those_of_tensorboardx() -> None:
    events = [event_pb2.Event(file_version="x" * size) for size in (0, 1, 8, 45, 45, 300)]
    assert b"".join(map(record, events)) == by_tensorboardx(events)
