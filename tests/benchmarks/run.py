"""Benchmarks: regrun and the ways people do the same today, in one run. Nothing is asserted.

    python -m tests.benchmarks.run                        every figure
    python -m tests.benchmarks.run help train-weight-decay --repeats 7
    python -m tests.benchmarks.run gpu                    all that begin with gpu

Whole commands run in alternation, each in an empty folder, all on the same cores. Times are
medians over the rounds; a ratio is the median of the rounds' own ratios. Figures on a busy machine
mean little, their ratios something. The peers' packages come with the extra `bench`; those that
are not installed are left out. MNIST and Fashion-MNIST are looked for in REGRUN_DATA.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table as RichTable

from tests.benchmarks.figures import FIGURES, Table
from tests.benchmarks.measuring import IMPORT_TORCH, BenchmarkError, Settings, execute


def main() -> int:
    """Measure the figures that are asked for, and remove what that left."""
    options = _parser().parse_args()
    _pin(options.threads)
    with TemporaryDirectory(prefix="benchmark-", dir=options.folder) as folder:
        repeats = 1 if options.quick else options.repeats
        settings = Settings(
            Path(folder), options.threads, repeats, options.quick, options.full, options.device
        )
        return measure(named(options.figures), settings, as_json=options.json)


def named(words: Iterable[str]) -> list[str]:
    """The figures of these names, or that begin with them as `gpu-mlp` with gpu; default: all."""
    found: list[str] = []
    for word in words:
        matching = [name for name in FIGURES if name.startswith(f"{word}-")]
        if word not in FIGURES and not matching:
            raise SystemExit(f"no such figure: {word}; there are {', '.join(FIGURES)}")
        found += [word] if word in FIGURES else matching
    return found or [*FIGURES]


def measure(figures: Iterable[str], settings: Settings, *, as_json: bool) -> int:
    """Print the figures; 1 when one of them could not be measured."""
    console = Console(stderr=as_json, width=None if sys.stdout.isatty() else 130)
    execute(IMPORT_TORCH, settings)  # brings files into memory
    _say_where(console, settings)
    measured: dict[str, Any] = {}
    failures = 0
    for name in figures:
        try:
            table = FIGURES[name](settings)
        except BenchmarkError as error:
            failures += not name.startswith("gpu-")
            console.print(f"\n{name}: {error}", style="yellow", markup=False, highlight=False)
            continue
        console.print(_rich(table))
        measured[name] = asdict(table)
    if as_json:
        print(json.dumps(measured, indent=2))
    return 1 if failures else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("figures", nargs="*", metavar="FIGURE", help=", ".join(FIGURES))
    parser.add_argument("--threads", type=int, default=1, help="cores for each (default: 1)")
    parser.add_argument("--repeats", type=int, default=3, help="rounds (default: 3)")
    parser.add_argument(
        "--device", choices=["cuda", "cpu"], default="cuda", help="of gpu-…; cpu tries the scripts"
    )
    parser.add_argument("--folder", help="where the commands run (default: a temporary folder)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does everything work?")
    parser.add_argument("--full", action="store_true", help="nothing scaled: takes long")
    parser.add_argument("--json", action="store_true", help="the figures as JSON on stdout")
    return parser


def _pin(threads: int) -> None:
    """Keep this process, and with it all its children, to so many cores."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def _say_where(console: Console, settings: Settings) -> None:
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    console.print(
        f"{platform.machine()}, {os.cpu_count()} cores{load}; each on {settings.threads}; "
        f"{settings.repeats} round(s); Python {platform.python_version()}",
        highlight=False,
    )


def _rich(table: Table) -> RichTable:
    shown = RichTable(title=f"\n{table.title}", title_justify="left", box=box.SIMPLE_HEAD)
    shown.caption, shown.caption_justify = table.note or None, "left"
    shown.add_column("")
    for heading in (table.unit, "min – max", table.ratio, "must reach", "aim"):
        shown.add_column(heading, justify="right", no_wrap=True)
    for row in table.rows:
        spread = f"{_number(min(row.values))} – {_number(max(row.values))}"
        ratio = "" if row.ratio is None else _ratio(row.ratio, table.is_share)
        shown.add_row(row.name, _number(row.value), spread, ratio, row.must, row.aim)
    return shown


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _ratio(value: float, share: bool) -> str:
    return f"{100 * value:.3g}%" if share else f"{_number(value)}×"


if __name__ == "__main__":
    sys.exit(main())
