"""`regrun reproduce`: train a published result again, and judge its claims."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from regrun.analysis.cells import Cell
from regrun.analysis.sweeps import sweep_cells
from regrun.config.load import Loaded, config_from_mapping
from regrun.execution.observer import Observer, Silent
from regrun.metrics import Metric
from regrun.store.sweep_dir import SweepDir
from regrun.studies.path import run_path
from regrun.studies.reproductions.claims import judge, overall
from regrun.studies.reproductions.parts import LassoPath, Method, Reproduction, Trained
from regrun.studies.reproductions.shift import shifts
from regrun.studies.reproductions.shipped import shipped_config
from regrun.sweeps.run import Options, run_sweep

Results = dict[str, dict[str, dict[int, float]]]
"""Method → metric → seed → value."""


def reproduce(
    reproduction: Reproduction,
    *,
    runs_dir: Path,
    options: Options,
    seeds: int | None = None,
    observer: Observer | None = None,
) -> dict[str, Any]:
    """Train all parts and judge; returns what `reproduce --json` prints.

    seeds: judged seeds of each method, instead of the reproduction's own. Raises what `run_sweep`
    and `run_path` raise.
    """
    work = _Work(runs_dir, seeds, options, observer or Silent())
    for part in reproduction.parts:
        if isinstance(part, Trained):
            work.train(part)
        else:
            work.walk(part)
    judgements = judge(reproduction.claims, work.measured)
    return {
        "title": reproduction.title,
        "source": reproduction.source,
        "budget": reproduction.budget + (f"; here with --seeds {seeds}" if seeds else ""),
        "published_budget": reproduction.published_budget,
        "remark": reproduction.remark,
        "verdict": overall(judgements),
        "claims": [judgement.document() for judgement in judgements],
        "methods": work.methods,
        "runs_in": work.places,
        "seconds": work.seconds,
        **work.counts,
    }


class _Work:
    """What has been trained so far."""

    def __init__(
        self, runs_dir: Path, seeds: int | None, options: Options, observer: Observer
    ) -> None:
        self._runs_dir, self._seeds = runs_dir, seeds
        self._options, self._observer = options, observer
        self.measured: Results = {}
        self.methods: list[dict[str, Any]] = []
        self.places: list[str] = []
        self.seconds = 0.0
        self.counts = dict.fromkeys(("runs", "completed", "diverged", "failed"), 0)

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
                mine = [next(cells) for _ in candidates[each.name]]
                chosen[each.name] = dict(best_on_validation(mine, part.tuned_by).params)
                for shift in part.shifts:
                    self.measured.setdefault(each.name, {})[shift.name] = shifts(mine, shift)
        judged = self._sweep(
            loaded,
            [chosen[each.name] for each in part.methods],
            self._seeds or part.seeds,
            loaded.config.seed + (part.tuning_seeds if tuned else 0),
            None,
        )
        for each, cell in zip(part.methods, judged, strict=True):
            self._take(each, cell)

    def walk(self, part: LassoPath) -> None:
        """Work out a path; its metrics have no seeds and stand under 0."""
        document = run_path(
            config_from_mapping(shipped_config(part.config)),
            runs_dir=self._runs_dir,
            number=part.number,
            ratio=part.ratio,
            device=self._options.device,
            observer=self._observer,
        )
        self.places.append(document["path_dir"])
        metrics = path_metrics(document, part.shares)
        self.measured[part.method] = {name: {0: value} for name, value in metrics.items()}

    def _sweep(
        self,
        loaded: Loaded,
        settings: Sequence[Mapping[str, Any]],
        seeds: int,
        first_seed: int,
        metric: str | None,
    ) -> list[Cell]:
        tree = loaded.config.model_dump(mode="json", exclude={"sweep"})
        tree["seed"] = first_seed
        tree["sweep"] = {"cells": list(settings), "seeds": seeds, "metric": metric}
        document = run_sweep(
            config_from_mapping(tree),
            runs_dir=self._runs_dir,
            options=self._options,
            observer=self._observer,
        )
        self.places.append(document["sweep_dir"])
        self.seconds += document["seconds"]["total"]
        for name in self.counts:
            self.counts[name] += document[name]
        return sweep_cells(SweepDir(Path(document["sweep_dir"])))

    def _take(self, method: Method, cell: Cell) -> None:
        metrics = {name: cell.values(name) for name in cell.metrics}
        for split in ("train", "val", "test"):
            accuracy = metrics.get(f"{split}/accuracy", {})
            metrics[f"{split}/error"] = {seed: 100 * (1 - a) for seed, a in accuracy.items()}
        self.measured.setdefault(method.name, {}).update(metrics)
        tuned = {key: cell.params[key] for key in method.tune}
        self.methods.append({"name": method.name, "tuned": tuned, **cell.document()})


def best_on_validation(cells: Sequence[Cell], metric: str) -> Cell:
    """The cell of best mean; one with a run that has no value comes after all that have them."""
    sign = Metric.from_name(metric).sign

    def rank(cell: Cell) -> tuple[int, float]:
        values = list(cell.values(metric).values())
        mean = sum(values) / len(values) if values else 0.0
        return cell.seeds - len(values), sign * mean

    return min(cells, key=rank)


def path_metrics(document: Mapping[str, Any], shares: Sequence[float]) -> dict[str, float]:
    """`place/<feature>` of each that enters, and `<share>/<feature>`, from a path's document.

    Features that enter at the same strength have the same place.
    """
    names, rows = document["feature_names"], document["coefficients"]
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
    strengths = document["strengths"]
    for share in shares:
        wanted = share * strengths[0]
        row = min(range(len(strengths)), key=lambda index: abs(strengths[index] - wanted))
        if abs(strengths[row] - wanted) > 1e-6 * wanted:
            continue
        metrics |= {
            f"{share:g}/{name}": float(rows[row][column])
            for column, name in enumerate(names)
            if isfinite(rows[row][column])
        }
    return metrics
