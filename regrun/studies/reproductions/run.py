"""`regrun reproduce`: train a published result again, and judge its claims."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from statistics import linear_regression
from typing import Any

import numpy as np

from regrun.analysis.cells import Cell
from regrun.analysis.sweeps import StoredSweep
from regrun.config.changes import changed_keys
from regrun.config.limits import check_count
from regrun.config.load import Loaded, config_from_mapping, load_config
from regrun.errors import CorruptInputError, Interrupted, StorageError, UsageError
from regrun.execution.computing import check_threads
from regrun.execution.interrupt import Interrupt, catching_signals
from regrun.execution.observer import Observer
from regrun.metrics import SPLITS, Metric
from regrun.results import (
    MethodSummary,
    PathResult,
    ReproductionResult,
    StudySummary,
    SweepSummary,
    json_document,
)
from regrun.store.atomic import remove_stale_temporaries, write_atomic
from regrun.store.checksums import sealed_document
from regrun.store.lock import exclusive
from regrun.store.place import Place
from regrun.store.reading import load_result, read_document
from regrun.store.run_dir import RunDir, claim_run_dir, experiment_dir, given_back_if_empty
from regrun.store.study import PathStudy, ReproductionStudy, read_study, write_study
from regrun.store.sweep_dir import SweepDir
from regrun.studies.path import PathDir, resume_path, run_path
from regrun.studies.reproductions.claims import (
    LassoPath,
    Method,
    OptimumSlope,
    Reproduction,
    Trained,
    judge,
    overall,
)
from regrun.sweeps.executor import OnRay, resume_command
from regrun.sweeps.run import Options, resume_sweep, run_sweep


def reproduce(
    name: str,
    reproduction: Reproduction,
    *,
    runs_dir: Path,
    options: Options,
    seeds: int | None = None,
    observer: Observer | None = None,
) -> ReproductionResult:
    """Train all parts in a directory of their own, and judge the claims.

    name: of the reproduction, for the result. seeds: judged seeds of each method, instead of the
    reproduction's own. Raises UsageError for too many, and what `run_sweep` and `run_path` raise.
    """
    methods = sum(len(part.methods) for part in reproduction.parts if isinstance(part, Trained))
    check_count(
        (seeds or 0) * methods,
        f"--seeds {seeds}: {(seeds or 0) * methods:,} runs of {methods} methods",
        "use fewer",
        allow_large=options.allow_large,
    )
    check_threads(options.threads)
    options.check_devices()
    study = ReproductionStudy(
        verb="reproduce",
        name=name,
        seeds=seeds,
        device=str(options.devices),
        threads=options.threads,
    )
    parent = experiment_dir(runs_dir, name)
    with catching_signals() as interrupt:
        directory = claim_run_dir(parent, "reproduce")
        with given_back_if_empty(directory), exclusive(directory):
            write_study(directory, study)
            work = _Work(directory, seeds, options, observer or Observer(), interrupt)
            return _carry_out(name, reproduction, work)


def resume_reproduction(
    directory: Path,
    study: ReproductionStudy,
    reproduction: Reproduction,
    *,
    device: str | None = None,
    threads: int | None = None,
    observer: Observer | None = None,
    ray: OnRay | None = None,
) -> ReproductionResult:
    """Carry on an interrupted reproduction; of a finished one the stored result is returned.

    Finished sweeps and paths are not trained again. Raises UsageError when another process is at
    it, or another version of regrun began it, and what `reproduce` raises.
    """
    check_threads(threads)
    options = Options(device or "auto", threads=threads or study.threads, ray=ray)
    options.check_devices()
    watcher = observer or Observer()
    with catching_signals() as interrupt, exclusive(directory):
        remove_stale_temporaries(directory)
        done = load_result(RunDir(directory).summary, ReproductionResult)
        if done is not None:
            watcher.on_message(f"{directory} had finished before; nothing to do")
            places = [str(directory / Path(place).name) for place in done.runs_in]
            return done.model_copy(update={"runs_in": places})
        options = options.begun_on(study.device)
        options.check_devices()
        if options.threads != study.threads:
            write_study(directory, study.model_copy(update={"threads": options.threads}))
        work = _Work(directory, study.seeds, options, watcher, interrupt)
        return _carry_out(study.name, reproduction, work)


def _carry_out(name: str, reproduction: Reproduction, work: _Work) -> ReproductionResult:
    """Train what is not trained yet, judge, and store the result."""
    seeds = work.seeds
    for number, part in enumerate(reproduction.parts, start=1):
        if isinstance(part, Trained):
            work.train(number, part)
        else:
            work.solve_path(number, part)
    judgements = judge(reproduction.claims, work.measured)
    result = ReproductionResult(
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
        seconds=sum((sweep.seconds.total for sweep in work.sweeps), 0.0),
        runs=sum(sweep.runs for sweep in work.sweeps),
        completed=sum(sweep.completed for sweep in work.sweeps),
        diverged=sum(sweep.diverged for sweep in work.sweeps),
        failed=sum(sweep.failed for sweep in work.sweeps),
    )
    write_atomic(RunDir(work.directory).summary, sealed_document(json_document(result)))
    return result


@dataclass
class _Work:
    """What has been trained so far. directory: has a folder for each sweep and path."""

    directory: Path
    seeds: int | None
    options: Options
    observer: Observer
    interrupt: Interrupt
    measured: defaultdict[str, dict[str, Mapping[int, float]]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    """Method → metric → seed → value."""
    methods: list[MethodSummary] = field(default_factory=list)
    directories: list[str] = field(default_factory=list)
    sweeps: list[SweepSummary] = field(default_factory=list)

    def train(self, number: int, part: Trained) -> None:
        """Tune where there is something to tune; train what was chosen with fresh seeds."""
        loaded = config_from_mapping(shipped_config(part.config))
        candidates = {each.name: list(each.candidates()) for each in part.methods}
        chosen = {name: settings[0] for name, settings in candidates.items()}
        tuned = [each for each in part.methods if len(candidates[each.name]) > 1]
        if tuned:
            settings = [setting for each in tuned for setting in candidates[each.name]]
            place = f"{number}-tuning"
            cells = iter(self._sweep(place, loaded, settings, part.tuning_seeds, part.tuned_by))
            for each in tuned:
                own = [next(cells) for _ in candidates[each.name]]
                chosen[each.name] = dict(best_on_validation(own, part.tuned_by).params)
                for slope in part.slopes:
                    self.measured[each.name][slope.name] = optimum_slopes(own, slope)
            loaded = loaded.with_keys(seed=loaded.config.seed + part.tuning_seeds)
        seeds = self.seeds or part.seeds
        judged = self._sweep(f"{number}-judged", loaded, list(chosen.values()), seeds)
        for each, cell in zip(part.methods, judged, strict=True):
            self._add(each, cell)

    def solve_path(self, number: int, part: LassoPath) -> None:
        """Solve a path. Its metrics have no seeds; they are filed under seed 0."""
        place = self._part(f"{number}-path")
        begun, done = read_study(place), load_result(PathDir(place).summary, PathResult)
        if isinstance(begun, PathStudy) and (begun.number, begun.ratio) != (
            part.number,
            part.ratio,
        ):
            raise self._of_another_version(place)
        with self._as_a_whole():
            if done is not None:
                path = done
            elif isinstance(begun, PathStudy) and PathDir(place).config.is_file():
                path = resume_path(
                    place,
                    begun,
                    device=self.options.device_here,
                    threads=self.options.threads,
                    observer=self.observer,
                )
            else:
                path = run_path(
                    config_from_mapping(shipped_config(part.config)),
                    runs_dir=self.directory,
                    number=part.number,
                    ratio=part.ratio,
                    device=self.options.device_here,
                    threads=self.options.threads,
                    observer=self.observer,
                    directory=place,
                )
        self.directories.append(str(place))
        metrics = path_metrics(path, part.shares)
        self.measured[part.method] = {name: {0: value} for name, value in metrics.items()}

    def _sweep(
        self,
        name: str,
        loaded: Loaded,
        settings: list[dict[str, Any]],
        seeds: int,
        metric: str | None = None,
    ) -> list[Cell]:
        section = {"cells": settings, "seeds": seeds, "metric": metric, "vary": ["seed"]}
        wanted, files = loaded.with_keys(sweep=section), SweepDir(self._part(name))
        begun = files.config.is_file()
        if begun:
            stored = load_config(read_document(files.config, sealed=True))
            if changed_keys(stored.config, wanted.config):
                raise self._of_another_version(files.path)
        done = load_result(files.summary, SweepSummary)
        with self._as_a_whole():
            if done is not None:
                summary = done
            elif begun:
                summary = resume_sweep(files.path, options=self.options, observer=self.observer)
            else:
                summary = run_sweep(
                    wanted,
                    runs_dir=self.directory,
                    options=self.options,
                    observer=self.observer,
                    directory=files.path,
                )
        self.directories.append(str(files.path))
        self.sweeps.append(summary)
        return StoredSweep(files).cells

    def _part(self, name: str) -> Path:
        """The directory of a sweep or path, which must not lead elsewhere."""
        place = Place(self.directory, name)
        if place.exists() and not place.is_folder():
            raise CorruptInputError(f"{place}: not a folder")
        return place.path

    def _of_another_version(self, place: Path) -> UsageError:
        return UsageError(
            f"{place}: another version of regrun began this reproduction, with other settings; "
            "carry it on with that version, or start a new one: regrun reproduce …"
        )

    @contextmanager
    def _as_a_whole(self) -> Iterator[None]:
        """A part that is stopped, or would begin after a signal, stops the reproduction."""
        try:
            if self.interrupt.signal_number is not None:
                raise Interrupted("", self.interrupt.signal_number)
            yield
        except Interrupted as stop:
            command = resume_command(self.directory, self.options.ray)
            place = str(self.directory)
            raise Interrupted(
                f"saved; carry on with: {command}",
                stop.exit_code - 128,
                StudySummary(study_dir=place, study="reproduce", status="interrupted"),
            ) from stop

    def _add(self, method: Method, cell: Cell) -> None:
        """File the metrics of the cell that stands for a method, and its error rates in %."""
        metrics = self.measured[method.name]
        metrics |= {name: by_seed(cell, name) for name in cell.metrics}
        for split in SPLITS:
            accuracy = by_seed(cell, f"{split}/accuracy")
            metrics[f"{split}/error"] = {seed: 100 * (1 - a) for seed, a in accuracy.items()}
        tuned = {key: cell.params[key] for key in method.tune}
        summary = cell.summarize().model_dump(exclude_unset=True)
        edge = method.at_edge(tuned)
        self.methods.append(MethodSummary(name=method.name, tuned=tuned, at_edge=edge, **summary))


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


def by_seed(cell: Cell, metric: str) -> dict[int, float]:
    """Seed → value. The replicates of a reproduction differ in their seeds."""
    return {replicate.seed: value for replicate, value in cell.values(metric).items()}


def optimum_slopes(cells: Sequence[Cell], slope: OptimumSlope) -> dict[int, float]:
    """Seed → |slope| of log(best response) over log(against), by least squares.

    0: the best response is the same whatever `against` is; 1 with opposite signs: their product is
    what matters. A seed counts when every cell has its value.
    """
    sign = Metric.from_name(slope.metric).sign
    per_cell = [by_seed(cell, slope.metric) for cell in cells]
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
    rows, strengths = np.asarray(path.coefficients), np.asarray(path.strengths)
    nonzero = rows != 0
    entered = {
        name: int(column.argmax())
        for name, column in zip(path.feature_names, nonzero.T, strict=True)
        if column.any()
    }
    firsts = sorted(set(entered.values()))
    metrics = {f"place/{name}": float(firsts.index(row) + 1) for name, row in entered.items()}
    for share in shares:
        wanted = share * strengths[0]
        row = int(np.abs(strengths - wanted).argmin())
        if abs(strengths[row] - wanted) <= 1e-6 * wanted:
            weights = zip(path.feature_names, rows[row].tolist(), strict=True)
            metrics |= {
                f"{share:g}/{name}": value for name, value in weights if math.isfinite(value)
            }
    return metrics
