"""The training loop: K members trained as one stack. A single run is a stack of one.

The engine knows no files and no terminal. `Engine.run` yields events; between any two of them, but
not after `WeightHistograms`, its state can be saved and loaded into a new engine of the same
members, which then continues bit for bit on the same machine.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import compress
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from regrun.config.schema import Config
from regrun.data.dataset import Dataset
from regrun.errors import CorruptInputError
from regrun.histograms import WeightHistograms
from regrun.metrics import SCORES
from regrun.nn.layer_table import widest
from regrun.nn.modules import standardizing
from regrun.nn.roles import Role
from regrun.seeding import derive
from regrun.stack import Stack
from regrun.stack.state import BATCHES, check_names, check_tensors, finite_rows, naming
from regrun.training.averaging import EMA, SWA
from regrun.training.batches import InputScales, TrainMask, check_train_mask
from regrun.training.compiled import pays
from regrun.training.early_stopping import EarlyStopper
from regrun.training.evaluation import Evaluator
from regrun.training.events import (
    Evaluation,
    Event,
    MemberEnd,
    MemberStatus,
    MetricTable,
    Row,
    Tick,
)
from regrun.training.histograms import count_entries
from regrun.training.lipschitz import with_learning_rates
from regrun.training.losses import reported_loss
from regrun.training.network import build_network, layers_of, trial_of
from regrun.training.network_inputs import with_input_positions
from regrun.training.objective import follows_from_weights
from regrun.training.precision import DTYPES
from regrun.training.state import Ending, EngineState, part, strip_prefix, with_prefix
from regrun.training.step import Step


class _MetricSet(NamedTuple):
    """What decides which metrics a member has; members with equal sets share a table."""

    averages: tuple[str, ...]
    penalties: tuple[str, ...]
    holds_out: bool

    def includes(self, tag: str) -> bool:
        group, _, label = tag.partition("/")
        if group == "penalty":
            return label in self.penalties
        if group in (EMA, SWA) and group not in self.averages:
            return False
        return self.holds_out or "held_out/" not in tag


class Engine:
    """Trains K members on one dataset.

    A *member* is known by its index in `configs`. A *row* is its position in the stack's tensors,
    which differs from the member's index because members are sorted by seed and because the stack
    shrinks.

    Args:
        configs: One per member; equal in everything that shapes tensors or control flow (see
            `PerMember`).
        dataset: On `device`, in the dtype of the configs' precision.
        device: Where to train.
        train_mask: (K, N) bool, the training examples that each member trains on, the others being
            measured as `held_out`; None: all. Needs full batches and no interaction between
            examples.
        input_scales: What standardizes the inputs of each member; None: they are as they should be.
            Needs the linear model.

    Raises:
        ConfigError: Model, loss or selectors do not fit the dataset.
    """

    def __init__(
        self,
        configs: Sequence[Config],
        dataset: Dataset,
        device: torch.device,
        train_mask: Tensor | None = None,
        input_scales: InputScales | None = None,
    ) -> None:
        configs = with_input_positions(configs, dataset)
        configs = with_learning_rates(configs, dataset, train_mask, input_scales)
        self._configs, self._device = tuple(configs), device
        first = configs[0]
        self._evaluate_every = first.training.evaluate_every
        self._epochs = first.training.epochs
        self._histograms_every = first.training.histograms_every

        # Members with the same seed are adjacent, so that a batch is gathered once for them.
        self._members = sorted(range(len(configs)), key=lambda member: configs[member].seed)
        sorted_configs = [configs[member] for member in self._members]
        modules = _initial_modules(sorted_configs, dataset)
        if input_scales is not None:
            modules = [
                standardizing(module, *input_scales.of(member))
                for module, member in zip(modules, self._members, strict=True)
            ]
        trial = trial_of(modules[0], first, dataset)
        dtype = DTYPES[first.training.precision]
        self._stack = Stack(modules, device, dtype, first.model, trial.way)
        if train_mask is not None:
            batch_norm = bool(self._stack.momenta)
            check_train_mask(train_mask, configs, len(dataset.train), batch_norm=batch_norm)
            train_mask = train_mask[self._members].to(device)
        self._train_mask = TrainMask(train_mask)
        drawn = [
            trial.draws or not follows_from_weights(config, module)
            for config, module in zip(sorted_configs, modules, strict=True)
        ]
        self._compile = first.training.compile
        self._step = Step(sorted_configs, self._stack, dataset, self._train_mask, drawn, device)
        self._evaluator = Evaluator(
            dataset,
            first.training,
            first.dataset.seed,
            reported_loss(first, dataset),
            self._step.minimized,
            widest(layers_of(modules[0], first, dataset), dataset.input_shape),
            self._train_mask,
            [SCORES[name] for name in first.metrics if name in SCORES and SCORES[name].function],
        )

        self.step = 0
        self.total_steps = self._epochs * self._step.per_epoch
        self._step.compiles = self._compiling_pays()
        self._stoppers = {
            member: EarlyStopper(config.training.early_stopping)
            for member, config in enumerate(configs)
            if config.training.early_stopping is not None
        }
        self._best: dict[str, Tensor] = {}
        """The networks at each row's best evaluation; filled once a member has early stopping."""
        self._ended: set[int] = set()
        """Members whose `MemberEnd` has been yielded."""
        self._pending: list[Ending] = []
        """What was found at the last evaluation and not yet yielded as `MemberEnd`."""
        self._stopped: list[int] = []
        """Members stopped at the last evaluation, which are to leave the stack."""
        self._counted: WeightHistograms | None = None
        self._losses = torch.full((len(configs),), math.nan, device=device)
        """(K,), the data losses of the latest step."""

    @property
    def roles(self) -> dict[str, Role]:
        """Parameter name → role."""
        return self._stack.roles

    @property
    def live(self) -> list[int]:
        """Members that are still training, in row order."""
        over = self._ended.union(each.member for each in self._pending)
        return [member for member in self._members if member not in over]

    @property
    def epoch(self) -> int:
        """Completed epochs."""
        return self.step // self._step.per_epoch

    @property
    def epochs_begun(self) -> int:
        """Epochs of which a step was taken."""
        return -(-self.step // self._step.per_epoch)

    @property
    def ends_between_evaluations(self) -> bool:
        """Whether the last evaluation is one that a longer training would not make.

        It may draw noise and counts for early stopping, so a state saved after it is of no use.
        """
        return self._epochs % self._evaluate_every != 0

    def run(self) -> Iterator[Event]:
        """Train to the end from the current state."""
        per_epoch = self._step.per_epoch
        yield from self._yield_pending()
        if self.step == 0:
            yield from self._yield_histograms()
        while self.live and self.step < self.total_steps:
            self._take_step()
            yield from self._yield_histograms()
            epoch, within = divmod(self.step, per_epoch)
            if within == 0 and epoch % self._evaluate_every == 0:
                yield self._evaluate(epoch)
                yield from self._yield_pending()
            else:
                yield Tick(self.step)
        if self.live and self.ends_between_evaluations:
            yield self._evaluate(self._epochs)
            yield from self._yield_pending()
        for member in self.live:
            yield self._end(member, "completed", self.step)

    @property
    def not_replayed(self) -> str:
        """Why steps are not replayed as CUDA graphs, once that has turned out; empty: they are."""
        return self._step.not_replayed

    @property
    def not_compiled(self) -> str:
        """Why steps that were to be compiled are not, once that has turned out; empty: they are."""
        return self._step.not_compiled

    def _compiling_pays(self) -> bool:
        """Whether the coming steps are to be compiled."""
        entries = sum(parameter.numel() for parameter in self._stack.parameters.values())
        return pays(self._compile, entries, self.total_steps - self.step, self._device)

    def take_steps(self, count: int) -> None:
        """Take that many steps, or as many as are left, without evaluations or ends of members.

        For measuring how long steps take: what comes of it is no training.
        """
        for _ in range(min(count, self.total_steps - self.step)):
            self._take_step()

    def batch_loss(self) -> float:
        """The mean data loss of the latest step; waits for the device. NaN before the first."""
        return self._losses.mean().item()

    def prune(self, members: Sequence[int]) -> list[MemberEnd]:
        """End these members now and shrink the stack; those that have already ended are skipped."""
        pruned = [member for member in members if member in self.live]
        ends = [self._end(member, "pruned", self.step) for member in pruned]
        self._remove(pruned)
        return ends

    def weights_of(self, member: int) -> dict[str, Tensor]:
        """The weights of a live member by name, on the CPU."""
        row = self._members.index(member)
        return {name: each[row].cpu() for name, each in self._stack.state_dict().items()}

    def move(self, member: int, weights: Mapping[str, Tensor]) -> None:
        """Let a live member train on from other weights, without the optimizer's momentum.

        weights: by name; those without a name here stay.
        """
        row = self._members.index(member)
        own = self._stack.state_dict()
        for name, tensor in weights.items():
            own[name][row].copy_(tensor)
        self._step.forget(row)

    def _yield_histograms(self) -> Iterator[WeightHistograms]:
        """At the start, and every so many epochs."""
        if self._histograms_are_due:
            yield self._count_weights()

    @property
    def _histograms_are_due(self) -> bool:
        period = self._histograms_every * self._step.per_epoch
        return period > 0 and self.step % period == 0

    def _count_weights(self) -> WeightHistograms:
        """Count for all members that have not ended, at once, and once at each step."""
        if self._counted is None or self._counted.step != self.step:
            tables = count_entries(self._stack.parameters, self.roles)
            everyone = WeightHistograms(self.epoch, self.step, self._members, tables)
            here = [member for member in self._members if member not in self._ended]
            self._counted = everyone.of(here)
        return self._counted

    def _take_step(self) -> None:
        self._losses = self._step(self.step)
        self.step += 1

    def _evaluate(self, epoch: int) -> Evaluation:
        """Measure all live members, and record which of them end here.

        Diverged members are left out of the result. They and the members that early stopping ends
        go to `_pending`, since `run` yields the evaluation first and the ends after it.
        """
        measured = self._measure(epoch)
        # One transfer from the device: (rows, metrics), and the steps that were finite.
        found = [*measured.values(), self._step.survival.finite_steps]
        values = torch.stack([value.double() for value in found], 1).cpu().numpy()
        columns = {tag: column for column, tag in enumerate(measured)}
        finite_steps = values[:, -1]
        tables: list[MetricTable] = []
        for metric_set, rows in self._rows_by_metric_set(epoch).items():
            tags = tuple(tag for tag in measured if metric_set.includes(tag))
            selected = values[np.ix_(rows, [columns[tag] for tag in tags])]
            # A member can also diverge in a metric, with finite training losses.
            finite = (finite_steps[rows] == self.step) & np.isfinite(selected).all(1)
            members = tuple(self._members[row] for row in compress(rows, finite))
            tables.append(MetricTable(members, tags, selected[finite]))
            for row in compress(rows, ~finite):
                step = min(int(finite_steps[row]) + 1, self.step)
                self._pending.append(
                    Ending(member=self._members[row], status="diverged", step=step)
                )
        evaluation = Evaluation(epoch, self.step, tuple(tables))
        if self._step.schedule.follows_metrics:
            self._step.schedule.respond([evaluation.rows.get(each) for each in self._members])
        if self._stoppers:
            self._stopped = self._update_stoppers(evaluation)
            self._pending += [
                Ending(member=member, status="stopped", step=self.step) for member in self._stopped
            ]
        return evaluation

    def _measure(self, epoch: int) -> dict[str, Tensor]:
        """Tag → (K,): everything that any member is measured by, the averages' metrics included."""
        with self._step.precision():
            measured = self._evaluator(self._stack, self._step.penalties, self._step.objective)
            averages, rows = self._step.averages, range(len(self._members))
            for label in sorted({label for row in rows for label in averages.labels(row, epoch)}):
                with averages.standing_in(label, self._stack):
                    self._step.refresh_statistics()
                    losses = self._evaluator.losses(self._stack)
                measured |= {f"{label}/{tag}": value for tag, value in losses.items()}
        measured["lr"] = self._step.current_lr(self.step - 1)
        return measured

    def _rows_by_metric_set(self, epoch: int) -> dict[_MetricSet, list[int]]:
        """The rows of the members that have not ended, grouped by what they are measured by."""
        averages, penalties = self._step.averages, self._step.penalties.labels
        grouped: dict[tuple[Any, ...], list[int]] = defaultdict(list)
        for row, member in enumerate(self._members):
            if member not in self._ended:
                labels = tuple(averages.labels(row, epoch))
                grouped[labels, penalties[row], self._train_mask.holds_out(row)].append(row)
        return {_MetricSet(*key): rows for key, rows in grouped.items()}

    def _update_stoppers(self, evaluation: Evaluation) -> list[int]:
        """Record the evaluation, keep the networks of new bests; returns the members to stop."""
        watched = [member for member in evaluation.rows if member in self._stoppers]
        improved = [
            member for member in watched if self._stoppers[member].improved(evaluation.rows[member])
        ]
        if improved:
            networks = self._networks()
            if not self._best:
                self._best = {name: tensor.clone() for name, tensor in networks.items()}
            rows = torch.tensor([self._members.index(m) for m in improved], device=self._device)
            for name, tensor in networks.items():
                self._best[name][rows] = tensor[rows]
        return [member for member in watched if self._stoppers[member].exhausted]

    def _yield_pending(self) -> Iterator[MemberEnd]:
        """Yield the ends that the last evaluation found; stopped members leave the stack."""
        while self._pending:
            ending = self._pending.pop(0)
            yield self._end(ending.member, ending.status, ending.step)
        self._remove(self._stopped)
        self._stopped = []

    def _end(self, member: int, status: MemberStatus, step: int) -> MemberEnd:
        last = None
        if self._histograms_every and not self._histograms_are_due:
            last = self._count_weights()
        self._ended.add(member)
        if status == "diverged":
            return MemberEnd(member, status, self.epoch, step, None, histograms=last)
        row = self._members.index(member)
        stopper = self._stoppers.get(member)
        networks, best_row, epoch = self._networks(), None, self.epoch
        if stopper is not None and stopper.section.restore_best and stopper.best_row is not None:
            networks, best_row = self._best, stopper.best_row
            epoch = int(best_row["epoch"])
        own = {
            name: tensor[row].to("cpu", copy=True).contiguous() for name, tensor in networks.items()
        }
        averages = {
            label: strip_prefix(label, own) for label in self._step.averages.labels(row, epoch)
        }
        weights = {name: own[name] for name in self._stack.state_dict()}
        examples = None
        if self._configs[member].training.test_examples:
            with self._step.precision():
                found = self._evaluator.test_examples(self._stack.alone(row, networks))
            examples = {name: tensor[0].cpu() for name, tensor in found.items()}
        return MemberEnd(
            member, status, self.epoch, step, weights, best_row, averages, examples, last
        )

    def _networks(self) -> dict[str, Tensor]:
        """The stack's tensors, (K, ...), by name, and its averages' by `<label>/<name>`."""
        return self._stack.state_dict() | self._step.averages.state_dict()

    def _remove(self, members: Sequence[int]) -> None:
        """Shrink the stack by members that have ended; the last members stay."""
        rows = [row for row, member in enumerate(self._members) if member not in members]
        if rows and len(rows) < len(self._members):
            self._shrink_to(rows)

    def _shrink_to(self, rows: Sequence[int]) -> None:
        index = torch.tensor(list(rows), device=self._device)
        self._members = [self._members[row] for row in rows]
        self._best = {name: tensor[index] for name, tensor in self._best.items()}
        self._stack.shrink_to(rows)
        self._train_mask.shrink_to(index)
        self._step.shrink_to(rows, [self._configs[member] for member in self._members])
        self._step.compiles = self._step.compiles and self._compiling_pays()

    def state_dict(self) -> tuple[dict[str, Tensor], EngineState]:
        """All that is needed to continue: tensors (copies on the CPU), and plain data."""
        tensors = {
            name: tensor.to("cpu", copy=True).contiguous()
            for name, tensor in self._tensors().items()
        }
        return tensors, EngineState(
            step=self.step,
            members=self._members,
            ended=sorted(self._ended),
            pending=self._pending,
            stopped=self._stopped,
            not_finite=self._not_finite(tensors),
            early_stopping={str(member): each.state for member, each in self._stoppers.items()},
            compiled=self._step.compiles,
        )

    def _tensors(self) -> dict[str, Tensor]:
        return {
            **with_prefix("stack", self._stack.state_dict()),
            **with_prefix("best", self._best),
            **self._step.state_dict(),
            **self._step.survival.state_dict(),
        }

    def _not_finite(self, tensors: Mapping[str, Tensor]) -> list[int]:
        """The members, by row, with a NaN or an infinity in what training computes."""
        finite = [
            finite_rows(tensor)
            for name, tensor in tensors.items()
            if tensor.is_floating_point() and not name.startswith("schedule/")  # NaN: nothing yet
        ]
        return list(compress(self._members, (~torch.stack(finite).all(0)).tolist()))

    def load_state_dict(self, tensors: Mapping[str, Tensor], state: EngineState) -> None:
        """Continue from the state of an engine with the same configs and dataset.

        Raises CorruptInputError, with the place in the state, for what no such engine has.
        """
        with naming("engine."):
            self._check(state)
        if state.step:
            self._step.open_streams()
        if len(state.members) < len(self._members):
            self._shrink_to([self._members.index(member) for member in state.members])
        self.step = state.step
        # Not what would pay now, as compiled steps round differently.
        self._step.compiles = state.compiled
        self._ended, self._stopped = set(state.ended), list(state.stopped)
        self._pending = list(state.pending)
        for member, saved in state.early_stopping.items():
            with naming(f"engine.early_stopping.{member}."):
                self._stoppers[int(member)].restore(saved)
        if any(each.best_row is not None for each in self._stoppers.values()):
            self._best = {name: torch.empty_like(t) for name, t in self._networks().items()}
        with naming("tensor "):
            self._load_tensors(tensors)
        if self._not_finite(tensors) != state.not_finite:
            raise CorruptInputError("engine.not_finite: not the members with NaN or infinity")

    def _check(self, state: EngineState) -> None:
        """Raise CorruptInputError for plain data that contradict the configs or each other."""
        here, ended = set(state.members), set(state.ended)
        everyone = set(range(len(self._configs)))
        ending = [each.member for each in state.pending]
        stopping = {each.member for each in state.pending if each.status == "stopped"}
        evaluated = state.step == self.last_evaluation(state.step) > 0
        possible = {
            "step": state.step <= self.total_steps,
            "members": state.members == [m for m in self._members if m in here] != [],
            "ended": state.ended == sorted(ended) and ended | here == everyone,
            "pending": all(self._can_end(each, state.step) for each in state.pending)
            and here - ended >= set(ending)
            and len(set(ending)) == len(ending)
            and (evaluated or not ending),
            "stopped": stopping <= set(state.stopped) <= here & (ended | stopping)
            and self._stoppers.keys() >= set(state.stopped)
            and len(set(state.stopped)) == len(state.stopped)
            and (evaluated or not state.stopped),
            "early_stopping": state.early_stopping.keys() == set(map(str, self._stoppers)),
            "compiled": not state.compiled or self._compile != "never",
        }
        for key, fits in possible.items():
            if not fits:
                raise CorruptInputError(f"{key}: impossible after {state.step:,} steps of this run")

    def _can_end(self, ending: Ending, step: int) -> bool:
        if ending.status == "stopped":
            return ending.step == step and ending.member in self._stoppers
        return ending.status == "diverged" and 0 < ending.step <= step

    def _load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        check_names(self._tensors(), tensors)
        moved = {name: tensor.to(self._device) for name, tensor in tensors.items()}
        own = self._step.survival.state_dict()
        check_tensors(own, {name: moved[name] for name in own})
        for name, tensor in own.items():
            tensor.copy_(moved[name])
        evaluated = self.last_evaluation(self.step)
        self._check_finite_steps(evaluated)
        with part("stack", moved) as own:
            for name, counted in self._stack.buffers.items():  # in one step, which drew the noise
                if name.endswith(BATCHES) and not torch.equal(own[name], counted * self.step):
                    raise CorruptInputError(f"{name}: not the batches of {self.step:,} steps")
            self._stack.load_state_dict(own)
        with part("best", moved) as own:
            check_tensors(self._best, own)
            self._best = own
        self._step.load_state_dict(tensors, self.step, evaluated)

    def _check_finite_steps(self, evaluated: int) -> None:
        """evaluated: the step of the last evaluation, which took out all that had diverged."""
        pending = {each.member: each for each in self._pending}
        survival = self._step.survival
        for member, finite in zip(self._members, survival.finite_steps.tolist(), strict=True):
            least = 0 if member in self._ended or member in pending else evaluated
            ending = pending.get(member)
            ends = ending is None or ending.step in (self.step, finite + 1)
            if not least <= finite <= self.step or not ends:
                raise CorruptInputError(f"finite_steps: impossible after {self.step:,} steps")
        if not torch.equal(survival.alive, survival.finite_steps == self.step):
            raise CorruptInputError("alive: contradicts finite_steps")

    def last_evaluation(self, step: int) -> int:
        """The step of the last evaluation of `training.evaluate_every` by then; 0: none."""
        period = self._evaluate_every * self._step.per_epoch
        return step // period * period

    def evaluated(self, member: int) -> list[tuple[int, int]]:
        """Epoch and step of each evaluation by which a member that has not ended was measured."""
        last = self.last_evaluation(self.step) // self._step.per_epoch
        if any(each.member == member and each.status == "diverged" for each in self._pending):
            last -= 1
        epochs = range(self._evaluate_every, last + 1, self._evaluate_every)
        return [(epoch, epoch * self._step.per_epoch) for epoch in epochs]

    def counted(self) -> list[tuple[int, int]]:
        """Epoch and step of the histograms of each member that has not ended, but for its end."""
        per_epoch = self._step.per_epoch
        if not self._histograms_every or self.step == 0:
            return []
        epochs = range(0, self.step // per_epoch + 1, self._histograms_every)
        return [(epoch, epoch * per_epoch) for epoch in epochs]

    def check_evaluations(self, rows: Mapping[int, Sequence[Row]]) -> None:
        """Compare what was remembered of the evaluations with the evaluations themselves.

        rows: of each member that has not ended. Raises CorruptInputError, with the place in the
        state, where they lead to something else.
        """
        for member, evaluations in rows.items():
            if member in self._stoppers:
                stopper = EarlyStopper(self._stoppers[member].section)
                for row in evaluations:
                    stopper.improved(row)
                if stopper != self._stoppers[member]:
                    raise CorruptInputError(
                        f"engine.early_stopping.{member}: not what the evaluations lead to"
                    )
        with naming("tensor schedule/"):
            self._step.schedule.check([rows.get(member) for member in self._members])


def _initial_modules(configs: Sequence[Config], dataset: Dataset) -> list[nn.Module]:
    """Each member's initial network; members with equal model and seed share one module."""
    built: dict[tuple[str, int], nn.Module] = {}

    def module_of(config: Config) -> nn.Module:
        key = (config.model.model_dump_json(), config.seed)
        if key not in built:
            seed = derive(config.seed, "init")
            built[key] = build_network(config, dataset, seed)
        return built[key]

    return [module_of(config) for config in configs]
