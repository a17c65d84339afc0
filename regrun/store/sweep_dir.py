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
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from regrun.errors import CorruptInputError
from regrun.store.atomic import read_bytes, write_atomic

SWEEP = "sweep.yaml"


@dataclass(frozen=True)
class PlannedRun:
    """A run of the plan. directory: its name below the sweep directory."""

    cell: int
    params: dict[str, Any]
    seed: int
    directory: str


@dataclass(frozen=True)
class Round:
    """Runs that were decided on together.

    stacks: indices into runs, one list per stack. data: for each stack, the fingerprint of
    its examples. device: what they were planned for.
    """

    runs: Sequence[PlannedRun]
    stacks: Sequence[Sequence[int]]
    data: Sequence[str]
    device: str = "auto"


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
                rounds.append(Round(runs, stacks, data["data"], data["device"]))
            except (ValueError, KeyError, TypeError) as error:
                raise CorruptInputError(f"{self.plan}:{number}: not a round: {error}") from error
        return rounds
