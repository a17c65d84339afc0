"""A stored sweep as cells, and its summary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from regrun.analysis.best import Contenders, compare_with_best
from regrun.analysis.cells import Cell, ScaleChoice, metric_values
from regrun.analysis.power import replicates_to_settle
from regrun.analysis.statistics import paired_difference
from regrun.errors import CorruptInputError
from regrun.metrics import METRICS, Metric, default_metric
from regrun.results import BestCell, DataCard, RunSummary, Seconds, SweepSummary, Varied
from regrun.settings import format_value
from regrun.store.reading import load_result, read_document
from regrun.store.run_dir import RunDir
from regrun.store.sweep_dir import PlannedRun, Round, SweepDir

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class SweptRun:
    """A run of a sweep: what the plan says about it, and its summary."""

    files: RunDir
    config: Mapping[str, Any]
    """Its swept keys, its `seed`, and its `dataset.seed` where the data vary."""
    summary: RunSummary | None

    @property
    def path(self) -> Path:
        """The run directory."""
        return self.files.path

    @property
    def status(self) -> str:
        """How it ended; `unfinished` when it has not."""
        return "unfinished" if self.summary is None else self.summary.status


_LOSSES_APART = ("loss", "dataset.name", "dataset.seed")
"""Where cells differ in these, or in settings of the loss, their losses are of different things."""

OnDamage = Callable[[CorruptInputError], None]
"""What is called for each damaged run, which is left out."""


@dataclass(frozen=True)
class StoredSweep:
    """A sweep on disk. Its config, plan and runs are read once, when they are asked for.

    layers: keep the norms of single layers, which are most of a summary. on_damage: is called for
    each damaged run, which is left out; by default damage is raised. All properties raise
    CorruptInputError, StorageError.
    """

    files: SweepDir
    layers: bool = False
    on_damage: OnDamage | None = None

    @cached_property
    def _section(self) -> Mapping[str, Any]:
        """The stored `sweep` section."""
        section = read_document(self.files.config).data.get("sweep")
        return section if isinstance(section, Mapping) else {}

    @cached_property
    def rounds(self) -> list[Round]:
        """The plan."""
        return self.files.read_rounds()

    @cached_property
    def cells(self) -> list[Cell]:
        """The cells in the order of the plan, each with its runs by replicate.

        Of the runs the summaries are read, nothing else. Those of a confirmation are left out.
        """
        cells = self._cells([each for each in self.rounds if each.purpose != "confirmation"])
        if not self.is_race:
            return cells
        most = max((cell.seeds for cell in cells), default=0)
        return [replace(cell, is_out=cell.seeds < most) for cell in cells]

    @cached_property
    def confirmed(self) -> list[Cell]:
        """The finalists with the runs of their confirmation alone, best first; or none."""
        return self._cells(confirmation_of(self.rounds))

    @property
    def is_race(self) -> bool:
        """Whether cells were taken out of the sweep before they had all their seeds."""
        return self._section.get("search") == "race"

    @property
    def metric(self) -> Metric:
        """What the best cell is chosen by."""
        name = self._section.get("metric")
        if name is None:
            return metric_of_cells(self.cells)
        if name not in METRICS:
            raise CorruptInputError(f"{self.files.config}: sweep.metric: {name!r} is not a metric")
        return Metric.from_name(name)

    @property
    def scale(self) -> ScaleChoice:
        """`sweep.scale`."""
        chosen: ScaleChoice = self._section.get("scale", "auto")
        if chosen not in get_args(ScaleChoice):
            raise CorruptInputError(f"{self.files.config}: sweep.scale: {chosen!r} is not a scale")
        return chosen

    @property
    def vary(self) -> list[Varied]:
        """What differs between the replicates of cells: `sweep.vary`, or what the plan shows."""
        given = self._section.get("vary") or ()
        shown: list[Varied] = ["seed", "data"] if _data_vary(self.cells) else ["seed"]
        return [each for each in shown if each in given] or shown

    @property
    def saved(self) -> int | None:
        """The runs that a race did not train; None without a race."""
        if not self.is_race:
            return None
        wanted = len(self.cells) * int(self._section.get("seeds", 1))
        return wanted - sum(cell.seeds for cell in self.cells)

    def _cells(self, rounds: Sequence[Round]) -> list[Cell]:
        has_ended, scale = self.files.summary.exists(), self.scale
        groups: dict[int, tuple[Mapping[str, Any], list[SweptRun]]] = {}
        with self.files.place.kept_open():
            for run in (run for each in rounds for run in each.runs):
                _, runs = groups.setdefault(run.cell, (run.params, []))
                try:
                    runs.append(self._swept(run, has_ended))
                except CorruptInputError as damage:
                    if self.on_damage is None:
                        raise
                    self.on_damage(damage)
        return [Cell(params, runs, scale) for params, runs in groups.values() if runs]

    def _swept(self, run: PlannedRun, has_ended: bool) -> SweptRun:
        directory = self.files.run(run)
        summary = load_result(directory.summary, RunSummary)
        if summary is None and has_ended:
            raise CorruptInputError(f"{directory.summary}: missing, though the sweep has ended")
        if summary is not None and not self.layers:
            summary.weights.per_layer.clear()  # nobody else has it; a copy would cost more
        seeds = {"seed": run.seed}
        if run.data_seed is not None:
            seeds["dataset.seed"] = run.data_seed
        return SweptRun(directory, {**run.params, **seeds}, summary)


def confirmation_of(rounds: Sequence[Round]) -> list[Round]:
    """The rounds that confirm the sweep as it is: one that it outgrew counts no more."""
    confirms = [each.purpose == "confirmation" for each in rounds]
    last = max((at for at, each in enumerate(confirms) if not each), default=-1)
    return [*rounds[last + 1 :]]


def runs_frame(files: SweepDir) -> DataFrame:
    """A row per run: its parameters, `seed`, `status`, `epochs`, `run_dir`, and its metrics."""
    import pandas as pd

    return pd.DataFrame(
        {
            **run.config,
            "status": run.status,
            "epochs": run.summary.epochs if run.summary else None,
            "run_dir": str(run.path),
            **metric_values(run.summary),
        }
        for cell in StoredSweep(files).cells
        for run in cell.runs
    )


def curves_frame(files: SweepDir) -> DataFrame:
    """A row per run and evaluation: its parameters, `seed`, `run_dir`, and its metrics then."""
    import pandas as pd

    from regrun.store.reading import load_stored_run

    tables = []
    for cell in StoredSweep(files).cells:
        for run in cell.runs:
            curve = load_stored_run(run.path).metrics
            settings = {**run.config, "run_dir": str(run.path)}
            constant = pd.DataFrame([settings] * len(curve), index=curve.index)
            tables.append(pd.concat([constant, curve], axis=1))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def summarize_sweep(files: SweepDir, metric: Metric, seconds: float) -> SweepSummary:
    """The summary of a sweep, from the summaries of its runs.

    metric: what the best cell is chosen by. Cells that were pruned cannot be the best.
    """
    sweep = StoredSweep(files)
    cells, confirmed = sweep.cells, sweep.confirmed
    counts = Counter(run.status for cell in [*cells, *confirmed] for run in cell.runs)
    alike = best_cells(cells, metric)
    best = None
    if alike:
        best = BestCell(
            params=dict(alike[0].params),
            metric=metric.name,
            selected_on=metric.split,
            not_distinguishable=[dict(cell.params) for cell in alike[1:]],
            seeds_to_settle=settling(alike[0], alike[1:], metric),
        )
    return SweepSummary(
        sweep_dir=str(files.path),
        runs=counts.total(),
        completed=counts["completed"],
        diverged=counts["diverged"],
        failed=counts["failed"],
        pruned=counts["pruned"],
        unfinished=counts["unfinished"],
        cells=[cell.summarize() for cell in cells],
        best=best,
        vary=sweep.vary,
        saved=sweep.saved,
        confirmation=[cell.summarize() for cell in confirmed] or None,
        data=_shared_card(cells),
        seconds=Seconds(total=seconds),
    )


def _data_vary(cells: Sequence[Cell]) -> bool:
    """Whether the replicates of some cell have data of their own."""
    key = "dataset.seed"
    return any(key in run.config and key not in cell.params for cell in cells for run in cell.runs)


def _shared_card(cells: Sequence[Cell]) -> DataCard | None:
    """The card of the data that all runs share, with the notes of each of them once.

    Where the data vary, the card of the first draw.
    """
    drawn = [
        (run.config.get("dataset.seed", 0), run.summary.data)
        for cell in cells
        for run in cell.runs
        if run.summary is not None and run.summary.data is not None
    ]
    if not drawn:
        return None
    first, vary = min(seed for seed, _ in drawn), _data_vary(cells)
    cards = [card for seed, card in drawn if seed == first or not vary]
    names = [[Path(file).name for file in card.files] for card in cards]  # they may have moved
    plain = [
        card.model_copy(update={"notes": [], "files": files})
        for card, files in zip(cards, names, strict=True)
    ]
    if any(card != plain[0] for card in plain):
        return None
    notes = dict.fromkeys(note for card in cards for note in card.notes)
    return cards[0].model_copy(update={"notes": [*notes], "files": drawn[-1][1].files})


def metric_of_cells(cells: Sequence[Cell]) -> Metric:
    """The default metric of stored cells: of the validation set where all that ended have one."""
    ended = [cell for cell in cells if cell.metrics]
    validated = bool(ended) and all(cell.values("val/loss") for cell in ended)
    tested = not ended or all(cell.values("test/loss") for cell in ended)
    return default_metric(has_validation=validated, has_test=tested)


def losses_apart(cells: Sequence[Cell], metric: Metric) -> list[str]:
    """The keys in which cells differ so that their losses are of different things."""
    if metric.quantity != "loss":
        return []
    settings = {key for cell in cells for key in cell.params if key.startswith("loss.")}
    apart = [
        key
        for key in (*_LOSSES_APART, *sorted(settings))
        if len({format_value(cell.params.get(key)) for cell in cells}) > 1
    ]
    return [key for key in apart if key not in settings or "loss" not in apart]


def comparable(cells: Sequence[Cell], metric: Metric) -> list[Cell]:
    """The cells among which the best is chosen: neither pruned nor out of a race, and with the
    fewest runs lost.
    """
    whole = [
        cell
        for cell in cells
        if not cell.is_out and not cell.count("pruned") and cell.values(metric.name)
    ]
    fewest = min((cell.lost for cell in whole), default=0)
    return [cell for cell in whole if cell.lost == fewest]


def best_cells(cells: Sequence[Cell], metric: Metric) -> list[Cell]:
    """The best cell, then those not distinguishable from it, best first.

    A lost run counts as the worst: only the cells that lost fewest of their runs are compared.
    """
    whole = comparable(cells, metric)
    return [whole[index] for index in contenders(whole, metric).alike]


def contenders(cells: Sequence[Cell], metric: Metric) -> Contenders:
    """The comparison of `comparable` cells with the best of them.

    Where the runs stored their results on each test example, a difference must hold for another
    test set too: by paired t-tests over replicates and examples, with Bonferroni's correction.
    """
    name = metric.name
    found = compare_with_best(
        [cell.values(name) for cell in cells],
        metric.direction,
        cells[0].scale(name) if cells else "linear",
        max((cell.overlap(name) for cell in cells), default=0.0),
    )
    if not found.ranking or cells[found.ranking[0]].test_examples(name) is None:
        return found
    best = cells[found.ranking[0]]
    tests = len(found.ranking) - 1
    p = [
        p if p is None or index == found.ranking[0] else max(p, min(1.0, tests * on_new_examples))
        for index, p in zip(found.ranking, found.p, strict=True)
        for on_new_examples in [_p_on_new_examples(cells[index], best, name)]
    ]
    return replace(found, p=p)


def _p_on_new_examples(cell: Cell, best: Cell, metric: str) -> float:
    """The p-value of a difference over replicates and test examples; 0 where they are unknown."""
    from regrun.analysis.test_sets import paired_sampling_error, with_sampling_error

    ours, theirs = cell.test_examples(metric), best.test_examples(metric)
    if ours is None or theirs is None or ours.shape[1] != theirs.shape[1]:
        return 0.0
    scale = cell.scale(metric)
    error = paired_sampling_error(ours, theirs, relative=scale == "log")
    difference = paired_difference(
        cell.values(metric),
        best.values(metric),
        scale,
        max(cell.overlap(metric), best.overlap(metric)),
        with_sampling_error(error, ours.shape[1]),
    )
    return difference.p or 0.0


def settling(best: Cell, others: Sequence[Cell], metric: Metric) -> list[int | None]:
    """For each open cell the replicates in all that would probably settle it; see `power`."""
    name = metric.name
    return [
        replicates_to_settle(
            cell.values(name),
            best.values(name),
            best.scale(name),
            max(best.overlap(name), cell.overlap(name)),
            len(others),
        )
        for cell in others
    ]
