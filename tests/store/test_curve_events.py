from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorboardX.proto import event_pb2, summary_pb2
from tensorboardX.record_writer import RecordWriter

from regrun.store.curve_events import curve_records, record

STEPS = st.integers(1, 2**40)
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


@settings(max_examples=100)
@given(tags=TAGS, data=st.data())
def test_curves_are_written_as_tensorboardx_writes_them(
    tags: list[str], data: st.DataObject
) -> None:
    steps = data.draw(st.lists(STEPS, min_size=1, max_size=8))
    times = data.draw(st.lists(TIMES, min_size=len(steps), max_size=len(steps)))
    points = st.lists(st.floats(width=32), min_size=len(tags), max_size=len(tags))
    values = [data.draw(points) for _ in steps]
    expected = [
        event_pb2.Event(
            wall_time=time,
            step=step,
            summary=summary_pb2.Summary(
                value=[
                    summary_pb2.Summary.Value(tag=tag, simple_value=value)
                    for tag, value in zip(tags, row, strict=True)
                ]
            ),
        )
        for step, time, row in zip(steps, times, values, strict=True)
    ]
    found = curve_records(tags, np.array(steps), np.array(times), np.array(values))
    assert found == by_tensorboardx(expected)


def test_a_point_at_step_0_is_read_as_such() -> None:
    tail = curve_records(["loss"], np.array([0]), np.array([1e9]), np.array([[0.5]]))[12:-4]
    event = event_pb2.Event.FromString(tail)
    assert (event.step, event.wall_time) == (0, 1e9)
    assert [(value.tag, value.simple_value) for value in event.summary.value] == [("loss", 0.5)]


def test_records_equal_those_of_tensorboardx() -> None:
    events = [event_pb2.Event(file_version="x" * size) for size in (0, 1, 8, 45, 45, 300)]
    assert b"".join(map(record, events)) == by_tensorboardx(events)
