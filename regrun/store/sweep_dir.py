"""Where things lie in a sweep directory, and its plan: what was decided before it was run.

<runs-dir>/<name>/<sweep-id>/
sweep.yaml      the config with its `sweep` section
plan.jsonl      a line per round: the cells, and the stacks they are trained in
summary.json    written last
stacks/<n>/      checkpoints of stacks that are being trained
<run-id>/       the runs
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from regrun.config.paths import portable
from regrun.errors import CorruptInputError
from regrun.store.atomic import read_bytes, storage_errors, write_atomic

SWEEP = "sweep.yaml"

Purpose = Literal["cells", "confirmation"]
"""What a round is for."""


@dataclass(frozen=True)
class PlannedRun:
    """A run of the plan.

    directory: its name below the sweep directory. data_seed: its `dataset.seed` where the data vary
    between the replicates of its cell, else None.
    """

    cell: int
    params: dict[str, Any]
    seed: int
    directory: str
    data_seed: int | None = None


@dataclass(frozen=True)
class Round:
    """Runs that were decided on together.

    stacks: indices into runs, one list per stack. data: for each stack, the fingerprint of
    its examples. device: what they were planned for. begun_in: the folders that the files of axes
    were looked for in, as `portable` stores them. purpose: a confirmation trains the finalists
    again, and its runs are no replicates of the cells.
    """

    runs: Sequence[PlannedRun]
    stacks: Sequence[Sequence[int]]
    data: Sequence[str]
    device: str = "auto"
    begun_in: Sequence[str] = ()
    purpose: Purpose = "cells"


class SweepDir:
    """The paths of one sweep."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / SWEEP
        """The sweep's own config, as it was given."""
        self.plan = path / "plan.jsonl"
        """The rounds decided so far."""
        self.summary = path / "summary.json"
        """What `--json` prints; it exists once the sweep has ended."""
        self.stacks = path / "stacks"
        """The checkpoints of all stacks, a folder each; removed when the sweep ends."""

    def stack(self, number: int) -> Path:
        """The folder of a stack's checkpoints."""
        return self.stacks / str(number)

    def portable(self, folders: Sequence[Path]) -> list[str]:
        """Folders as the plan stores them, so that they can be moved with the sweep."""
        return [portable(str(each), self.path, folders) for each in folders]

    def begun_in(self, first: Round) -> list[Path]:
        """The folders of `Round.begun_in`, where they are now."""
        here = self.path.resolve()
        return [Path(os.path.normpath(here / each)) for each in first.begun_in]

    def reopen(self) -> None:
        """Make an ended sweep one that is to be resumed. Raises StorageError."""
        with storage_errors(self.summary, "removed"):
            self.summary.unlink(missing_ok=True)

    def write_rounds(self, rounds: Sequence[Round]) -> None:
        """Replace the plan. Raises StorageError."""
        lines = [json.dumps(asdict(each), separators=(",", ":")) + "\n" for each in rounds]
        write_atomic(self.plan, "".join(lines))

    def read_rounds(self) -> list[Round]:
        """The plan; empty before the first round. Raises CorruptInputError, StorageError."""
        try:
            lines = read_bytes(self.plan).splitlines()
        except FileNotFoundError:
            return []
        rounds = []
        for number, line in enumerate(lines, start=1):
            try:
                data = json.loads(line)
                runs = [PlannedRun(**run) for run in data["runs"]]
                stacks = data["stacks"] if "stacks" in data else data["packs"]  # until 0.1
                begun_in = data.get("begun_in", ())
                purpose = data.get("purpose", "cells")
                rounds.append(Round(runs, stacks, data["data"], data["device"], begun_in, purpose))
            except (ValueError, KeyError, TypeError) as error:
                raise CorruptInputError(f"{self.plan}:{number}: not a round: {error}") from error
        return rounds
