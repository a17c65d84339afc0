"""How long a reader takes for a table of numbers, and how much memory at its peak.

    python -m tests.benchmarks.probes.reading pandas|regrun FILE

Imports are left out of both; each reader has a process of its own, whose peak is its own.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

import pandas as pd
import psutil

from regrun.data.preprocessing import TableFormat
from regrun.data.table_file import read_table


def peak() -> int:
    """The most memory that the process has had so far, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def main() -> None:
    """Read the file once and say what it took."""
    reader, name = sys.argv[1:]
    before, started = psutil.Process().memory_info().rss, time.perf_counter()
    if reader == "pandas":
        rows = len(pd.read_csv(name))
    else:
        rows = read_table(Path(name), TableFormat()).rows
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "bytes": peak() - before, "rows": rows}))


if __name__ == "__main__":
    main()
