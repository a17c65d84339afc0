"""From cells to a round of a sweep: runs with names, in stacks.

Runs that differ only in per-member numbers can be trained as one stack. The size of a stack is a
matter of speed; results do not depend on it. On a CPU it follows from the config and the caches, on
a GPU from its memory and from what is measured.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from regrun.config.load import Loaded
from regrun.config.schema import Config
from regrun.config.sweeps import Sweep
from regrun.data.dataset import Dataset
from regrun.errors import ConfigError, RegrunError
from regrun.execution.budget import Budget, available_bytes, estimate
from regrun.execution.computing import computing, on_device
from regrun.execution.prepare import check_unchanged, load_data, load_draws
from regrun.memory import give_back
from regrun.metrics import Metric
from regrun.nn.roles import roles_of
from regrun.results import DataCard
from regrun.store.run_dir import safe_label
from regrun.store.sweep_dir import PlannedRun, Round
from regrun.sweeps.replicates import Replication, replicates, with_seeds
from regrun.sweeps.space import PlannedCell, cell_label, validate_cells
from regrun.sweeps.stack_speed import Measured, fastest
from regrun.training.data_checks import check_config_against_data, check_metric
from regrun.training.network import build_network

WORTH_WORKERS = 8.0
"""Estimated seconds below which worker processes cost more than they bring."""

CACHE_BYTES = 64_000_000
"""Most bytes of parameters, gradients and optimizer state of a stack on a CPU: a few times the size
of the last-level cache."""

MOST_MEMBERS = 1024
"""Beyond this size the time per member no longer falls."""

Structure = tuple[Any, ...]

StepTimer = Callable[[Sequence[Config], Dataset, torch.device], float]
"""The members of a stack, their data and a device → seconds of a step."""


@dataclass(frozen=True)
class Elsewhere:
    """Other machines than this one, which train its stacks.

    rooms: memory of each stack that is trained at once, in bytes. most_bytes: what one can have at
    most, where others wait for it.
    """

    rooms: Sequence[int]
    most_bytes: int
    on_gpus: bool

    @property
    def device(self) -> torch.device:
        """What stacks are trained on there."""
        return torch.device("cuda" if self.on_gpus else "cpu")

    def rooms_for(self, run_bytes: int) -> list[int]:
        """Those that hold such a run alone, the largest first; the largest, where none does."""
        rooms = sorted(self.rooms, reverse=True)
        return [room for room in rooms if room >= run_bytes] or rooms[:1]


class Planner:
    """Turns cells into rounds. Budgets are worked out once per kind of run.

    devices: what stacks are trained on, each on one. metric: what cells are ordered by. places: how
    many stacks can be trained side by side. elsewhere: where stacks are trained instead. timer:
    what measures the sizes of stacks, such as `seconds_per_step`; None: memory alone decides.

    Raises ConfigError, located, for cells that the schema, the data or the machine refuse.
    """

    def __init__(
        self,
        loaded: Loaded,
        devices: Sequence[torch.device],
        *,
        metric: Metric,
        allow_large: bool,
        places: int,
        elsewhere: Elsewhere | None = None,
        timer: StepTimer | None = None,
    ) -> None:
        self._loaded, self._places = loaded, places
        self._device = min(devices, key=available_bytes)
        """The one with the least free memory: what fits there fits all."""
        self._elsewhere, self._timer = elsewhere, timer
        self._sweep = loaded.config.sweep or Sweep()
        self._metric = metric
        self._allow_large = allow_large
        self._budgets: dict[Structure, Budget] = {}
        self._measured: dict[Structure, Measured | None] = {}
        self._last: tuple[str, Dataset] | None = None
        self._fingerprints: dict[str, str] = {}
        self.notes: dict[str, None] = {}
        """On how the configs of the cells were read, each once."""
        self.cards: dict[str, DataCard] = {}
        """Of every dataset that was loaded for planning."""
        self._leading: dict[int, Loaded] = {}
        self._replication = Replication(self._sweep)

    @property
    def _on_gpus(self) -> bool:
        here = self._device.type == "cuda"
        return here if self._elsewhere is None else self._elsewhere.on_gpus

    def round(self, cells: Sequence[PlannedCell], seeds: Sequence[int] | None = None) -> Round:
        """Runs of the cells and their stacks.

        The same cells give the same round on one machine, where nothing is measured. seeds: which
        of each cell's, from 0; default: all.
        """
        loaded = validate_cells(self._loaded, cells)
        self.notes |= dict.fromkeys(note for member in loaded for note in member.notes)
        with self._loaded.source.locating():
            varied = [self._replication.varied(member.config) for member in loaded]
        self._check(cells, loaded)
        if seeds is None:
            seeds = range(self._sweep.seeds)
        configs: list[list[Config]] = []
        runs: list[PlannedRun] = []
        for cell, member, varies in zip(cells, loaded, varied, strict=True):
            label = safe_label(f"{cell.index:04d}-{cell_label(cell.params)}")
            configs.append([])
            for config, data_seed in replicates(member.config, varies, seeds):
                number = f"seed={config.seed}" if "seed" in varies else f"data={data_seed}"
                directory, params = f"{label}-{number}", dict(cell.params)
                runs.append(PlannedRun(cell.index, params, config.seed, directory, data_seed))
                configs[-1].append(config)
        bases = [member.config for member in loaded]
        stacks = group_into_stacks(
            configs,
            lambda cell: self._limits(loaded[cell], configs),
            self._least_stacks(bases, len(seeds)),
        )
        self._leading |= {cells[first].index: loaded[first] for (first, _), *_ in stacks}
        leading = [(loaded[cell], configs[cell][replicate]) for (cell, replicate), *_ in stacks]
        self._load_draws(leading)
        data = [self._fingerprints[_data_key(replicate)] for _, replicate in leading]
        count = len(seeds)
        found = [self._measured.get(structure(bases[cell])) for (cell, _), *_ in stacks]
        return Round(
            runs,
            [[cell * count + n for cell, n in members] for members in stacks],
            data,
            most=[each.most if each else None for each in found] if any(found) else [],
        )

    def expect(self, planned: Round) -> None:
        """Go on as this round was planned: with its data, and its sizes of stacks.

        From now on CorruptInputError is raised for other data.
        """
        for members, fingerprint, most in zip(
            planned.stacks, planned.data, planned.sizes, strict=True
        ):
            _, config = self._replicate(planned.runs[members[0]])
            self._fingerprints[_data_key(config)] = fingerprint
            if most is None:
                continue
            kind = structure(config)
            known = self._measured.get(kind)
            if known is None or most < known.most:
                self._measured[kind] = Measured(most)

    def check_data(self, run: PlannedRun) -> None:
        """Load the data of a planned run. Raises CorruptInputError where they have changed."""
        self.budget_of(run)
        self._dataset(*self._replicate(run))

    def budget_of(self, run: PlannedRun) -> Budget:
        """What a planned run needs."""
        cell = self._cell(run)
        return self._budget(cell, [cell.config])

    def _cell(self, run: PlannedRun) -> Loaded:
        """The config of the cell of a stack's first run, which is validated only once."""
        if run.cell not in self._leading:
            self._leading[run.cell] = self._loaded.member(run.params)
        return self._leading[run.cell]

    def _replicate(self, run: PlannedRun) -> tuple[Loaded, Config]:
        """The cell of a stack's first run, and the run's own config."""
        cell = self._cell(run)
        return cell, with_seeds(cell.config, run.seed, run.data_seed)

    def _load_draws(self, leading: Sequence[tuple[Loaded, Config]]) -> None:
        """Load the data of these replicates of cells, as far as they have not been."""
        missing: dict[str, tuple[Loaded, dict[int, str]]] = {}
        for cell, replicate in leading:
            key = _data_key(replicate)
            if key not in self._fingerprints:
                _, draws = missing.setdefault(_data_key(cell.config), (cell, {}))
                draws[replicate.dataset.seed] = key
        for cell, draws in missing.values():
            self._last = None
            with cell.source.locating():
                loads = load_draws(cell.config, [*draws], self._device)
                for key, data in zip(draws.values(), loads, strict=True):
                    self._fingerprints[key] = data.fingerprint()

    def _check(self, cells: Sequence[PlannedCell], loaded: Sequence[Loaded]) -> None:
        """Budgets of all kinds of runs, and whether each cell goes with its data and network."""
        configs = [each.config for each in loaded]
        kinds: dict[Structure, list[int]] = {}
        for index, config in enumerate(configs):
            kinds.setdefault(structure(config), []).append(index)
        for indices in kinds.values():
            first = loaded[indices[0]]
            self._budget(first, [configs[index] for index in indices])
            dataset = self._dataset(first, first.config)
            with self._loaded.source.locating():
                check_metric(self._metric.name, "sweep.metric", first.config.dataset, dataset)
                for index in indices:
                    self._check_average(cells[index], configs[index])
            model = build_network(first.config, dataset)
            roles = roles_of(model)
            shapes = {name: tuple(p.shape) for name, p in model.named_parameters()}
            for index in indices[1:]:
                with loaded[index].source.locating():
                    check_config_against_data(configs[index], dataset, roles, shapes, ())

    def _check_average(self, cell: PlannedCell, config: Config) -> None:
        key = config.training.missing_average(self._metric.name)
        if key is not None:
            message = f"{self._metric.name} needs {key}, and there is a cell without it"
            named = f": {cell_label(cell.params)}" if cell.params else ""
            raise ConfigError.at("sweep.metric", f"{message}{named}")

    def _least_stacks(self, cells: Sequence[Config], replicates: int) -> int:
        """A stack for every place, a core or a GPU, when the work is worth it.

        Pruning compares the members of a stack, so it wants them together.
        """
        if self._places == 1 or self._sweep.pruner is not None:
            return 1
        counts = Counter[Structure]()
        for config in cells:
            counts[structure(config)] += replicates
        # On one core, as one stack of each kind.
        seconds = sum(self._budgets[kind].seconds(count) for kind, count in counts.items())
        return self._places if seconds >= WORTH_WORKERS else 1

    def _budget(self, member: Loaded, alike: Sequence[Config]) -> Budget:
        """What one run like this needs. alike: those that may share its stack, itself first."""
        key = structure(member.config)
        if key not in self._budgets:
            dataset = self._dataset(member, member.config)
            with member.source.locating():
                self._budgets[key] = estimate(
                    alike,
                    dataset,
                    self._device if self._elsewhere is None else self._elsewhere.device,
                    allow_large=self._allow_large,
                    most=None if self._elsewhere is None else self._elsewhere.most_bytes,
                )
        return self._budgets[key]

    def _dataset(self, cell: Loaded, replicate: Config) -> Dataset:
        """The last one is kept: a sweep over data sets must not hold them all."""
        key = _data_key(replicate)
        if self._last is None or self._last[0] != key:
            with cell.source.locating():
                data = load_data(replicate, self._device, allow_large=self._allow_large)
            found = data.fingerprint()
            check_unchanged(replicate.dataset, self._fingerprints.setdefault(key, found), found)
            self.cards.setdefault(_data_key(cell.config), data.card)
            self._last = key, data
        return self._last[1]

    def _limits(self, cell: Loaded, configs: Sequence[Sequence[Config]]) -> list[int]:
        """The most members of stacks with this cell, for each place that is unlike others.

        configs: of all runs of the round.
        """
        if self._sweep.stack_size is not None:
            return [self._sweep.stack_size]
        budget = self._budgets[structure(cell.config)]
        # A pruner compares the members of a stack.
        if self._on_gpus and budget.fills_gpu and self._sweep.pruner is None:
            return [1]
        if self._elsewhere is None:
            rooms = [available_bytes(self._device)]
        else:
            rooms = self._elsewhere.rooms_for(budget.total_bytes(1))
        limits = [
            stack_size(
                budget.member_bytes,
                budget.shared_bytes,
                room,
                not self._on_gpus,
                budget.comparing_bytes,
            )
            for room in rooms
        ]
        fastest = self._fastest(cell, configs, max(limits))
        return [min(limit, fastest) for limit in limits]

    def _fastest(self, cell: Loaded, configs: Sequence[Sequence[Config]], limit: int) -> int:
        """The size of stacks with this cell that trains fastest, as it is measured once."""
        kind = structure(cell.config)
        budget = self._budgets[kind]
        # A pruner compares the members of a stack; others are computed one after another anyway.
        alone = self._sweep.pruner is not None or bool(budget.trial.unstackable)
        if self._timer is not None and not alone and kind not in self._measured:
            alike = [each for own in configs if structure(own[0]) == kind for each in own]
            dataset = self._dataset(cell, cell.config)
            self._measured[kind] = fastest(
                limit,
                len(alike),
                budget.steps,
                lambda size: self._seconds_of(alike[:size], dataset, budget),
            )
        measured = self._measured.get(kind)
        return measured.most if measured else limit

    def _seconds_of(
        self, members: Sequence[Config], dataset: Dataset, budget: Budget
    ) -> float | None:
        """What one step of such a stack takes; None where it cannot be trained."""
        assert self._timer is not None
        try:
            with (
                on_device(self._device),
                computing(members[0].training, budget, len(members)),
            ):
                return self._timer(members, dataset, self._device)
        except (RegrunError, RuntimeError):  # of which training says more
            return None
        finally:
            give_back()

    @property
    def notes_on_sizes(self) -> list[str]:
        """What a user should know of sizes of stacks that were measured, each once."""
        found = [each for each in self._measured.values() if each]
        return [*dict.fromkeys(note for each in found for note in each.notes)]


