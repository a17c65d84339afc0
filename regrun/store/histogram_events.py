"""TensorBoard event records of histograms, for its tabs Histograms and Distributions.

As for curves, one protobuf message is serialised as a template, and NumPy fills in the numbers.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import groupby
from typing import Any

import numpy as np

from regrun.histograms import BINS, HistogramTable, bin_edges
from regrun.store.curve_events import (
    HEAD_BYTES,
    STEP_BYTES,
    TAIL_BYTES,
    masked_checksum,
    record,
    varints,
)

TAG = "parameters/{}"

_NUMBERS = ("min", "max", "num", "sum", "sum_squares")
_BINS = ("bucket_limit", "bucket")


def histogram_records(
    parameters: Mapping[str, HistogramTable], steps: np.ndarray, wall_times: np.ndarray
) -> list[bytes]:
    """A record for each row of the tables, with the parameters that have a finite entry.

    steps, wall_times: (N,), see `curve_records`. Readers take the first bin to begin at `min`, and
    each other one at the limit before it. A single value is in the last of bins without a width, as
    `tf.summary.histogram` has it.
    """
    rows = range(len(steps))
    shown = [
        tuple(name for name, each in parameters.items() if not np.isnan(each.low[row]))
        for row in rows
    ]
    found: dict[int, bytes] = {}
    for names, group in groupby(sorted(rows, key=shown.__getitem__), key=shown.__getitem__):
        alike = list(group)
        tables = {name: parameters[name].take(alike) for name in names}
        found |= zip(alike, _records(tables, steps[alike], wall_times[alike]), strict=True)
    return [found[row] for row in rows]


def _records(
    tables: Mapping[str, HistogramTable], steps: np.ndarray, wall_times: np.ndarray
) -> Iterator[bytes]:
    template, layout = _layout(tuple(tables))
    filled = np.tile(np.frombuffer(template, np.uint8), len(steps)).view(layout)
    filled["wall_time"] = wall_times
    filled["step"] = varints(steps)
    for name, table in tables.items():
        for key, column in _columns(table).items():
            filled[f"{name} {key}"] = column
    data = filled.tobytes()
    for start in range(0, len(data), len(template)):
        whole = data[start : start + len(template)]
        yield whole[:-TAIL_BYTES] + masked_checksum(whole[HEAD_BYTES:-TAIL_BYTES])


def _columns(table: HistogramTable) -> dict[str, np.ndarray]:
    """The fields of TensorBoard's message."""
    edges, counts = bin_edges(table.low, table.high), table.counts
    single = table.low == table.high
    edges[single] = table.low[single, None]
    number = counts.sum(1)
    counts = np.where(single[:, None], 0, counts)
    counts[single, -1] = number[single]
    mean, std = np.nan_to_num(table.mean), np.nan_to_num(table.std)
    with np.errstate(over="ignore"):
        squares = (std**2 + mean**2) * number
    return {
        "min": edges[:, 0],
        "max": edges[:, -1],
        "num": number,
        "sum": mean * number,
        "sum_squares": squares,
        "bucket_limit": edges[:, 1:],
        "bucket": counts,
    }


@lru_cache(maxsize=256)
def _layout(names: tuple[str, ...]) -> tuple[bytes, np.dtype[Any]]:
    """A template record, and its fields: those of each message, `wall_time` and `step`.

    The template holds numbers by which their places are found.
    """
    from tensorboardX.proto import event_pb2, summary_pb2

    marks = iter(np.linspace(math.e, math.pi, len(names) * (len(_NUMBERS) + BINS * len(_BINS)) + 1))
    values = []
    first: dict[str, float] = {}
    for name in names:
        numbers = {key: float(next(marks)) for key in _NUMBERS}
        bins = {key: [float(next(marks)) for _ in range(BINS)] for key in _BINS}
        message = summary_pb2.HistogramProto(**numbers, **bins)
        values.append(summary_pb2.Summary.Value(tag=TAG.format(name), histo=message))
        first |= {f"{name} {key}": mark for key, mark in numbers.items()}
        first |= {f"{name} {key}": marked[0] for key, marked in bins.items()}
    summary = summary_pb2.Summary(value=values)
    event = event_pb2.Event(wall_time=1.0, step=1 << 7 * (STEP_BYTES - 1), summary=summary)
    template = record(event)
    formats = {key: f"({BINS},)<f8" if key.endswith(_BINS) else "<f8" for key in first}
    offsets = {key: template.index(struct.pack("<d", mark)) for key, mark in first.items()}
    layout: Any = {
        "names": ["wall_time", "step", *formats],
        "formats": ["<f8", f"({STEP_BYTES},)u1", *formats.values()],
        "offsets": [HEAD_BYTES + 1, HEAD_BYTES + 10, *offsets.values()],
        "itemsize": len(template),
    }
    return template, np.dtype(layout)
