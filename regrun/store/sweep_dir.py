"""Where things lie in a sweep directory, and its plan: what was decided before it was run.

<runs-dir>/<name>/<sweep-id>/
sweep.yaml      the config with its `sweep` section
plan.jsonl      a line per round: the cells, and the stacks they are trained in
summary.json    written last
stacks/<n>/      checkpoints of stacks that are being trained
<run-id>/       the runs
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from regrun.config.paths import portable
from regrun.errors import CorruptInputError
from regrun.kinds.base import Seed
from regrun.results import Listing, SweepSummary, first_problem, json_document, json_line
from regrun.store.atomic import read_bytes, write_atomic
from regrun.store.checksums import check_lines, sealed_document, sealed_lines, text_of
from regrun.store.place import Place, as_folder, is_plain
from regrun.store.reading import load_result, read_listed
from regrun.store.run_dir import RunDir

SWEEP = "sweep.yaml"

Purpose = Literal["cells", "confirmation"]
"""What a round is for."""


def _checked_name(name: str) -> str:
    if not is_plain(name):
        raise ValueError("not the name of a folder")
    return name


Name = Annotated[str, AfterValidator(_checked_name)]
Count = Annotated[int, Field(ge=0)]


@dataclass(frozen=True)
class PlannedRun:
    """A run of the plan.

    directory: its name below the sweep directory. data_seed: its `dataset.seed` where the data vary
    between the replicates of its cell, else None.
    """

    cell: Count
    params: dict[str, Any]
    seed: Seed
    directory: Name
    data_seed: Seed | None = None


@dataclass(frozen=True)
class Round:
    """Runs that were decided on together.

    stacks: indices into runs, one list per stack. data: for each stack, the fingerprint of
    its examples. device: what they were planned for. threads: what each is trained with; None: as
    many as pay. begun_in: the folders that the files of axes
    were looked for in, as `portable` stores them. purpose: a confirmation trains the finalists
    again, and its runs are no replicates of the cells. most: for each stack, how many such runs
    share one at most, where that was measured or memory ran out; empty: nowhere.
    """

    runs: Sequence[PlannedRun]
    stacks: Sequence[Sequence[Count]]
    data: Sequence[str]
    device: str = "auto"
    begun_in: Sequence[str] = ()
    purpose: Purpose = "cells"
    threads: Annotated[int, Field(ge=1)] | None = None
    most: Sequence[Annotated[int, Field(ge=1)] | None] = ()

    @property
    def sizes(self) -> Sequence[int | None]:
        """`most` of each stack."""
        return self.most or [None] * len(self.stacks)


class SweepDir:
    """Where things lie in the directory of one sweep."""

    def __init__(self, directory: Path | Place) -> None:
        self.place = as_folder(directory)
        self.config = self.place / SWEEP
        """The sweep's own config, as it was given."""
        self.plan = self.place / "plan.jsonl"
        """The rounds decided so far."""
        self.summary = self.place / "summary.json"
        """What `--json` prints; it exists once the sweep has ended."""
        self.stacks = self.place / "stacks"
        """The checkpoints of all stacks, a folder each; removed when the sweep ends."""

    @property
    def path(self) -> Path:
        """The sweep directory."""
        return self.place.path

    def run(self, planned: PlannedRun) -> RunDir:
        """The directory of a run."""
        return RunDir(self.place / planned.directory)

    def stack(self, number: int) -> Place:
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
        self.summary.unlink()

    def store_summary(self, summary: SweepSummary) -> SweepSummary:
        """Write the summary, by which the sweep has ended, with the files that it lists.

        Raises StorageError.
        """
        files = {self.plan.name: text_of(read_bytes(self.plan))}
        listed = summary.model_copy(update={"files": files})
        write_atomic(self.summary, sealed_document(json_document(listed)))
        return listed

    def write_rounds(self, rounds: Sequence[Round]) -> None:
        """Replace the plan. Raises StorageError."""
        data, _ = sealed_lines(map(json_line, rounds))
        write_atomic(self.plan, data)

    def read_rounds(self, *, sealed: bool = False) -> list[Round]:
        """The plan; empty before the first round.

        sealed: it must have checksums, as all plans since 0.3. Raises CorruptInputError, also when
        it is not the plan of a sweep that has ended, StorageError.
        """
        done = load_result(self.summary, Listing)
        if done is None and not self.plan.exists():
            return []
        data = read_listed(self.plan, done.files if done else {})
        lines = data.removesuffix(b"\n").split(b"\n")
        check_lines(self.plan, lines, required=sealed)
        rounds = [_parse(self.plan, number, line) for number, line in enumerate(lines, 1)]
        names = Counter(run.directory for each in rounds for run in each.runs)
        twice = [name for name, count in names.items() if count > 1]
        if twice:
            raise CorruptInputError(f"{self.plan}: damaged: two runs in the directory {twice[0]}")
        return rounds


@cache
def _adapter() -> TypeAdapter[Round]:
    return TypeAdapter(Round)


def _parse(plan: Place, number: int, line: bytes) -> Round:
    try:
        parsed = _adapter().validate_json(_renamed(line), strict=True)
    except ValidationError as error:
        raise CorruptInputError(f"{plan}:{number}: not a round: {first_problem(error)}") from error
    indices = sorted(index for members in parsed.stacks for index in members)
    if indices != list(range(len(parsed.runs))):
        raise CorruptInputError(f"{plan}:{number}: damaged: not each run is in one stack")
    if len(parsed.data) != len(parsed.stacks):
        raise CorruptInputError(
            f"{plan}:{number}: damaged: {len(parsed.data)} data of {len(parsed.stacks)} stacks"
        )
    if len(parsed.most) not in (0, len(parsed.stacks)):
        raise CorruptInputError(
            f"{plan}:{number}: damaged: {len(parsed.most)} sizes of {len(parsed.stacks)} stacks"
        )
    return parsed


def _renamed(line: bytes) -> bytes:
    """A round of version 0.1 as later ones call its parts."""
    return line.replace(b'],"packs":', b'],"stacks":', 1) if b'],"packs":' in line else line
