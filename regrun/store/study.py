"""What a study needs to be carried on, besides its config: `study.json`, written first of all."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from regrun.errors import CorruptInputError, UsageError
from regrun.results import Result, StudySummary, json_document
from regrun.store.atomic import read_bytes, write_atomic
from regrun.store.checksums import check_document, missing_checksum, sealed_document
from regrun.store.lock import holder
from regrun.store.place import Place, as_folder
from regrun.store.run_dir import RunDir
from regrun.store.sweep_dir import SweepDir

STUDY = "study.json"

PATH_CONFIG = "path.yaml"
"""The config of a path, in its directory."""

_DEPTH = 3
"""Levels from the runs directory down to a path of a reproduction."""


class AblatedIngredient(Result):
    """What a config has switched on. key: the dotted one of its section or value."""

    name: str
    key: str


class AblationStudy(Result):
    """A sweep whose first cells are those of an ablation, in their order."""

    verb: Literal["ablate"]
    ingredients: list[AblatedIngredient]


class PathStudy(Result):
    """A path and how it is solved."""

    verb: Literal["path"]
    number: int = Field(ge=2)
    ratio: float = Field(gt=0, lt=1)
    folds: int = Field(ge=2)
    device: str
    stack_size: int = Field(ge=1)
    """Members of a stack: results differ in their last bits between sizes."""
    data: str
    """The fingerprint of the examples."""
    threads: int | None = Field(default=None, ge=1)
    """What it is solved with; None: as many as pay."""


class ReproductionStudy(Result):
    """A reproduction; its sweeps and paths lie in its directory, each under the name of its part.

    seeds: judged seeds of each method; None: the reproduction's own.
    """

    verb: Literal["reproduce"]
    name: str
    seeds: int | None = Field(ge=1)
    device: str
    threads: int | None = Field(default=None, ge=1)


Study = AblationStudy | PathStudy | ReproductionStudy


class _Stored(Result):
    study: Annotated[Study, Field(discriminator="verb")]


def write_study(directory: Path, study: Study) -> None:
    """Store it in a directory that was just claimed. Raises StorageError."""
    document = sealed_document(json_document(_Stored(study=study)))
    write_atomic(as_folder(directory) / STUDY, document)


def read_study(directory: Path | Place) -> Study | None:
    """The study of a directory; None when there is none. Raises CorruptInputError, StorageError."""
    place = as_folder(directory) / STUDY
    try:
        data = read_bytes(place)
    except FileNotFoundError:
        return None
    if not check_document(place, data):
        raise missing_checksum(place)
    return _Stored.from_json(data, place).study


def find_studies(
    runs_dir: Path, on_damage: Callable[[CorruptInputError], None]
) -> list[tuple[Path, Study]]:
    """The studies below a runs directory, in order of their names, without those that others hold.

    on_damage: called for each that is damaged and left out. Raises StorageError.
    """
    found = []
    for place in study_places(Place(runs_dir), parts=False):
        try:
            study = read_study(place)
        except CorruptInputError as damage:
            on_damage(damage)
            continue
        if study is not None:
            found.append((place.path, study))
    return found


def study_places(place: Place, *, parts: bool = True, depth: int = _DEPTH) -> Iterator[Place]:
    """Every directory of a study at or below a place, in order of their names.

    parts: with the studies that a study holds in its directory. Raises StorageError.
    """
    is_study = (place / STUDY).exists()
    if is_study:
        yield place
    if not depth or (is_study and not parts) or SweepDir(place).config.exists():
        return
    for name in place.folders():
        yield from study_places(place / name, parts=parts, depth=depth - 1)


def summary_of(directory: Path, study: Study) -> StudySummary:
    """What `regrun list runs` says of a study."""
    status: Literal["completed", "running", "interrupted"] = "completed"
    if not RunDir(directory).finished:
        status = "running" if holder(directory) else "interrupted"
    return StudySummary(study_dir=str(directory), study=study.verb, status=status)


def refuse_path(directory: Path) -> None:
    """Raise UsageError for a path, and for a folder that holds one; it says what shows it.

    For where no runs were found. Raises CorruptInputError, StorageError.
    """
    for place in study_places(Place(directory), parts=False):
        study = read_study(place)
        if not isinstance(study, PathStudy):
            continue
        status = summary_of(place.path, study).status
        has = "is" if place.path == directory else f"has no finished run, but {place.path.name},"
        raise UsageError(
            f"{directory} {has} a path ({status}), which has no runs; its table, and its end if it "
            f"was stopped: regrun resume {shlex.quote(str(place.path))}"
        )
