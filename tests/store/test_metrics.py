"""The lines of metrics.jsonl."""

from __future__ import annotations

import errno
import json
import math
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from regrun.errors import CorruptInputError, StorageError
from regrun.results import json_document, json_line
from regrun.store.metrics import MetricsWriter, metrics_frame, read_metrics, truncate_after
from tests.support.faults import failing, recorded

ROWS = [{"epoch": n, "step": 4 * n, "train/loss": 1 / n, "lr": 0.1} for n in range(1, 6)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    writer = MetricsWriter(tmp_path / "metrics.jsonl")
    for row in ROWS:
        writer.add(row)
    writer.flush()
    return tmp_path / "metrics.jsonl"


def test_rows_come_back_bit_for_bit_a_line_each(path: Path) -> None:
    assert read_metrics(path) == ROWS
    assert [json.loads(line) for line in path.read_text().splitlines()] == ROWS


def test_nothing_is_written_before_the_flush_and_one_write_does_it(tmp_path: Path) -> None:
    writer = MetricsWriter(tmp_path / "m")
    writer.add(ROWS[0])
    writer.add(ROWS[1])
    assert not (tmp_path / "m").exists()
    with recorded() as operations:
        writer.flush()
        writer.flush()
    assert operations.names == ["open", "write", "close"]
    assert read_metrics(tmp_path / "m") == ROWS[:2]


def test_no_file_means_no_rows(tmp_path: Path) -> None:
    assert read_metrics(tmp_path / "none") == []
    assert truncate_after(tmp_path / "none", 3) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_become_null(tmp_path: Path, value: float) -> None:
    writer = MetricsWriter(tmp_path / "m")
    writer.add({"step": 1, "train/loss": value, "lr": 0.5})
    writer.flush()
    assert (tmp_path / "m").read_text() == '{"step":1,"train/loss":null,"lr":0.5}\n'
    assert read_metrics(tmp_path / "m") == [{"step": 1, "train/loss": None, "lr": 0.5}]


def test_a_torn_last_line_is_dropped_wherever_it_is_torn(path: Path) -> None:
    whole = path.read_bytes()
    last = whole.rstrip(b"\n").rindex(b"\n") + 1
    for cut in range(last, len(whole)):
        path.write_bytes(whole[:cut])
        assert read_metrics(path) == ROWS[:-1]


def test_a_damaged_line_is_named(path: Path) -> None:
    lines = path.read_bytes().split(b"\n")
    lines[2] = lines[2][:-4]
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(CorruptInputError, match=r"metrics\.jsonl:3: not a line of JSON"):
        read_metrics(path)


@pytest.mark.parametrize(
    "line", [b"[1]", b"7", b"{}", b'{"step": 1.5}', b'{"step": true}', b"\xff"]
)
def test_a_line_that_is_no_evaluation_is_named(path: Path, line: bytes) -> None:
    path.write_bytes(path.read_bytes() + line + b"\n")
    with pytest.raises(CorruptInputError, match=r"metrics\.jsonl:6: not "):
        read_metrics(path)


def test_two_lines_glued_into_one_do_not_pass_as_one(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"}\n{", b"},{", 1))
    with pytest.raises(CorruptInputError, match=r":1:"):
        read_metrics(path)


@pytest.mark.parametrize(("step", "kept"), [(0, 0), (3, 0), (4, 1), (9, 2), (20, 5), (99, 5)])
def test_truncating_keeps_the_rows_up_to_the_step(path: Path, step: int, kept: int) -> None:
    before = path.read_bytes()
    path.write_bytes(before + b'{"step": 24, "tor')
    assert truncate_after(path, step) == ROWS[:kept]
    assert path.read_bytes() == b"".join(before.splitlines(keepends=True)[:kept])


@pytest.mark.parametrize("for_ever", [False, True])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EACCES])
def test_a_failing_flush_leaves_whole_lines_and_can_be_tried_again(
    tmp_path: Path, error: int, for_ever: bool
) -> None:
    for number in (1, 2):  # open, write
        path = tmp_path / f"{number}"
        writer = MetricsWriter(path)
        writer.add(ROWS[0])
        writer.flush()
        writer.add(ROWS[1])
        with failing(number, error, for_ever=for_ever), pytest.raises(StorageError):
            writer.flush()
        assert read_metrics(path) == ROWS[:1]
        writer.flush()
        assert read_metrics(path) == ROWS[:2]


def test_the_frame_has_a_line_per_evaluation_and_nan_for_null(path: Path) -> None:
    frame = metrics_frame([*read_metrics(path), {"step": 24, "train/loss": None}])
    assert list(frame.columns) == ["epoch", "step", "train/loss", "lr"]
    assert frame["train/loss"][:5].tolist() == [row["train/loss"] for row in ROWS]
    assert math.isnan(frame["train/loss"][5])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=JSON)
def test_strict_json_is_read_by_a_reader_that_refuses_nan(value: object) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    def without_nan(item: object) -> object:
        if isinstance(item, float):
            return item if math.isfinite(item) else None
        if isinstance(item, list):
            return [without_nan(inner) for inner in item]
        if isinstance(item, dict):
            return {key: without_nan(inner) for key, inner in item.items()}
        return item

    for text in (json_line(value), json_document(value)):
        assert json.loads(text, parse_constant=refuse) == without_nan(value)
