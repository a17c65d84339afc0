"""`regrun reproduce`: train a published result again, and judge its claims."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from statistics import linear_regression

import numpy as np

from regrun.analysis.cells import Cell
from regrun.analysis.sweeps import sweep_cells
from regrun.config.load import Loaded, config_from_mapping
from regrun.errors import StorageError
from regrun.execution.observer import Observer
from regrun.metrics import SPLITS, Metric
from regrun.results import MethodSummary, PathResult, ReproductionResult
from regrun.store.sweep_dir import SweepDir
from regrun.studies.path import run_path
from regrun.studies.reproductions.claims import judge, overall
from regrun.studies.reproductions.spec import (
    LassoPath,
    Method,
    OptimumSlope,
    Reproduction,
    Trained,
)
from regrun.sweeps.run import Options, run_sweep

Measured = dict[str, dict[str, Mapping[int, float]]]
"""Method → metric → seed → value."""


def reproduce(
    name: str,
    reproduction: Reproduction,
    *,
    runs_dir: Path,
    options: Options,
    seeds: int | None = None,
    observer: Observer | None = None,
) -> ReproductionResult:
    """Train all parts and judge the claims.

    name: of the reproduction, for the result. seeds: judged seeds of each method, instead of the
    reproduction's own. Raises what `run_sweep` and `run_path` raise.
    """
    work = _Work(runs_dir, seeds, options, observer or Observer())
    for part in reproduction.parts:
        if isinstance(part, Trained):
            work.train(part)
        else:
            work.solve_path(part)
    judgements = judge(reproduction.claims, work.measured)
    return ReproductionResult(
        name=name,
        title=reproduction.title,
        source=reproduction.reference,
        budget=reproduction.budget + (f"; here with --seeds {seeds}" if seeds else ""),
        published_budget=reproduction.published_budget,
        remark=reproduction.remark,
        verdict=overall(judgements),
        claims=judgements,
        methods=work.methods,
        runs_in=work.directories,
        seconds=work.seconds,
        runs=work.runs,
        completed=work.completed,
        diverged=work.diverged,
        failed=work.failed,
    )


class _Work:
    """What has been trained so far."""

    def __init__(
        self, runs_dir: Path, seeds: int | None, options: Options, observer: Observer
    ) -> None:
        self._runs_dir, self._seeds = runs_dir, seeds
        self._options, self._observer = options, observer
        self.measured: Measured = {}
        self.methods: list[MethodSummary] = []
        self.directories: list[str] = []
        self.seconds = 0.0
        self.runs = self.completed = self.diverged = self.failed = 0

    def train(self, part: Trained) -> None:
        """Tune where there is something to tune; train what was chosen with fresh seeds."""
        loaded = config_from_mapping(shipped_config(part.config))
        candidates = {each.name: list(each.candidates()) for each in part.methods}
        chosen = {name: settings[0] for name, settings in candidates.items()}
        tuned = [each for each in part.methods if len(candidates[each.name]) > 1]
        if tuned:
            cells = iter(
                self._sweep(
                    loaded,
                    [setting for each in tuned for setting in candidates[each.name]],
                    part.tuning_seeds,
                    loaded.config.seed,
                    part.tuned_by,
                )
            )
            for each in tuned:
                own = [next(cells) for _ in candidates[each.name]]
                chosen[each.name] = dict(best_on_validation(own, part.tuned_by).params)
                for slope in part.slopes:
                    found = optimum_slopes(own, slope)
                    self.measured.setdefault(each.name, {})[slope.name] = found
        judged = self._sweep(
            loaded,
            [chosen[each.name] for each in part.methods],
            self._seeds or part.seeds,
            loaded.config.seed + (part.tuning_seeds if tuned else 0),
            None,
        )
        for each, cell in zip(part.methods, judged, strict=True):
            self._add(each, cell)

    def solve_path(self, part: LassoPath) -> None:
        """Solve a path. Its metrics have no seeds; they are filed under seed 0."""
        path = run_path(
            config_from_mapping(shipped_config(part.config)),
            runs_dir=self._runs_dir,
            number=part.number,
            ratio=part.ratio,
            device=self._options.device,
            observer=self._observer,
        )
        self.directories.append(path.path_dir)
        metrics = path_metrics(path, part.shares)
        self.measured[part.method] = {name: {0: value} for name, value in metrics.items()}

    def _sweep(
        self,
        loaded: Loaded,
        settings: Sequence[Mapping[str, object]],
        seeds: int,
        first_seed: int,
        metric: str | None,
    ) -> list[Cell]:
        section = {"cells": list(settings), "seeds": seeds, "metric": metric}
        summary = run_sweep(
            loaded.with_keys(seed=first_seed, sweep=section),
            runs_dir=self._runs_dir,
            options=self._options,
            observer=self._observer,
        )
        self.directories.append(summary.sweep_dir)
        self.seconds += summary.seconds.total
        self.runs += summary.runs
        self.completed += summary.completed
        self.diverged += summary.diverged
        self.failed += summary.failed
        return sweep_cells(SweepDir(Path(summary.sweep_dir)))

    def _add(self, method: Method, cell: Cell) -> None:
        """File the metrics of the cell that stands for a method, and its error rates in %."""
        metrics: dict[str, Mapping[int, float]] = {name: cell.values(name) for name in cell.metrics}
        for split in SPLITS:
            accuracy = metrics.get(f"{split}/accuracy", {})
            metrics[f"{split}/error"] = {seed: 100 * (1 - a) for seed, a in accuracy.items()}
        self.measured.setdefault(method.name, {}).update(metrics)
        tuned = {key: cell.params[key] for key in method.tune}
        summary = dict(cell.summarize())
        del summary["runs"]
        self.methods.append(MethodSummary(name=method.name, tuned=tuned, **summary))


def shipped_config(name: str) -> Path:
    """The path of a config that comes with regrun, such as ``reproduce/adamw_digits.yaml``.

    An installed package has them among its modules, a checkout next to its package. Raises
    StorageError when there is neither.
    """
    package = Path(str(resources.files("regrun")))
    for folder in (package / "configs", package.parent / "configs"):
        if (folder / name).is_file():
            return folder / name
    raise StorageError(f"{name}: this installation of regrun lacks its configs")


def optimum_slopes(cells: Sequence[Cell], slope: OptimumSlope) -> dict[int, float]:
    """Seed → |slope| of log(best response) over log(against), by least squares.

    0: the best response is the same whatever `against` is; 1 with opposite signs: their product is
    what matters. A seed counts when every cell has its value.
    """
    sign = Metric.from_name(slope.metric).sign
    per_cell = [cell.values(slope.metric) for cell in cells]
    seeds = set.intersection(*(set(values) for values in per_cell)) if per_cell else set()
    found = {}
    for seed in sorted(seeds):
        rows: dict[float, dict[float, float]] = {}
        for cell, values in zip(cells, per_cell, strict=True):
            row = rows.setdefault(float(cell.params[slope.against]), {})
            row[float(cell.params[slope.response])] = sign * values[seed]
        x = [math.log(against) for against in rows]
        y = [log_minimum(row) for row in rows.values()]
        found[seed] = abs(linear_regression(x, y).slope)
    return found


def log_minimum(values: Mapping[float, float]) -> float:
    """Where on the log axis the smallest value lies: the middle of all that share it."""
    smallest = min(values.values())
    logs = [math.log(setting) for setting, value in values.items() if value == smallest]
    return sum(logs) / len(logs)


def best_on_validation(cells: Sequence[Cell], metric: str) -> Cell:
    """The cell of best mean; one with a run that has no value comes after all that have them."""
    sign = Metric.from_name(metric).sign

    def rank(cell: Cell) -> tuple[int, float]:
        values = list(cell.values(metric).values())
        mean = sum(values) / len(values) if values else 0.0
        return cell.seeds - len(values), sign * mean

    return min(cells, key=rank)


def path_metrics(path: PathResult, shares: Sequence[float]) -> dict[str, float]:
    """`place/<feature>` of each that enters, and `<share>/<feature>`, from a path.

    Features that enter at the same strength have the same place.
    """
    names, rows = path.feature_names, np.asarray(path.coefficients)
    entered = {
        name: next((row for row, weights in enumerate(rows) if weights[column] != 0), None)
        for column, name in enumerate(names)
    }
    firsts = sorted({row for row in entered.values() if row is not None})
    metrics = {
        f"place/{name}": float(firsts.index(row) + 1)
        for name, row in entered.items()
        if row is not None
    }
    strengths = path.strengths
    for share in shares:
        wanted = share * strengths[0]
        row = min(range(len(strengths)), key=lambda index: abs(strengths[index] - wanted))
        if abs(strengths[row] - wanted) > 1e-6 * wanted:
            continue
        metrics |= {
            f"{share:g}/{name}": float(rows[row][column])
            for column, name in enumerate(names)
            if math.isfinite(rows[row][column])
        }
    return metrics
