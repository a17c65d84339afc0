"""What a directory holds, as far as pictures ask."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from regrun.analysis.best import Contenders
from regrun.analysis.cells import Cell, group_by_setting
from regrun.analysis.sweeps import (
    OnDamage,
    StoredSweep,
    comparable,
    contenders,
    metric_of_cells,
)
from regrun.errors import UsageError
from regrun.metrics import METRICS, Metric
from regrun.pictures.scales import is_number, setting_text
from regrun.pictures.style import plain
from regrun.results import AblationResult, PathResult, ReproductionResult, Result
from regrun.store.reading import find_runs, load_result, load_stored_run
from regrun.store.run_dir import RunDir
from regrun.store.study import (
    AblationStudy,
    PathStudy,
    ReproductionStudy,
    read_study,
    refuse_path,
)
from regrun.store.sweep_dir import SweepDir


@dataclass(frozen=True)
class Subject:
    """Stored cells, or the result of a study."""

    directory: Path
    cells: Sequence[Cell] = ()
    """A single run is one cell of one run."""
    metric: Metric = METRICS["test/loss"]
    """What the best cell is chosen by."""
    ablation: AblationResult | None = None
    path: PathResult | None = None
    reproduction: ReproductionResult | None = None

    @cached_property
    def keys(self) -> list[str]:
        """The keys in which the cells differ."""
        return list(dict.fromkeys(key for cell in self.cells for key in cell.params))

    @cached_property
    def short(self) -> Mapping[str, str]:
        """Key → its name where there is little room."""
        return {key: plain(name) for key, name in short_names(self.keys).items()}

    @cached_property
    def numeric(self) -> list[str]:
        """The keys whose values are numbers in all cells."""
        return [
            key for key in self.keys if all(is_number(cell.params.get(key)) for cell in self.cells)
        ]

    @cached_property
    def compared(self) -> list[Cell]:
        """The cells among which the best is chosen."""
        return comparable(self.cells, self.metric)

    @cached_property
    def _contenders(self) -> Contenders:
        return contenders(self.compared, self.metric)

    @cached_property
    def best(self) -> Cell | None:
        """The cell of the best mean; None where no run has the metric."""
        ranking = self._contenders.ranking
        return self.compared[ranking[0]] if ranking else None

    @cached_property
    def alike(self) -> list[Cell]:
        """The cells that are not distinguishable from the best, best first."""
        return [self.compared[index] for index in self._contenders.alike[1:]]

    @cached_property
    def says(self) -> bool:
        """Whether the runs can distinguish any cell from another: seeds that vary."""
        return any(p is not None for p in self._contenders.p)

    def setting(self, cell: Cell) -> str:
        """``weight_decay = 3, dropout = 0.5``."""
        if self.keys and not cell.params:
            return "the config as it is"
        pairs = (f"{self.short[key]} = {setting_text(value)}" for key, value in cell.params.items())
        return ", ".join(pairs) or self.directory.name


def value_of(cell: Cell, key: str) -> Any:
    """The value of a key; words where the cell leaves it to the config."""
    return cell.params.get(key, "as in the config")


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """The shortest ends of dotted keys that are different.

    >>> short_names(["optimizer.lr", "model.dropout"])
    {'optimizer.lr': 'lr', 'model.dropout': 'dropout'}
    """
    found = {}
    for key in keys:
        words = key.split(".")
        ends = (".".join(words[-count:]) for count in range(1, len(words) + 1))
        alone = (end for end in ends if sum(f".{k}".endswith(f".{end}") for k in keys) == 1)
        found[key] = next(alone, key)
    return found


def load_subject(directory: Path, *, on_damage: OnDamage | None = None) -> Subject:
    """What a directory holds: a run, a sweep, an ablation, a path, or runs below it.

    on_damage: is called for each damaged run of a sweep, which is left out; by default damage is
    raised. Raises UsageError where there is nothing to draw, CorruptInputError, StorageError.
    """
    if not directory.is_dir():
        raise UsageError(f"{directory} is not a directory")
    study = read_study(directory)
    if isinstance(study, PathStudy):
        return Subject(directory, path=_ended(directory, PathResult))
    if isinstance(study, ReproductionStudy):
        return Subject(directory, reproduction=_ended(directory, ReproductionResult))
    files = SweepDir(directory)
    if files.config.is_file():
        sweep = StoredSweep(files, layers=True, on_damage=on_damage)
        ablation = None
        if isinstance(study, AblationStudy):
            ablation = _ended(directory, AblationResult)
        return Subject(directory, sweep.cells, sweep.metric, ablation)
    if RunDir(directory).config.is_file():
        run = load_stored_run(directory)
        cells = group_by_setting([run])
        return Subject(directory, cells, metric_of_cells(cells))
    runs = [load_stored_run(path) for path in find_runs([directory])]
    cells = group_by_setting([run for run in runs if run.summary is not None])
    if not cells:
        refuse_path(directory)
        raise UsageError(f"{directory}: no finished run here")
    return Subject(directory, cells, metric_of_cells(cells))


R = TypeVar("R", bound=Result)


def _ended(directory: Path, kind: type[R]) -> R:
    """The stored result of a study. Raises UsageError before it has ended."""
    found = load_result(RunDir(directory).summary, kind)
    if found is None:
        again = shlex.quote(str(directory))
        raise UsageError(f"{directory} is unfinished; to carry it on: regrun resume {again}")
    return found
