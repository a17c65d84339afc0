"""Whole commands, timed in alternation, and what is made of their times."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CONFIGS = ROOT / "configs"


class BenchmarkError(Exception):
    """A command did not do what it was to be timed for."""


@dataclass(frozen=True)
class Finished:
    """One execution. seconds: of the whole command. report: the JSON line that it printed last."""

    seconds: float
    report: Mapping[str, Any]


@dataclass(frozen=True)
class Contender:
    """One way to do the work.

    figure: what counts of an execution; default: its seconds. once: too slow to be repeated.
    """

    name: str
    command: Sequence[str]
    figure: Callable[[Finished], float] = lambda finished: finished.seconds
    once: bool = False


@dataclass(frozen=True)
class Row:
    """A line of the table. values: one per round; ratios: to the reference, round by round."""

    name: str
    values: list[float]
    ratios: list[float] = field(default_factory=list)
    must: str = ""
    aim: str = ""

    @property
    def value(self) -> float:
        """The median."""
        return median(self.values)

    @property
    def ratio(self) -> float | None:
        """The median of the rounds' own ratios."""
        return median(self.ratios) if self.ratios else None


@dataclass(frozen=True)
class Settings:
    """folder: where the commands run, each in a new folder of its own. threads: cores that every
    contender may use. repeats: rounds. quick: tiny; full: unscaled. device: of the figures `gpu-…`.
    """

    folder: Path
    threads: int = 1
    repeats: int = 3
    quick: bool = False
    full: bool = False
    device: str = "cuda"

    def size(self, quick: int, usual: int, full: int | None = None) -> int:
        """One of the sizes."""
        return quick if self.quick else (full or usual) if self.full else usual


def python(script: str, *arguments: object) -> list[str]:
    """A command that runs a script of this folder."""
    return [sys.executable, str(HERE / script), *map(str, arguments)]


def probe(module: str, *arguments: object) -> list[str]:
    """A command that runs a module of `probes`."""
    return [sys.executable, "-m", f"tests.benchmarks.probes.{module}", *map(str, arguments)]


IMPORT_TORCH = [sys.executable, "-c", "import torch"]
"""The least that any program with PyTorch takes."""


def regrun(*arguments: object) -> list[str]:
    """A regrun command, of this interpreter's environment."""
    script = Path(sys.executable).with_name("regrun")
    program = str(script) if script.exists() else shutil.which("regrun")
    if program is None:
        raise BenchmarkError("regrun is not installed for this Python")
    return [program, *map(str, arguments)]


def alternate(contenders: Sequence[Contender], settings: Settings) -> dict[str, list[float]]:
    """Every contender's figures, a round of all contenders after another: A B A B …

    What changes with time on a busy machine then falls on all of them alike.
    Raises BenchmarkError.
    """
    figures: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    for turn in range(settings.repeats):
        for contender in contenders:
            if turn == 0 or not contender.once:
                finished = execute(contender.command, settings)
                figures[contender.name].append(contender.figure(finished))
    return figures


def execute(command: Sequence[str], settings: Settings) -> Finished:
    """Run a command in an empty folder of its own and time it. Raises BenchmarkError.

    The folder is left: ext4 takes ten times as long to create files where many were just deleted.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": str(settings.threads), "COLUMNS": "100"}
    found = [str(ROOT), *filter(None, [environment.get("PYTHONPATH")])]
    environment["PYTHONPATH"] = os.pathsep.join(found)  # for the probes, which are modules here
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # start-up is with compiled files, as usual
    folder = tempfile.mkdtemp(dir=settings.folder)
    started = time.perf_counter()
    process = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - started
    if process.returncode != 0:
        tail = "\n".join((process.stderr or process.stdout).strip().splitlines()[-5:])
        shown = " ".join(word if len(word) < 80 else f"{word[:60]}…" for word in command)
        raise BenchmarkError(f"exit {process.returncode}: {shown}\n{tail}")
    lines = process.stdout.strip().splitlines()
    is_report = bool(lines) and lines[-1].startswith("{") and lines[-1].endswith("}")
    return Finished(seconds, json.loads(lines[-1]) if is_report else {})


@dataclass(frozen=True)
class Way:
    """One way to train networks in several shapes, whose report has the milliseconds of each.

    peer: another program, which may not be there.
    """

    name: str
    command: Sequence[str]
    peer: bool = False


@dataclass(frozen=True)
class Shapes:
    """Milliseconds of one step by shape and way, one per round; and what is to be known of them."""

    milliseconds: Mapping[str, Mapping[str, list[float]]]
    note: str


def alternate_shapes(ways: Sequence[Way], settings: Settings) -> Shapes:
    """Every way's milliseconds, a round of all ways after another. Raises BenchmarkError."""
    found: dict[str, dict[str, list[float]]] = {}
    notes: dict[str, None] = {}
    for _ in range(settings.repeats):
        for way in ways:
            try:
                report = execute(way.command, settings).report
            except BenchmarkError as error:
                if not way.peer:
                    raise
                notes[f"{way.name} is left out: {str(error).splitlines()[-1]}"] = None
                continue
            notes |= dict.fromkeys([report["device"], *report.get("notes", ())])
            for shape, milliseconds in report["milliseconds"].items():
                found.setdefault(shape, {}).setdefault(way.name, []).append(milliseconds)
    return Shapes(found, "; ".join(notes))


class IdleGPU:
    """The share of the time inside the block in which no kernel ran, as nvidia-smi samples it.

    `share` is None where there is no nvidia-smi, or nothing was sampled.
    """

    def __init__(self) -> None:
        self.share: float | None = None
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> IdleGPU:
        program = shutil.which("nvidia-smi")
        if program is not None:
            query = ["--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
            command = [program, "--id=0", *query, "--loop-ms=100"]
            self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            lines = self._process.communicate()[0].split()
            busy = [float(line) for line in lines if line.isdigit()]
            if busy:
                self.share = 1 - sum(busy) / len(busy) / 100


def scaled_to(runs: int) -> Callable[[Finished], float]:
    """Seconds of the whole command, had it done this many runs."""

    def figure(finished: Finished) -> float:
        missing = runs - int(finished.report["runs"])
        return finished.seconds + missing * float(finished.report["seconds_per_run"])

    return figure


def milliseconds_a_member_step(finished: Finished) -> float:
    """Read a report with seconds, steps and members."""
    report = finished.report
    member_steps = int(report["steps"]) * int(report.get("members", 1))
    return 1000 * float(report["seconds"]) / member_steps


def find_data(folder: str) -> None:
    """Raise BenchmarkError when an image set is not there: nothing is downloaded while timing."""
    root = Path(os.environ.get("REGRUN_DATA", "data"))
    if not (root / folder / "raw" / "train-images-idx3-ubyte").is_file():
        raise BenchmarkError(f"{folder} is not in {root}/ (set REGRUN_DATA)")
    os.environ["REGRUN_DATA"] = str(root.resolve())  # the commands run in folders of their own


def divide(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Round by round, for as many rounds as both have."""
    return [a / b for a, b in zip(above, below, strict=False)]
