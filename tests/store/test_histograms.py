"""The lines of histograms.jsonl, and the events that TensorBoard reads."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboardX.proto import event_pb2, summary_pb2

from regrun.errors import CorruptInputError
from regrun.histograms import BINS, Histogram, Histograms, HistogramTable, WeightHistograms
from regrun.store.curve_events import HEAD_BYTES, TAIL_BYTES
from regrun.store.histogram_events import histogram_records
from regrun.store.histograms import keep_counted, read_histograms
from regrun.store.lines import LinesWriter
from tests.support.histograms import histogram_of, stored, tables_of
from tests.support.tampering import write_lines

DRAW = np.random.default_rng(0)
COUNTED = [
    Histograms(
        epoch,
        4 * epoch,
        {
            "output.weight": histogram_of(DRAW.normal(size=50)),
            "output.bias": histogram_of(DRAW.uniform(size=3), "bias"),
        },
    )
    for epoch in (0, 2, 4, 5)
]
LOST = Histogram("weight", 0, 50, None, None, None, None, [0] * BINS)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    writer = LinesWriter(tmp_path / "histograms.jsonl")
    writer.add(*COUNTED)
    writer.flush()
    return tmp_path / "histograms.jsonl"


def test_they_come_back_as_they_were(path: Path) -> None:
    assert read_histograms(path) == COUNTED
    assert path.read_bytes().count(b"\n") == len(COUNTED)
    assert read_histograms(path.with_name("none")) == []


def test_those_of_a_lost_network_come_back(tmp_path: Path) -> None:
    writer = LinesWriter(tmp_path / "h")
    lost = replace(COUNTED[0], parameters={"output.weight": LOST})
    writer.add(lost)
    writer.flush()
    assert read_histograms(tmp_path / "h") == [lost]


def test_a_torn_last_line_does_not_count(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])
    assert read_histograms(path) == COUNTED[:-1]


@pytest.mark.parametrize("at", range(7, 2000, 137))
def test_any_flipped_bit_is_noticed_with_its_line(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 4
    path.write_bytes(data)
    number = data.count(b"\n", 0, at) + 1
    with pytest.raises(CorruptInputError, match=re.escape(f"{path}:{number}")):
        read_histograms(path)


def named(**parameters: Histogram) -> dict[str, Histogram]:
    return dict(parameters)


WEIGHT, OTHER = histogram_of(DRAW.normal(size=5)), histogram_of(DRAW.normal(size=6))


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ([(1, 4, named(w=WEIGHT)), (1, 4, named(w=WEIGHT))], "step 4 after step 4"),
        ([(2, 4, named(w=WEIGHT)), (1, 8, named(w=WEIGHT))], "step 8 after step 4"),
        ([(1, 4, named(w=WEIGHT)), (2, 8, named(v=WEIGHT))], "parameters.v: not at all times"),
        ([(1, 4, named(w=WEIGHT)), (2, 8, named())], "parameters.w: not at all times"),
        ([(1, 4, named(w=WEIGHT)), (2, 8, named(w=OTHER))], "parameters.w: another size or role"),
        (
            [(1, 4, named(w=WEIGHT)), (2, 8, named(w=replace(WEIGHT, role="bias")))],
            "parameters.w: another size or role",
        ),
    ],
)
def test_lines_that_do_not_follow_each_other_are_refused(
    tmp_path: Path, lines: list[tuple[int, int, dict[str, Histogram]]], problem: str
) -> None:
    writer = LinesWriter(tmp_path / "h")
    writer.add(*(Histograms(*line) for line in lines))
    writer.flush()
    with pytest.raises(CorruptInputError, match=re.escape(f"h:2: no histograms: {problem}")):
        read_histograms(tmp_path / "h")


def test_lines_without_a_checksum_are_refused(path: Path) -> None:
    lines = [re.sub(rb',"checksum":"[0-9a-f]+"', b"", line) for line in path.read_bytes().split()]
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    with pytest.raises(CorruptInputError, match=r"jsonl:1: damaged: its checksum is missing"):
        read_histograms(path)


def test_what_is_no_histogram_is_named_with_its_line(tmp_path: Path) -> None:
    write_lines(tmp_path / "h", [{"epoch": 1, "step": 4, "parameters": {"w": {"role": "weight"}}}])
    with pytest.raises(CorruptInputError, match=r"h:1: no histograms: parameters\.w\.zeros: "):
        read_histograms(tmp_path / "h")


def test_a_resumed_run_keeps_what_it_had_reached(path: Path) -> None:
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    assert keep_counted(path, [(0, 0), (2, 8), (4, 16)]) == b"".join(lines[:3])
    assert path.read_bytes() == b"".join(lines[:3])
    assert keep_counted(path, []) == path.read_bytes() == b""


@pytest.mark.parametrize(
    ("expected", "line"), [([(0, 0), (1, 4)], 2), ([(0, 0), (2, 8), (4, 16), (5, 20), (6, 24)], 5)]
)
def test_what_a_run_had_reached_must_be_there(
    path: Path, expected: list[tuple[int, int]], line: int
) -> None:
    before = path.read_bytes()
    with pytest.raises(CorruptInputError, match=rf"{path.name}: damaged: line {line} is not of"):
        keep_counted(path, expected)
    assert path.read_bytes() == before


def records(*counted: Histograms) -> list[bytes]:
    steps = np.array([each.step for each in counted])
    return histogram_records(tables_of(counted), steps, np.linspace(100.0, 101.0, len(counted)))


def read_events(folder: Path, data: bytes) -> EventAccumulator:
    (folder / "events.out.tfevents.1.here").write_bytes(data)
    return EventAccumulator(str(folder), {"histograms": 0}).Reload()


def message_of(histogram: Histogram) -> summary_pb2.HistogramProto:
    """By the library that the bytes are not made with."""
    assert histogram.mean is not None
    assert histogram.std is not None
    count, edges = sum(histogram.counts), histogram.edges.tolist()
    return summary_pb2.HistogramProto(
        min=edges[0],
        max=edges[-1],
        num=count,
        sum=histogram.mean * count,
        sum_squares=(histogram.std**2 + histogram.mean**2) * count,
        bucket_limit=edges[1:],
        bucket=histogram.counts,
    )


def test_records_are_those_that_protobuf_writes() -> None:
    for record, each in zip(records(*COUNTED[1:]), COUNTED[1:], strict=True):
        event = event_pb2.Event.FromString(record[HEAD_BYTES:-TAIL_BYTES])
        assert (event.step, [value.tag for value in event.summary.value]) == (
            each.step,
            [f"parameters/{name}" for name in each.parameters],
        )
        for value, histogram in zip(event.summary.value, each.parameters.values(), strict=True):
            assert value.histo == message_of(histogram)


def test_tensorboard_reads_the_bins_as_they_were_counted(tmp_path: Path) -> None:
    lost = Histograms(
        9, 36, {"output.weight": LOST, "output.bias": COUNTED[0].parameters["output.bias"]}
    )
    nothing = Histograms(10, 40, {"output.weight": LOST, "output.bias": replace(LOST, role="bias")})
    events = read_events(tmp_path, b"".join(records(*COUNTED, lost, nothing)))
    assert set(events.Tags()["histograms"]) == {
        "parameters/output.weight",
        "parameters/output.bias",
    }
    assert [each.step for each in events.Histograms("parameters/output.bias")][-1] == 36
    found = events.Histograms("parameters/output.weight")
    assert [each.step for each in found] == [0, 8, 16, 20]
    for each, counted in zip(found, COUNTED, strict=True):
        own, value = counted.parameters["output.weight"], each.histogram_value
        assert [value.min, *value.bucket_limit] == own.edges.tolist()
        assert value.bucket == own.counts


def test_tensorboard_shows_the_bins_as_they_were_counted() -> None:
    """Its tabs take tensors (left, right, count), to which it converts what files hold."""
    from tensorboard import data_compat, dataclass_compat
    from tensorboard.compat.proto import event_pb2 as own_pb2
    from tensorboard.util import tensor_util

    data = records(COUNTED[1])[0][HEAD_BYTES:-TAIL_BYTES]
    event = data_compat.migrate_event(own_pb2.Event.FromString(data))
    (event,) = dataclass_compat.migrate_event(event, {})
    shown = {value.tag: tensor_util.make_ndarray(value.tensor) for value in event.summary.value}
    for name, own in COUNTED[1].parameters.items():
        table = shown[f"parameters/{name}"]
        np.testing.assert_allclose(table[:, 0], own.edges[:-1], rtol=1e-6)
        np.testing.assert_allclose(table[:, 1], own.edges[1:], rtol=1e-6)
        np.testing.assert_array_equal(table[:, 2], own.counts)


def test_a_single_value_is_in_bins_without_a_width(tmp_path: Path) -> None:
    constant = Histograms(1, 4, {"b": histogram_of(np.full(7, -0.5))})
    (found,) = read_events(tmp_path, records(constant)[0]).Histograms("parameters/b")
    value = found.histogram_value
    assert (value.min, value.max, value.num) == (-0.5, -0.5, 7)
    assert (value.bucket_limit, value.bucket) == ([-0.5] * BINS, [0] * (BINS - 1) + [7])


def test_a_table_has_the_rows_that_it_was_made_of() -> None:
    column = [each.parameters["output.weight"] for each in COUNTED] + [LOST]
    table = HistogramTable.of(column)
    found = WeightHistograms(2, 8, range(5), {"w": table})
    assert [each.parameters["w"] for each in stored(found).values()] == column
    assert [each.parameters["w"] for each in stored(found.of([4, 1])).values()] == [LOST, column[1]]
