"""The epochs: K members trained as one stack. A run is a stack of one.

The engine knows no files and no terminal. `run` yields events; between any two of them its state
can be taken, given to a new engine, and the two go on alike to the last bit.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import compress
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from regrun.config.schema import Config
from regrun.data.dataset import Dataset
from regrun.nn.build import build_model
from regrun.nn.layer_table import layer_table, widest
from regrun.nn.roles import Role
from regrun.seeding import derive
from regrun.stack import Stack
from regrun.training.averaging import EMA, SWA
from regrun.training.curvature import with_learning_rates
from regrun.training.early_stopping import Patience
from regrun.training.events import Evaluation, Event, MemberEnd, Row, Status, Table, Tick
from regrun.training.examples import Examples, check_examples
from regrun.training.measure import Measure
from regrun.training.state import below, prefixed
from regrun.training.step import DTYPES, Step

_Extras = tuple[tuple[str, ...], tuple[str, ...], bool]
"""What one member is measured by and another may not be: labels of averages, of penalties, and
whether it holds examples out."""


class Engine:
    """Trains the configs' members on one dataset.

    configs: agree in everything that shapes tensors or control flow (see `PerMember`). dataset: on
    `device`, in the dtype of the configs' precision. Members are known by their index in configs.
    kept: (members, N) bool, the training examples that each trains on, the others being measured as
    `held_out`; for full batches, and where no example feels another.

    Raises ConfigError when model, loss or selectors do not fit the dataset.
    """

    def __init__(
        self,
        configs: Sequence[Config],
        dataset: Dataset,
        device: torch.device,
        kept: Tensor | None = None,
    ) -> None:
        configs = with_learning_rates(configs, dataset, kept)
        self._configs, self._device = tuple(configs), device
        first = configs[0]
        self._evaluate_every = first.training.evaluate_every
        self._epochs = first.training.epochs

        # Members with the same seed stand together, so that the feed can gather once for them.
        self._members = sorted(range(len(configs)), key=lambda member: configs[member].seed)
        rows = [configs[member] for member in self._members]
        modules = _modules(rows, dataset)
        self._stack = Stack(modules, device, DTYPES[first.training.precision])
        if kept is not None:
            check_examples(kept, configs, len(dataset.train), mixing=bool(self._stack.momenta))
            kept = kept[self._members].to(device)
        self._examples = Examples(kept)
        self._step = Step(rows, self._stack, dataset, self._examples, device)
        width = widest(layer_table(modules[0], dataset.input_shape), dataset.input_shape)
        self._measure = Measure(
            dataset,
            first.training,
            first.dataset.seed,
            self._step.per_example,
            width,
            self._examples,
        )

        self.step = 0
        self.total_steps = self._epochs * self._step.per_epoch
        self._patience = {
            member: Patience(config.training.early_stopping)
            for member, config in enumerate(configs)
            if config.training.early_stopping is not None
        }
        self._best: dict[str, Tensor] = {}
        self._ended: set[int] = set()
        self._due: list[tuple[int, Status, int]] = []
        """(member, how, step): ends that the last evaluation found and that are yet to be told."""
        self._leaving: list[int] = []
        self._alive = torch.ones(len(rows), dtype=torch.bool, device=device)
        self._lasted = torch.zeros(len(rows), dtype=torch.int64, device=device)

    @property
    def roles(self) -> dict[str, Role]:
        """Parameter name → role."""
        return self._stack.roles

    @property
    def live(self) -> list[int]:
        """Members still training, in row order."""
        over = self._ended.union(member for member, _, _ in self._due)
        return [member for member in self._members if member not in over]

    @property
    def epoch(self) -> int:
        """Epochs completed."""
        return self.step // self._step.per_epoch

    def run(self) -> Iterator[Event]:
        """Train to the end, from wherever the engine stands."""
        per_epoch = self._step.per_epoch
        yield from self._settle()
        while self.live and self.step < self.total_steps:
            self._take_step()
            epoch, within = divmod(self.step, per_epoch)
            if within == 0 and (epoch % self._evaluate_every == 0 or epoch == self._epochs):
                yield self._evaluate(epoch)
                yield from self._settle()
            else:
                yield Tick(self.step)
        for member in self.live:
            yield self._end(member, "completed", self.step)

    def prune(self, members: Sequence[int]) -> list[MemberEnd]:
        """End these members now; the stack shrinks. Some may just have ended anyway."""
        pruned = [member for member in members if member in self.live]
        ends = [self._end(member, "pruned", self.step) for member in pruned]
        self._leave(pruned)
        return ends

    def _take_step(self) -> None:
        losses = self._step(self.step)
        # No neighbour feels a member's NaN, so a diverged one may stay; this counts its good steps.
        self._alive &= torch.isfinite(losses)
        self._lasted += self._alive
        self.step += 1

    def _evaluate(self, epoch: int) -> Evaluation:
        with self._step.precision():
            measured = self._measure(self._stack, self._step.penalties)
            measured |= self._measure_averages(epoch)
        measured["lr"] = self._step.current_lr(self.step - 1)
        values = torch.stack([value.double() for value in measured.values()], 1).cpu().numpy()
        column = {tag: number for number, tag in enumerate(measured)}
        lasted = self._lasted.cpu().numpy()
        tables: list[Table] = []
        for extras, rows in self._measured_alike(epoch).items():
            tags = tuple(tag for tag in measured if _is_of(tag, *extras))
            own = values[np.ix_(rows, [column[tag] for tag in tags])]
            sound = (lasted[rows] == self.step) & np.isfinite(own).all(1)
            members = tuple(self._members[row] for row in compress(rows, sound))
            tables.append(Table(members, tags, own[sound]))
            for row in compress(rows, ~sound):
                step = min(int(lasted[row]) + 1, self.step)
                self._due.append((self._members[row], "diverged", step))
        evaluation = Evaluation(epoch, self.step, tuple(tables))
        if self._patience:
            self._leaving = self._watch(evaluation.rows)
            self._due += [(member, "stopped", self.step) for member in self._leaving]
        return evaluation

    def _measured_alike(self, epoch: int) -> dict[_Extras, list[int]]:
        """Rows of the members that go on, by what they are measured by."""
        alike: dict[_Extras, list[int]] = defaultdict(list)
        for row, member in enumerate(self._members):
            if member not in self._ended:
                labels = tuple(self._step.averages.labels(row, epoch))
                penalties = self._step.penalties.labels[row]
                alike[labels, penalties, self._examples.holds_out(row)].append(row)
        return alike

    def _measure_averages(self, epoch: int) -> dict[str, Tensor]:
        """`ema/test/loss` and the like → (K,), of every average that some member has."""
        averages, measured = self._step.averages, dict[str, Tensor]()
        rows = range(len(self._members))
        for label in sorted({label for row in rows for label in averages.labels(row, epoch)}):
            with averages.standing_in(label, self._stack):
                self._step.refresh_statistics()
                losses = self._measure.losses(self._stack)
            measured |= {f"{label}/{tag}": value for tag, value in losses.items()}
        return measured

    def _settle(self) -> Iterator[MemberEnd]:
        """Tell the ends that the last evaluation found; those that stopped leave the stack."""
        while self._due:
            yield self._end(*self._due.pop(0))
        self._leave(self._leaving)
        self._leaving = []

    def _watch(self, rows: Mapping[int, Row]) -> list[int]:
        """Update patience and the best weights; the members to stop."""
        improved = [
            member
            for member, row in rows.items()
            if member in self._patience and self._patience[member].improved(row)
        ]
        if improved and not self._best:
            self._best = {name: tensor.clone() for name, tensor in self._networks().items()}
        if improved:
            index = torch.tensor([self._members.index(m) for m in improved], device=self._device)
            for name, tensor in self._networks().items():
                self._best[name][index] = tensor[index]
        return [m for m in rows if m in self._patience and self._patience[m].exhausted]

    def _end(self, member: int, status: Status, step: int) -> MemberEnd:
        self._ended.add(member)
        if status == "diverged":
            return MemberEnd(member, status, self.epoch, step, None)
        row = self._members.index(member)
        patience = self._patience.get(member)
        if patience is not None and patience.section.restore_best and patience.best is not None:
            networks, best_row = self._best, patience.best_row
        else:
            networks, best_row = self._networks(), None
        mine = {
            name: tensor[row].to("cpu", copy=True).contiguous() for name, tensor in networks.items()
        }
        labels = self._step.averages.labels(row, int(best_row["epoch"]) if best_row else self.epoch)
        averages = {label: below(label, mine) for label in labels}
        weights = {name: mine[name] for name in self._stack.state_dict()}
        return MemberEnd(member, status, self.epoch, step, weights, best_row, averages)

    def _networks(self) -> dict[str, Tensor]:
        """The stack's tensors, (K, ...), by name, and its averages' by `<label>/<name>`."""
        return self._stack.state_dict() | self._step.averages.state_dict()

    def _leave(self, members: Sequence[int]) -> None:
        """Shrink the stack by members that have ended."""
        rows = [row for row, member in enumerate(self._members) if member not in members]
        if len(rows) == len(self._members) or not rows:
            return
        self._keep(rows)

    def _keep(self, rows: Sequence[int]) -> None:
        index = torch.tensor(list(rows), device=self._device)
        self._members = [self._members[row] for row in rows]
        self._alive, self._lasted = self._alive[index], self._lasted[index]
        self._best = {name: tensor[index] for name, tensor in self._best.items()}
        self._stack.keep(rows)
        self._examples.keep(index)
        self._step.keep(rows, [self._configs[member] for member in self._members])

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """All that is needed to go on: tensors (on the CPU), and numbers for JSON."""
        tensors = {
            **prefixed("stack", self._stack.state_dict()),
            **prefixed("best", self._best),
            **self._step.state_dict(),
            "alive": self._alive,
            "lasted": self._lasted,
        }
        numbers = {
            "step": self.step,
            "members": self._members,
            "ended": sorted(self._ended),
            "due": list(self._due),
            "leaving": list(self._leaving),
            "patience": {str(member): p.state() for member, p in self._patience.items()},
        }
        return {name: t.to("cpu", copy=True).contiguous() for name, t in tensors.items()}, numbers

    def load_state(self, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> None:
        """Go on from a state of an engine with the same configs and dataset."""
        rows = [self._members.index(member) for member in numbers["members"]]
        if len(rows) < len(self._members):
            self._keep(rows)
        moved = {name: tensor.to(self._device) for name, tensor in tensors.items()}
        self._stack.load_state_dict(below("stack", moved))
        self._step.load_state_dict(tensors)
        self._best = below("best", moved)
        self._alive, self._lasted = moved["alive"], moved["lasted"]
        self.step = numbers["step"]
        self._ended = set(numbers["ended"])
        self._due = [(member, status, step) for member, status, step in numbers["due"]]
        self._leaving = list(numbers["leaving"])
        for member, state in numbers["patience"].items():
            section = self._patience[int(member)].section
            self._patience[int(member)] = Patience(section, **state)


def _is_of(tag: str, averages: Sequence[str], penalties: Sequence[str], holds_out: bool) -> bool:
    """Whether a tag is measured of a member with these averages and penalties."""
    kind, _, label = tag.partition("/")
    if kind == "penalty":
        return label in penalties
    if kind in (EMA, SWA) and kind not in averages:
        return False
    return holds_out or "held_out/" not in tag


def _modules(configs: Sequence[Config], dataset: Dataset) -> list[nn.Module]:
    """Each member's network as it starts; one module for members that start alike."""
    built: dict[tuple[str, int], nn.Module] = {}

    def module_of(config: Config) -> nn.Module:
        key = (config.model.model_dump_json(), config.seed)
        if key not in built:
            seed = derive(config.seed, "init")
            built[key] = build_model(config.model, dataset.input_shape, dataset.num_outputs, seed)
        return built[key]

    return [module_of(config) for config in configs]
