"""`sweep`, from axes to answers, and `resume` of one."""

from __future__ import annotations

import shlex
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import cycle, islice
from pathlib import Path

import torch
from rich.filesize import decimal

from regrun.analysis.cells import Cell
from regrun.analysis.sweeps import StoredSweep, summarize_sweep
from regrun.config.changes import PLACES, Reload, asking_for_data
from regrun.config.dump import dump_config, dump_tree
from regrun.config.limits import check_runs
from regrun.config.load import Loaded, load_config
from regrun.config.origins import origins_in
from regrun.config.paths import with_portable_paths
from regrun.config.sweeps import Sweep
from regrun.config.yaml_nodes import parse_config
from regrun.cores import cores
from regrun.devices import Devices
from regrun.errors import (
    ClusterLostError,
    CorruptInputError,
    Interrupted,
    StorageError,
    UsageError,
)
from regrun.execution.budget import Budget
from regrun.execution.computing import check_threads, notes_on_threads
from regrun.execution.interrupt import Interrupt, catching_signals
from regrun.execution.observer import Observer, Start
from regrun.execution.prepare import resolve_devices
from regrun.memory import free_bytes
from regrun.outliving import note_command
from regrun.results import RunSummary, StackPlan, SweepPlan, SweepSummary
from regrun.store.atomic import make_directory, remove_stale_temporaries, write_atomic
from regrun.store.checkpoint import CheckpointStore
from regrun.store.checksums import sealed_yaml
from regrun.store.lock import exclusive
from regrun.store.reading import StoredRun, load_result, read_document
from regrun.store.run_dir import claim_run_dir, experiment_dir, given_back_if_empty
from regrun.store.study import Study, write_study
from regrun.store.sweep_dir import PlannedRun, Round, SweepDir
from regrun.store.writer import rewrite
from regrun.sweeps.confirmation import MOST_FINALISTS, to_confirm
from regrun.sweeps.crew import Crew
from regrun.sweeps.executor import OnRay, resume_command
from regrun.sweeps.growth import check_growth, check_more, lacking, said_of
from regrun.sweeps.leaderboard import Leaderboard
from regrun.sweeps.planned_stack import PlannedStack, configs_of
from regrun.sweeps.planning import WORTH_WORKERS, Elsewhere, Planner, halved
from regrun.sweeps.ray_cluster import Cluster, joined
from regrun.sweeps.ray_nodes import check_nodes, with_gpu_memory
from regrun.sweeps.ray_places import Places
from regrun.sweeps.ray_plan import spread
from regrun.sweeps.ray_task import Software
from regrun.sweeps.ray_worker import workers_on
from regrun.sweeps.search import Proposer
from regrun.sweeps.selection import check_selection
from regrun.sweeps.space import PlannedCell, corner_cells, validate_cells
from regrun.sweeps.worker import InThisProcess, LocalWorker, OwnProcess, Worker
from regrun.sweeps.worker_pool import Trained, train_stacks
from regrun.sweeps.worker_process import WORKER_BYTES
from regrun.training.timing import seconds_per_step