def _data_key(config: Config) -> str:
    """Equal for runs that are given the same tensors."""
    section = config.dataset.with_targets_for(config.optimizer)
    return f"{config.training.precision} {section.model_dump_json()}"


def structure(config: Config) -> Structure:
    """All of a config that shapes tensors or control flow: equal for members of one stack."""
    return config.model_copy(update={"name": "", "sweep": None}).structure()


def stack_size(
    member_bytes: int, shared_bytes: int, free_bytes: int, on_cpu: bool, comparing_bytes: int = 0
) -> int:
    """Members of one stack, limited by half of the free memory, and on a CPU by the cache.

    comparing_bytes: see `Budget`.
    """
    room = (free_bytes // 2 - shared_bytes) // max(member_bytes + comparing_bytes, 1)
    if on_cpu:
        room = min(room, CACHE_BYTES // max(member_bytes, 1))
    return max(1, min(room, MOST_MEMBERS))


def halved(planned: Round, stack: int, ended: Collection[str]) -> Round:
    """The round with one of its stacks in two, which need half of the memory each.

    ended: directories of runs that are not trained again; they become a stack of their own. The
    replicates of a cell stay together where there are several cells, so that they are pruned
    together.
    """
    members = planned.stacks[stack]
    over = [index for index in members if planned.runs[index].directory in ended]
    left = [index for index in members if index not in over]
    cells = list(dict.fromkeys(planned.runs[index].cell for index in left))
    if len(cells) > 1:
        first = set(cells[: (len(cells) + 1) // 2])
        left.sort(key=lambda index: planned.runs[index].cell not in first)
        middle = sum(planned.runs[index].cell in first for index in left)
    else:
        middle = (len(left) + 1) // 2
    parts = [part for part in (over, left[:middle], left[middle:]) if part]
    stacks = [*planned.stacks[:stack], parts[0], *planned.stacks[stack + 1 :], *parts[1:]]
    added = len(parts) - 1
    data = [*planned.data, *[planned.data[stack]] * added]
    most = max(1, len(left) - middle, middle)
    sizes = [*planned.sizes[:stack], most, *planned.sizes[stack + 1 :], *[most] * added]
    return replace(planned, stacks=stacks, data=data, most=sizes)


def group_into_stacks(
    cells: Sequence[Sequence[Config]],
    limits: Callable[[int], Sequence[int]],
    least_stacks: int = 1,
) -> list[list[tuple[int, int]]]:
    """Group runs, as (cell, position of the replicate), into stacks.

    cells: the configs of each cell, one per replicate, alike in all but their seeds. limits: the
    most members of a stack with this cell, for each of the places where stacks are trained, or one
    for all of them. The replicates of a cell on the same data share a stack if they fit.
    least_stacks: spread the runs of one structure over at least this many stacks, if there are
    enough of them, so that each place has one.

    Stacks are shares of equal size, or where places are unlike, in proportion to what each holds.
    """
    alike: dict[Structure, dict[int, list[tuple[int, list[int]]]]] = {}
    """Structure of a cell → seed of its data → cells, each with its replicates on these data."""
    for index, configs in enumerate(cells):
        draws = alike.setdefault(structure(configs[0]), {})
        own: dict[int, list[int]] = {}
        for replicate, config in enumerate(configs):
            own.setdefault(config.dataset.seed, []).append(replicate)
        for seed, group in own.items():
            draws.setdefault(seed, []).append((index, group))
    stacks: list[list[tuple[int, int]]] = []
    taken = 0  # places, which have their turns one after the other
    for draws in alike.values():
        least = -(-least_stacks // len(draws))
        for groups in draws.values():
            first, replicates = groups[0]
            places = limits(first)
            chosen: list[tuple[int, int]] = []
            """Of each stack: members at most, and cells up to it."""
            room = 0
            while room < len(groups) or len(chosen) < min(least, len(groups)):
                most = places[taken % len(places)]
                room += max(1, most // len(replicates))
                chosen.append((most, room))
                taken += 1
            # 100 cells with room for 64 are 50 + 50, not 64 + 36.
            begin = 0
            for most, upto in chosen:
                end = upto * len(groups) // room
                runs = [(cell, each) for cell, group in groups[begin:end] for each in group]
                stacks += [runs[at : at + most] for at in range(0, len(runs), most)]
                begin = end
    return stacks
