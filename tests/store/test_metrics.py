"""The lines of metrics.jsonl."""

from __future__ import annotations

import errno
import json
import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from crc32c import crc32c
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from regrun.errors import CorruptInputError, StorageError
from regrun.results import json_document, json_line
from regrun.store.lines import LinesWriter
from regrun.store.metrics import metrics_frame, read_metrics, truncate_after
from tests.support.faults import failing, recorded
from tests.support.tampering import write_lines

ROWS = [{"epoch": n, "step": 4 * n, "train/loss": 1 / n, "lr": 0.1} for n in range(1, 6)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    writer = LinesWriter(tmp_path / "metrics.jsonl")
    for row in ROWS:
        writer.add(row)
    writer.flush()
    return tmp_path / "metrics.jsonl"


def test_rows_come_back_bit_for_bit_a_line_each(path: Path) -> None:
    assert read_metrics(path) == ROWS
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [{key: line[key] for key in line if key != "checksum"} for line in lines] == ROWS


def test_the_checksum_of_a_line_is_that_of_all_bytes_before_it(path: Path) -> None:
    content = path.read_bytes()
    for line in content.splitlines():
        checksum = json.loads(line)["checksum"]
        before, _, _ = content.partition(f',"checksum":"{checksum}"'.encode())
        assert checksum == f"{crc32c(before):08x}"


def test_nothing_is_written_before_the_flush_and_one_write_does_it(tmp_path: Path) -> None:
    writer = LinesWriter(tmp_path / "m")
    writer.add(ROWS[0])
    writer.add(ROWS[1])
    assert not (tmp_path / "m").exists()
    with recorded() as operations:
        writer.flush()
        writer.flush()
    assert operations.names == ["open", "open", "write", "close"]  # the folder, the file
    assert read_metrics(tmp_path / "m") == ROWS[:2]


def test_no_file_means_no_rows(tmp_path: Path) -> None:
    assert read_metrics(tmp_path / "none") == []
    assert truncate_after(tmp_path / "none", 3) == ([], b"")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_become_null(tmp_path: Path, value: float) -> None:
    writer = LinesWriter(tmp_path / "m")
    writer.add({"epoch": 1, "step": 1, "train/loss": value, "lr": 0.5})
    writer.flush()
    row = {"epoch": 1, "step": 1, "train/loss": None, "lr": 0.5}
    written = json.loads((tmp_path / "m").read_text())
    assert {key: each for key, each in written.items() if key != "checksum"} == row
    assert read_metrics(tmp_path / "m") == [row]


def test_a_torn_last_line_is_dropped_wherever_it_is_torn(path: Path) -> None:
    whole = path.read_bytes()
    last = whole.rstrip(b"\n").rindex(b"\n") + 1
    for cut in range(last, len(whole)):
        path.write_bytes(whole[:cut])
        assert read_metrics(path) == ROWS[:-1]


def test_any_changed_byte_is_noticed(path: Path) -> None:
    whole = path.read_bytes()
    unnoticed = []
    for place in range(len(whole)):
        for flip in (1, 2, 0x10, 0x20, 0x80):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ flip]) + whole[place + 1 :])
            with suppress(CorruptInputError):
                if read_metrics(path) != ROWS[: path.read_bytes().count(b"\n")]:
                    unnoticed.append((place, flip))
    assert unnoticed == []


@pytest.mark.parametrize("edit", ["lost", "twice", "swapped", "glued", "of another file"])
def test_a_changed_order_of_lines_is_noticed(path: Path, tmp_path: Path, edit: str) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    if edit == "lost":
        del lines[1]
    elif edit == "twice":
        lines.insert(2, lines[1])
    elif edit == "swapped":
        lines[1:3] = lines[2], lines[1]
    elif edit == "glued":
        lines[0] = lines[0].rstrip(b"\n") + b","
    else:
        other = LinesWriter(tmp_path / "other")
        other.add(*({**row, "lr": 0.2} for row in ROWS))
        other.flush()
        lines[2] = (tmp_path / "other").read_bytes().splitlines(keepends=True)[2]
    path.write_bytes(b"".join(lines))
    with pytest.raises(CorruptInputError, match=r"metrics\.jsonl:[123]: damaged"):
        read_metrics(path)


WRONG = [
    {"epoch": 1, "step": -1},
    {"epoch": 1, "step": 1.5},
    {"epoch": 1, "step": True},
    {"epoch": 1},
    {"epoch": 1, "step": 20},
    {"step": 24},
    {"epoch": 9, "step": 24, "lr": "0.1"},
    {"epoch": 9, "step": 24, "lr": [0.1]},
]


@pytest.mark.parametrize("row", WRONG)
def test_a_line_that_is_no_evaluation_is_named_though_its_checksum_is_right(
    path: Path, row: dict[str, Any]
) -> None:
    write_lines(path, [*ROWS, row])
    with pytest.raises(CorruptInputError, match=r"metrics\.jsonl:6: not an evaluation: "):
        read_metrics(path)


@pytest.mark.parametrize("line", [b"[1]", b"7", b"{}", b'{"step": 1.5}', b"\xff"])
def test_a_line_without_a_checksum_is_named(path: Path, line: bytes) -> None:
    path.write_bytes(path.read_bytes() + line + b"\n")
    with pytest.raises(CorruptInputError, match=r"metrics\.jsonl:6: damaged"):
        read_metrics(path)


def test_files_of_earlier_versions_have_no_checksums(path: Path) -> None:
    path.write_bytes(b"".join(map(json_line, ROWS)))
    assert read_metrics(path) == ROWS
    path.write_bytes(path.read_bytes() + b"[1]\n")
    with pytest.raises(CorruptInputError, match=r"metrics\.jsonl:6: not an evaluation"):
        read_metrics(path)


@pytest.mark.parametrize(("step", "kept"), [(0, 0), (3, 0), (4, 1), (9, 2), (20, 5), (99, 5)])
def test_truncating_keeps_the_rows_up_to_the_step(path: Path, step: int, kept: int) -> None:
    before = path.read_bytes()
    path.write_bytes(before + b'{"step": 24, "tor')
    remaining = b"".join(before.splitlines(keepends=True)[:kept])
    assert truncate_after(path, step) == (ROWS[:kept], remaining)
    assert path.read_bytes() == remaining


@pytest.mark.parametrize("for_ever", [False, True])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EACCES])
def test_a_failing_flush_leaves_whole_lines_and_can_be_tried_again(
    tmp_path: Path, error: int, for_ever: bool
) -> None:
    for number in (1, 2, 3):  # the folder and the file opened, written
        path = tmp_path / f"{number}"
        writer = LinesWriter(path)
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