@dataclass(frozen=True)
class Options:
    """How to run a sweep; none of these changes its results.

    workers: processes; 0 trains in this one, None lets the size of the work decide. ray: the
    cluster that trains instead. threads: of each worker; None: as many as pay. device: `cuda` and
    `auto` are all GPUs.
    """

    device: str = "auto"
    workers: int | None = None
    fail_fast: bool = False
    allow_large: bool = False
    ray: OnRay | None = None
    threads: int | None = None

    @property
    def places(self) -> int:
        """How many stacks have the cores to be trained side by side, on the CPU."""
        return max(1, cores() // (self.threads or 1))

    @property
    def devices(self) -> Devices:
        """What the device names. Raises UsageError."""
        return Devices.named(self.device)

    @property
    def device_here(self) -> str:
        """The device of what is trained in this process, also where sweeps are trained with Ray."""
        named = self.devices
        return "auto" if self.ray is not None and named.kind == "cuda" else str(named.first())

    def begun_on(self, device: str) -> Options:
        """The same; where they name no device, with what the sweep was begun on.

        Of GPUs Ray chooses one itself, and workers that are fewer use the first.
        """
        if self.devices.kind != "auto":
            return self
        begun = Devices.named(device)
        if self.ray is not None:
            begun = begun.first(0)
        elif self.workers is not None:
            begun = begun.first(max(1, self.workers))
        return replace(self, device=str(begun))

    def check_devices(self) -> list[torch.device]:
        """The devices that are used, the first one first: no more than there are workers.

        With Ray, the one that data are loaded on; its nodes have those that train. Raises
        UsageError where one is not there, for what Ray chooses itself, and for fewer workers than
        GPUs on a list.
        """
        named = self.devices
        if self.ray is not None:
            if named.numbers:
                raise UsageError(
                    f"--device {named}: with --executor ray, each stack gets a GPU from Ray; write "
                    "--device cuda"
                )
            return [torch.device("cpu")]
        if self.workers is not None and named.several and self.workers < len(named.numbers):
            raise UsageError(
                f"--device {named}: each GPU takes a worker process, and --workers {self.workers} "
                f"gives fewer; write --workers {len(named.numbers)} (in Python workers="
                f"{len(named.numbers)}), or name fewer GPUs"
            )
        found = resolve_devices(self.device)
        return found if self.workers is None else found[: max(1, self.workers)]


def run_sweep(
    loaded: Loaded,
    *,
    runs_dir: Path,
    options: Options = Options(),
    observer: Observer | None = None,
    directory: Path | None = None,
    study: Study | None = None,
) -> SweepSummary:
    """Train a sweep in a directory of its own; returns its summary.

    directory: which one; default: a new one in ``runs_dir``. study: what the sweep is, where it is
    more than a sweep. Raises ConfigError (located, before anything is written), StorageError,
    CorruptInputError, Interrupted.
    """
    with _cluster_of(options) as cluster:
        sweep = _Sweep(loaded, options, observer or Observer(), cluster)
        tree = dump_tree(loaded.source.tree)
        parse_config(tree.encode(), "the sweep")  # or it is too long for a file
        first = sweep.first_round()  # all errors before anything is written
        sweep.check_workers(len(first.stacks))
        parent = experiment_dir(runs_dir, loaded.config.name)
        with catching_signals() as interrupt:
            files = SweepDir(directory or claim_run_dir(parent, "sweep"))
            make_directory(files.path)
            with given_back_if_empty(files.path), exclusive(files.path):
                if study is not None:
                    write_study(files.path, study)
                write_atomic(files.config, sealed_yaml(_stored(loaded, files)))
                folders = files.portable(loaded.source.projects)
                files.write_rounds([replace(first, begun_in=folders)])
                return sweep.run(files, interrupt)


@contextmanager
def _cluster_of(options: Options, *, only_planned: bool = False) -> Iterator[Cluster | None]:
    """The cluster that trains the sweep, for a block.

    Raises UsageError where a node has other software than this process, unless only_planned.
    """
    options.check_devices()
    kind = options.devices.kind
    with joined(options.ray, device=kind, threads=options.threads or 1) as cluster:
        if cluster is None:
            yield None
            return
        if not only_planned:
            check_nodes(cluster)
        yield with_gpu_memory(cluster)


def resume_sweep(
    directory: Path,
    *,
    reload: Reload | None = None,
    seeds: int | None = None,
    options: Options = Options(),
    observer: Observer | None = None,
) -> SweepSummary:
    """Carry on an interrupted sweep; finished runs are not trained again.

    reload: loads the sweep's config with new places of its data, more seeds, trials or values.
    seeds: how many replicates of each cell were asked for. options: its device `auto` and its
    threads are by default those of the beginning. Raises UsageError when there is none, it has as
    many replicates, or another process is at it, and what `run_sweep` raises.
    """
    files = SweepDir(directory)
    if not files.config.is_file():
        raise UsageError(f"{directory}: no sweep here (it has no {files.config.name})")
    options.check_devices()
    watcher = observer or Observer()
    with catching_signals() as interrupt, exclusive(directory):
        changed: Collection[str] = ()
        done = load_result(files.summary, SweepSummary)
        sealed = done is None or bool(done.files)
        document = read_document(files.config, sealed=sealed)
        stored = load_config(document)
        if seeds is not None:
            check_more(seeds, stored.config, directory, has_ended=bool(done))
        if reload is not None:
            changed = check_growth(stored.config, reload(document), files.config.path)
        if done is not None and not changed:
            return _finished(done, directory, watcher)
        remove_stale_temporaries(directory)
        rounds = files.read_rounds(sealed=sealed)
        _check_outputs(files, rounds)
        if rounds:
            options = options.begun_on(rounds[0].device)
        if options.threads is None and rounds:
            options = replace(options, threads=rounds[0].threads)
        loaded = reload(document) if reload else stored
        if changed:
            check_runs(loaded, allow_large=options.allow_large)
        options = replace(options, allow_large=True)  # it was allowed, or fits
        if rounds:
            loaded = _varying_as_begun(loaded, rounds).begun_in(files.begun_in(rounds[0]))
        with asking_for_data(loaded, directory), _cluster_of(options) as cluster:
            sweep = _Sweep(loaded, options, watcher, cluster)
            grows = not PLACES.issuperset(changed)
            added = sweep.lacking(rounds, check_all=bool(changed))
            if changed:
                if grows:
                    files.reopen()
                write_atomic(files.config, sealed_yaml(_stored(loaded, files)))
            if not PLACES.isdisjoint(changed):
                _store_configs(loaded, files, rounds)
            if done is not None and not grows:
                return _finished(done, directory, watcher)
            if any(each.threads != options.threads for each in rounds):
                files.write_rounds([replace(each, threads=options.threads) for each in rounds])
            if added:
                watcher.on_message(said_of(added))
            return sweep.run(files, interrupt, added)


def _finished(done: SweepSummary, directory: Path, observer: Observer) -> SweepSummary:
    observer.on_message(f"{directory} had finished before; nothing to do")
    if not done.pruned and done.saved is None:
        seeds = 2 * max((cell.seeds for cell in done.cells), default=1)
        command = f"regrun resume {shlex.quote(str(directory))} --seeds {seeds}"
        observer.on_message(f"for more seeds: {command}")
    return done.model_copy(update={"sweep_dir": str(directory)})


def _check_outputs(files: SweepDir, rounds: Sequence[Round]) -> None:
    """Raise UsageError for a sweep of a version that gave its networks other outputs.

    Two classes had two under `loss: auto`, with which a penalty means something else.
    """
    for run in (run for each in rounds for run in each.runs):
        summary = load_result(files.run(run).summary, RunSummary)
        if summary is None or summary.model is None or "train/accuracy" not in summary.metrics:
            continue
        outputs = summary.model.num_outputs
        classes = max(outputs, 2)
        found = load_config(StoredRun(files.run(run), summary).document).config
        loss = found.loss.chosen_for("classification", classes)
        if loss.network_outputs(classes) != outputs:
            raise UsageError(
                f"{files.path}: an earlier version of regrun began this sweep, with {outputs} "
                f"outputs for {classes} classes, where {loss.kind} now has one: other strengths "
                f"would stand in one table; start a new one: regrun sweep {files.config}"
            )
        return


def _varying_as_begun(loaded: Loaded, rounds: Sequence[Round]) -> Loaded:
    """The config of a sweep whose data do not vary, since those of its version never did."""
    sweep = loaded.config.sweep
    old = all(run.data_seed is None for each in rounds for run in each.runs)
    if sweep is None or sweep.vary is not None or not old:
        return loaded
    same = sweep.model_copy(update={"vary": ("seed",)})
    return replace(loaded, config=loaded.config.model_copy(update={"sweep": same}))


def _stored(loaded: Loaded, files: SweepDir) -> str:
    """The sweep's config as it was given.

    With its defaults written out, an axis over optimizers would leave one with the keys of another.
    """
    tree = with_portable_paths(loaded.source.tree, files.path, loaded.source.projects)
    text = dump_tree(tree)
    return text + origins_in(text)


def _store_configs(loaded: Loaded, files: SweepDir, rounds: Sequence[Round]) -> None:
    """Write the configs of the runs again, with the places of their data."""
    runs = [run for each in rounds for run in each.runs]
    for run, config in zip(runs, configs_of(loaded, runs), strict=True):
        place = files.run(run).config
        if place.exists():
            text = dump_config(config, files.run(run).path, loaded.source.projects)
            rewrite(files.run(run), {place: sealed_yaml(text)})


def _as_proposed(files: SweepDir, rounds: Sequence[Round]) -> list[Cell]:
    """The cells with the seeds that they were proposed with: later ones do not change a search."""
    first: dict[int, set[str]] = {}
    for each in rounds:
        cells: dict[int, set[str]] = {}
        for run in each.runs:
            cells.setdefault(run.cell, set()).add(run.directory)
        first = cells | first
    kept = {name for names in first.values() for name in names}
    return [
        Cell(cell.params, [run for run in cell.runs if run.path.name in kept])
        for cell in StoredSweep(files).cells
    ]


def plan_sweep(loaded: Loaded, options: Options = Options()) -> SweepPlan:
    """What `--dry-run` prints: runs, stacks, memory and time; trains nothing.

    Of a search the stacks are those of its first round, and the time is scaled up to all trials.
    """
    with _cluster_of(options, only_planned=True) as cluster:
        sweep = _Sweep(loaded, options, Observer(), cluster)
        return _planned(loaded, sweep)


def _planned(loaded: Loaded, sweep: _Sweep) -> SweepPlan:
    first = sweep.first_round()
    stacks, examples, histograms = [], 0, 0
    notes = dict.fromkeys(sweep.planner.notes_on_sizes)
    for members in first.stacks:
        budget = sweep.planner.budget_of(first.runs[members[0]])
        examples += len(members) * budget.test_examples_bytes
        histograms += len(members) * budget.histograms_bytes
        notes |= dict.fromkeys(budget.notes)
        stacks.append(
            StackPlan(
                members=len(members),
                steps=budget.steps,
                memory_bytes=budget.total_bytes(len(members)),
                seconds=budget.seconds(len(members)),
            )
        )
    runs = sweep.proposer.total_cells * (loaded.config.sweep or Sweep()).seeds
    seconds = sum(stack.seconds for stack in stacks) * runs / len(first.runs)
    cells = sweep.proposer.total_cells
    confirm = loaded.config.sweep.confirm if loaded.config.sweep else 0
    return SweepPlan(
        runs=runs,
        cells=cells,
        confirmation=min(cells, MOST_FINALISTS) * confirm,
        stacks=stacks,
        seconds=seconds,
        test_examples_bytes=examples * runs // len(first.runs),
        histograms_bytes=histograms * runs // len(first.runs),
        notes=[*notes],
        cluster=spread(sweep.cluster, stacks, runs / len(first.runs)) if sweep.cluster else None,
    )


class _Sweep:
    """The rounds of one sweep: propose, plan, run, until there is nothing left to try."""

    def __init__(
        self,
        loaded: Loaded,
        options: Options,
        observer: Observer,
        cluster: Cluster | None = None,
    ) -> None:
        self._loaded, self._options, self._observer = loaded, options, observer
        self.cluster = cluster
        self._cluster_places = Places(cluster, Software.of_this_process()) if cluster else None
        check_runs(loaded, allow_large=options.allow_large)
        check_threads(options.threads)
        self._devices = options.check_devices()
        on_cpu = self._devices[0].type == "cpu"
        self._places = options.places if on_cpu else len(self._devices)
        with loaded.source.locating():
            self._metric = check_selection(loaded.config)
            self.proposer = Proposer(loaded.config, self._metric)
        section = loaded.config.sweep or Sweep()
        linear = section.scale == "linear"
        self._leaderboard = Leaderboard(self._metric, "linear" if linear else self._metric.scale)
        self.planner = Planner(
            loaded,
            self._devices,
            metric=self._metric,
            allow_large=options.allow_large,
            places=self._places if cluster is None else cluster.places,
            elsewhere=None
            if cluster is None
            else Elsewhere(cluster.rooms, cluster.most_bytes, cluster.on_gpus),
            timer=None if on_cpu else seconds_per_step,
        )

    @property
    def _kind(self) -> str:
        """What stacks are trained on."""
        return self._devices[0].type if self.cluster is None else self.cluster.device

    @property
    def _races(self) -> bool:
        return self._loaded.config.sweep is not None and self._loaded.config.sweep.search == "race"

    def first_round(self) -> Round:
        """The first cells, planned. Raises ConfigError for all that is wrong with any cell."""
        with self._loaded.source.locating():
            proposal = self.proposer.propose()
        if self._loaded.config.sweep is not None and self._loaded.config.sweep.space:
            validate_cells(self._loaded, corner_cells(self._loaded.config.sweep.space))
        return self._planned(proposal.cells, proposal.replicates)

    def lacking(self, rounds: Sequence[Round], *, check_all: bool) -> list[Round]:
        """What the config has and its plan lacks: cells, and seeds of cells.

        check_all: load the data of all rounds, not only of those that are lacking. Raises
        CorruptInputError for other data than the rounds were planned for, ConfigError for all that
        is wrong with new cells.
        """
        for each in rounds:
            self.planner.expect(each)
            for members in each.stacks if check_all else ():
                self.planner.check_data(each.runs[members[0]])
        if not rounds or self._races:
            return []  # what comes next is planned as ever
        found = lacking(rounds, self.proposer.fixed_cells(), self._loaded.config)
        return [self._planned(cells, seeds) for seeds, cells in found.items()]

    def _planned(self, cells: Sequence[PlannedCell], seeds: Sequence[int] | None = None) -> Round:
        planned = self._fitted(self.planner.round(cells, seeds))
        return replace(
            planned,
            device=self._options.devices.as_found(self._kind),
            threads=self._options.threads,
        )

    def _fitted(self, planned: Round) -> Round:
        """The same with stacks that the cluster can hold, where `sweep.stack_size` makes others."""
        position = 0
        while position < len(planned.stacks):
            if self._has_room([planned.runs[index] for index in planned.stacks[position]]):
                position += 1
            else:
                planned = halved(planned, position, ())
        return planned

    def _has_room(self, runs: Sequence[PlannedRun]) -> bool:
        """Whether a node can hold a stack of these runs. A single one is refused when it begins."""
        if self.cluster is None or len(runs) == 1:
            return True
        return self.cluster.holds(self.planner.budget_of(runs[0]).total_bytes(len(runs)))

    def run(
        self, files: SweepDir, interrupt: Interrupt, added: Sequence[Round] | None = None
    ) -> SweepSummary:
        """Everything that is left of the sweep; returns its summary.

        added: to the plan of a sweep that had begun before; None for a new one.
        """
        started = time.monotonic()
        rounds = files.read_rounds()
        for each in rounds:
            self.planner.expect(each)
        if added:
            rounds += [replace(each, begun_in=rounds[0].begun_in) for each in added]
            files.write_rounds(rounds)
        for each in rounds:
            self._list(each)
        if added is not None:
            self._list_ended(files)
        going, position = True, 0
        carry_on = resume_command(files.path, self._options.ray)
        note_command(carry_on)
        while going:
            if position == len(rounds):
                following = self._next_round(files, rounds)
                if following is None:
                    break
                begun_in = rounds[0].begun_in if rounds else ()
                rounds.append(replace(following, begun_in=begun_in))
                self._list(rounds[-1])
                files.write_rounds(rounds)
            try:
                going = self._run_round(files, rounds, position, interrupt)
            except (ClusterLostError, StorageError) as lost:
                if self.cluster is None:
                    raise
                raise type(lost)(f"{lost}; carry on with: {carry_on}") from lost
            position += 1
            if interrupt.signal_number is not None:
                message = f"saved; carry on with: {carry_on}"
                summary = self._summary(files, started)
                raise Interrupted(message, interrupt.signal_number, summary)
        summary = self._summary(files, started)
        if going:
            files.stacks.remove_tree()
            summary = files.store_summary(summary)
        else:
            self._observer.on_message(f"stopped; carry on with the rest: {carry_on}")
        return summary

    def _list(self, added: Round) -> None:
        self._leaderboard.add(added.runs, compared=added.purpose == "cells")

    def _list_ended(self, files: SweepDir) -> None:
        """Note the runs that ended before. What is damaged is reported where it is needed."""
        damaged: list[CorruptInputError] = []
        stored = StoredSweep(files, on_damage=damaged.append)
        for cells in (stored.cells, stored.confirmed):
            self._leaderboard.take_stored(cells)

    def _next_round(self, files: SweepDir, rounds: Sequence[Round]) -> Round | None:
        """What comes after these rounds, which have ended; None when nothing does."""
        ended = sum(each.purpose == "cells" for each in rounds)
        cells: list[Cell] = []
        if self.proposer.learns:
            cells = StoredSweep(files).cells if self._races else _as_proposed(files, rounds)
        self.proposer.take(cells, ended)
        proposal = self.proposer.propose()
        if proposal.cells:
            return self._planned(proposal.cells, proposal.replicates)
        wanted = (self._loaded.config.sweep or Sweep()).confirm
        if not wanted:
            return None
        finalists, numbers = to_confirm(rounds, StoredSweep(files).cells, self._metric, wanted)
        if not finalists:
            return None
        return replace(self._planned(finalists, numbers), purpose="confirmation")

    def _summary(self, files: SweepDir, started: float) -> SweepSummary:
        return summarize_sweep(files, self._metric, time.monotonic() - started)

    def _run_round(
        self, files: SweepDir, rounds: list[Round], position: int, interrupt: Interrupt
    ) -> bool:
        """Run what is unfinished of a round; False when it ended before its end.

        Stacks that do not fit into memory are halved, also in the plan; those that no node of the
        cluster can hold, before they begin.
        """
        before, again = sum(len(each.stacks) for each in rounds[:position]), False
        while stacks := self._unfinished(files, rounds[position], before):
            too_large = [stack for stack in stacks if not self._has_room(stack.runs)]
            there = "any node of the cluster has" if too_large else "there is"
            if not too_large:
                trained = self._train(files, stacks, interrupt, again=again)
                again = True
                if not trained.done or not trained.too_large:
                    return trained.done
                too_large = [*trained.too_large]
            runs = parts = 0
            for stack in too_large:
                left = {run.directory for run in stack.unfinished()}
                ended = {run.directory for run in stack.runs} - left
                runs, parts = runs + len(left), parts + min(len(left), 2)
                CheckpointStore(files.stack(stack.number)).clear()  # that of all of them
                rounds[position] = halved(rounds[position], stack.number - before, ended)
            self._observer.on_message(
                f"{runs:,} run(s) need more memory than {there}; they go on in {parts:,} stack(s)"
            )
            self.planner.expect(rounds[position])
            files.write_rounds(rounds)
        return True

    def _unfinished(self, files: SweepDir, this: Round, before: int) -> list[PlannedStack]:
        """The stacks of a round that have not ended. before: how many other rounds have."""
        stacks = (
            PlannedStack(
                files.path,
                number,
                tuple(this.runs[i] for i in members),
                data,
                self._loaded.source.projects,
                prunes=this.purpose == "cells",
                threads=self._options.threads,
            )
            for number, (members, data) in enumerate(
                zip(this.stacks, this.data, strict=True), start=before
            )
        )
        return [stack for stack in stacks if stack.unfinished()]

    def _train(
        self,
        files: SweepDir,
        stacks: Sequence[PlannedStack],
        interrupt: Interrupt,
        *,
        again: bool,
    ) -> Trained:
        budgets = [self.planner.budget_of(stack.runs[0]) for stack in stacks]
        steps = sum(b.steps * len(stack.runs) for b, stack in zip(budgets, stacks, strict=True))
        seconds = sum(b.seconds(len(stack.runs)) for b, stack in zip(budgets, stacks, strict=True))
        with self._crew(stacks, budgets, seconds) as crew:
            self._say_start(files, stacks, steps, crew.workers, again=again)
            return train_stacks(
                stacks,
                crew=crew,
                should_stop=lambda: interrupt.signal_number is not None,
                observer=self._observer,
                total_steps=steps,
                leaderboard=self._leaderboard,
                fail_fast=self._options.fail_fast,
            )

    @contextmanager
    def _crew(
        self, stacks: Sequence[PlannedStack], budgets: Sequence[Budget], seconds: float
    ) -> Iterator[Crew]:
        """The workers that train these stacks, for the block."""
        if self._cluster_places is not None:
            memory = {
                stack.number: budget.total_bytes(len(stack.runs))
                for stack, budget in zip(stacks, budgets, strict=True)
            }
            with workers_on(self._cluster_places, stacks, memory) as crew:
                yield crew
            return
        processes = self._workers(len(stacks), seconds)
        devices = map(str, islice(cycle(self._devices), max(processes, 1)))
        kind = OwnProcess if processes else InThisProcess
        yield Crew([kind(device) for device in devices])

    def _say_start(
        self,
        files: SweepDir,
        stacks: Sequence[PlannedStack],
        steps: int,
        workers: Sequence[Worker],
        *,
        again: bool,
    ) -> None:
        cards = self.planner.cards.values()
        used = [each.device for each in workers if isinstance(each, LocalWorker)]
        self._observer.on_start(
            Start(
                str(files.path),
                ", ".join(dict.fromkeys(used)) or self._kind,
                steps,
                self._notes(stacks),
                members=sum(len(stack.runs) for stack in stacks),
                stacks=len(stacks),
                workers=0 if isinstance(workers[0], InThisProcess) else len(workers),
                again=again,
                data=next(iter(cards), None) if len(cards) == 1 else None,
            )
        )

    def _notes(self, stacks: Sequence[PlannedStack]) -> list[str]:
        """What a user should know of a round, and of its data."""
        data = [note for card in self.planner.cards.values() for note in card.notes]
        stacking = [note for each in stacks for note in self.planner.budget_of(each.runs[0]).notes]
        return [
            *self.planner.notes,
            *self.planner.notes_on_sizes,
            *notes_on_threads(self._options.threads),
            *dict.fromkeys([*data, *stacking]),
            *self._notes_on_pruning(stacks),
        ]

    def _notes_on_pruning(self, stacks: Sequence[PlannedStack]) -> list[str]:
        pruner = self._loaded.config.sweep and self._loaded.config.sweep.pruner
        single = sum(len({run.cell for run in stack.runs}) == 1 for stack in stacks)
        if not pruner or not single:
            return []
        return [
            f"{pruner} compares the cells of a stack; {single:,} of {len(stacks):,} stacks hold "
            "one cell, which cannot be pruned"
        ]

    def check_workers(self, stacks: int) -> None:
        """Raise UsageError when `--workers` asks for more processes than fit into memory."""
        workers = min(self._options.workers or 0, stacks)
        free = free_bytes()
        most = max(1, free // WORKER_BYTES)
        if workers > most and not self._options.allow_large:
            raise UsageError(
                f"--workers {self._options.workers}: {workers:,} processes take "
                f"{decimal(workers * WORKER_BYTES)} or more, and {decimal(free)} of memory are "
                f"free; use {most:,} or fewer (or --allow-large to try)"
            )

    def _workers(self, stacks: int, seconds: float) -> int:
        """Worker processes; 0 trains in this one."""
        if stacks == 1:
            return 0
        if self._options.workers is not None:
            return min(self._options.workers, stacks)
        return min(stacks, self._places) if self._places > 1 and seconds > WORTH_WORKERS else 0
