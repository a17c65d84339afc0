"""From cells to a round of a sweep: runs with names, in packs."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch

from regrun.config.load import Loaded
from regrun.config.schema import Config
from regrun.data.dataset import Dataset
from regrun.errors import ConfigError
from regrun.execution.budget import Budget, available_bytes, estimate
from regrun.execution.prepare import load_data
from regrun.store.run_dir import safe_label
from regrun.store.sweep_dir import PlannedRun, Round
from regrun.sweeps.jobs import config_of
from regrun.sweeps.packing import Structure, pack, stack_size, structure
from regrun.sweeps.space import Cell, cell_label, seeds_of, validate_cells

WORTH_WORKERS = 8.0
"""Estimated seconds below which worker processes cost more than they bring."""


class Planner:
    """Turns cells into rounds. Datasets and budgets are worked out once per kind of run.

    Raises ConfigError, located, for cells that the schema, the data or the machine refuse.
    """

    def __init__(self, loaded: Loaded, device: torch.device, *, allow_large: bool) -> None:
        self._loaded, self._device = loaded, device
        self._allow_large = allow_large
        self._datasets: dict[object, Dataset] = {}
        self._budgets: dict[Structure, Budget] = {}

    def round(self, cells: Sequence[Cell]) -> Round:
        """Runs of the cells and their packs. The same cells give the same round on one machine."""
        configs = [self._seeded(config) for config in validate_cells(self._loaded, cells)]
        runs: list[PlannedRun] = []
        position: dict[tuple[int, int], int] = {}
        for index, (cell, members) in enumerate(zip(cells, configs, strict=True)):
            for number, config in enumerate(members):
                position[index, number] = len(runs)
                label = safe_label(f"{cell.index:04d}-{cell_label(cell.params)}")
                directory = f"{label}-seed={config.seed}"
                runs.append(PlannedRun(cell.index, dict(cell.params), config.seed, directory))
        packs = pack(configs, self._limit, self._least_packs(configs))
        return Round(runs, [[position[run] for run in members] for members in packs])

    def _least_packs(self, configs: Sequence[Sequence[Config]]) -> int:
        """A pack for every core, when the work is worth it.

        Pruning compares the members of a stack, so it wants them together.
        """
        sweep = self._loaded.config.sweep
        if self._device.type != "cpu" or (sweep is not None and sweep.pruner is not None):
            return 1
        if self._estimate(configs) < WORTH_WORKERS:
            return 1
        return os.cpu_count() or 1

    def _estimate(self, configs: Sequence[Sequence[Config]]) -> float:
        """Seconds that all runs would take on one core as one stack of each kind."""
        kinds: dict[Structure, tuple[Config, int]] = {}
        for members in configs:
            key = structure(members[0])
            kinds[key] = (members[0], kinds.get(key, (members[0], 0))[1] + len(members))
        return sum(self._budget(config).seconds(count) for config, count in kinds.values())

    def _seeded(self, config: Config) -> list[Config]:
        sweep = self._loaded.config.sweep
        seeds = seeds_of(config, sweep.seeds if sweep else 1)
        return [config.model_copy(update={"seed": seed}) for seed in seeds]

    def budget_of(self, run: PlannedRun) -> Budget:
        """What a planned run needs."""
        return self._budget(config_of(self._loaded, run))

    def _budget(self, config: Config) -> Budget:
        """What one run like this needs."""
        key = structure(config)
        if key not in self._budgets:
            try:
                dataset = self._dataset(config)
                self._budgets[key] = estimate(
                    config, dataset, self._device, allow_large=self._allow_large
                )
            except ConfigError as error:
                raise self._loaded.source.locate(error) from error
        return self._budgets[key]

    def _dataset(self, config: Config) -> Dataset:
        if config.dataset not in self._datasets:
            self._datasets[config.dataset] = load_data(
                config, self._device, allow_large=self._allow_large
            )
        return self._datasets[config.dataset]

    def _limit(self, config: Config) -> int:
        sweep = self._loaded.config.sweep
        if sweep is not None and sweep.stack_size is not None:
            return sweep.stack_size
        budget = self._budget(config)
        return stack_size(
            budget.member_bytes,
            budget.shared_bytes,
            available_bytes(self._device),
            self._device.type == "cpu",
        )
