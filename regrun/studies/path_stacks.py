"""How the stacks of a path are trained until every member stands still, and kept meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import FiniteFloat, ValidationError
from torch import Tensor

from regrun.config.schema import Config
from regrun.errors import ConfigError, CorruptInputError
from regrun.execution.interrupt import Interrupt
from regrun.execution.observer import Observer
from regrun.execution.origin import (
    CHECKPOINT_FORMAT,
    Origin,
    check_checkpoint,
    check_format,
)
from regrun.results import first_problem
from regrun.stack.state import check_tensors, naming
from regrun.store.atomic import make_directory
from regrun.store.checkpoint import Checkpoint, CheckpointStore
from regrun.store.place import Place
from regrun.studies.path_newton import Newton
from regrun.training.engine import Engine
from regrun.training.events import Evaluation, Event, MemberEnd, MemberStatus, Row
from regrun.training.state import Count, EngineState, State, strip_prefix, with_prefix

CHECK_EVERY = 20
"""Steps between looks at the members."""

HELD_OUT = "held_out/loss"
"""The measurement on the examples that a member is not fitted to; members fitted to all lack it."""

TOLERANCE = 1e-11
"""Relative change between two looks that counts as none."""

WATCHED = ("objective", "weights/l1", "weights/l2")
"""What has to stand still. The norms move with the weights, the objective with their square."""

TOO_LARGE = "a loss overflows: the numbers are too large; scale them"

SHARES = 8
"""Looks over which the exact solutions are spread, so that there is progress between them."""

LEAVING = 8
"""Settled members leave when they are one in so many: shrinking the stack costs a few steps."""

Solution = tuple[MemberEnd, Row]
"""How a member ended, and its last measurements."""


class Stopped(Exception):  # noqa: N818 - control flow
    """A signal asked to stop; all is saved."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.signal_number = signal_number


@dataclass
class Progress:
    """What a stack has come to: the last rows, and the ends of those that stand still."""

    rows: dict[int, Row] = field(default_factory=dict)
    ends: dict[int, MemberEnd] = field(default_factory=dict)

    def advance(self, engine: Engine, jumps: Jumps) -> Iterator[Event]:
        """Train to the end; between any two events the state can be saved."""
        if engine.step and engine.step % CHECK_EVERY == 0:
            jumps.follow(engine, self)  # of the look at which it was saved
        for event in engine.run():
            if isinstance(event, MemberEnd):
                self.ends[event.member] = event
            elif isinstance(event, Evaluation):
                still = [m for m, row in event.rows.items() if self._stands_still(m, row)]
                self.rows |= event.rows
                if len(still) * LEAVING >= len(engine.live):
                    self.ends |= {end.member: end for end in engine.prune(still)}
            yield event
            if isinstance(event, Evaluation):
                jumps.follow(engine, self)

    def weights_of(self, member: int, engine: Engine) -> Mapping[str, Tensor]:
        """The weights of a member that has ended or is live."""
        ended = self.ends.get(member)
        return engine.weights_of(member) if ended is None else ended.weights or {}

    def _stands_still(self, member: int, now: Row) -> bool:
        before = self.rows.get(member)
        return before is not None and all(
            abs(now[tag] - before[tag]) <= TOLERANCE * abs(now[tag]) for tag in WATCHED
        )

    def solutions(self) -> list[Solution]:
        """Those of all members, in their order. Raises ConfigError when one has none."""
        if any(end.status == "diverged" for end in self.ends.values()):
            raise ConfigError.at("dataset", TOO_LARGE)
        return [(self.ends[member], self.rows[member]) for member in sorted(self.ends)]

    def state(self) -> tuple[dict[str, Tensor], dict[str, Row], dict[str, SolvedMember]]:
        """What a checkpoint holds of it: weights of those that ended, rows, and ends."""
        weights = {
            f"{member}/{name}": tensor
            for member, end in self.ends.items()
            for name, tensor in (end.weights or {}).items()
        }
        ends = {
            str(member): SolvedMember(status=end.status, epoch=end.epoch, step=end.step)
            for member, end in self.ends.items()
        }
        return weights, {str(member): row for member, row in self.rows.items()}, ends

    def restore(self, weights: Mapping[str, Tensor], state: PathStackState) -> None:
        """Go on from what `state` gave."""
        self.rows = {int(member): row for member, row in state.rows.items()}
        self.ends = {
            int(member): MemberEnd(
                int(member), end.status, end.epoch, end.step, strip_prefix(member, weights) or None
            )
            for member, end in state.ends.items()
        }


class Jumps:
    """Moves the members of a stack to the exact solutions, a share of them after each look.

    FISTA goes on from there and has to stand still, so that it judges them.

    Args:
        newton: Solves single models.
        members: The part and the strength of each member, in the order of the path.
        step: Called after each solution; raises Stopped to stop.
    """

    def __init__(
        self,
        newton: Newton,
        members: Sequence[tuple[int, float]],
        step: Callable[[], None] = lambda: None,
    ) -> None:
        self._newton, self._members, self._step = newton, members, step
        self._size = -(-len(members) // SHARES)
        self.solved: set[int] = set()
        """The members that were moved."""

    def follow(self, engine: Engine, progress: Progress) -> None:
        """Move the members whose turn it is at this step; all of them or, when stopped, none.

        Each starts from the solution before it, of the next larger strength.
        """
        first = (engine.step // CHECK_EVERY - 1) * self._size
        if first >= len(self._members):
            return
        live, found = set(engine.live), dict[int, Mapping[str, Tensor]]()
        for member in range(first, min(first + self._size, len(self._members))):
            if member not in live:
                continue
            part, strength = self._members[member]
            start = member
            if member and self._members[member - 1][0] == part:
                start -= 1
            begin = found.get(start) or progress.weights_of(start, engine)
            solution = self._newton.solve(part, strength, begin)
            if solution is not None:
                found[member] = solution
                self.solved.add(member)
            self._step()
        for member, weights in found.items():
            engine.move(member, weights)


class SolvedMember(State):
    """How a member ended."""

    status: MemberStatus
    epoch: Count
    step: Count


class PathStackState(State):
    """All that a checkpoint of a path's stack holds besides its tensors.

    rows: by member, its last measurements. ends: by member.
    """

    format: int
    origin: Origin
    engine: EngineState
    rows: dict[str, dict[str, FiniteFloat | int]]
    ends: dict[str, SolvedMember]

    def check(self, engine: Engine, weights: Mapping[str, Tensor], members: int) -> None:
        """Raise CorruptInputError for what no stack of a path has. engine: a fresh one."""
        everyone = {str(member) for member in range(members)}
        ended = {str(member) for member in self.engine.ended}
        shown = everyone if self.engine.step >= CHECK_EVERY else set()
        measured = [
            {tag for tag in row if not tag.startswith("held_out/")} for row in self.rows.values()
        ]
        possible = {
            "rows": self.rows.keys() == shown
            and all(tags == measured[0] and tags > {*WATCHED} for tags in measured),
            "ends": self.ends.keys() == ended <= shown
            and all(end.status in ("pruned", "completed") for end in self.ends.values()),
        }
        for key, fits in possible.items():
            if not fits:
                raise CorruptInputError(f"{key}: not those of such a stack")
        one = {
            name: each[0] for name, each in strip_prefix("stack", engine.state_dict()[0]).items()
        }
        with naming("tensor solved/"):
            check_tensors(
                {f"{member}/{name}": each for member in ended for name, each in one.items()},
                weights,
            )


class StackSolver:
    """Solves the stacks of a path one after the other."""

    def solve(
        self,
        number: int,
        engine: Engine,
        configs: Sequence[Config],
        newton: Newton,
        members: Sequence[tuple[int, float]],
    ) -> list[Solution]:
        """Train until every member stands still.

        members: the part and the strength of each.
        """
        progress = Progress()
        for _ in progress.advance(engine, Jumps(newton, members)):
            pass
        return progress.solutions()


class StoredStackSolver(StackSolver):
    """Keeps checkpoints of each stack, goes on from them, and reports what is solved.

    Args:
        folder: Has a folder for each stack.
        data: The fingerprint of the examples.
        members: Of all stacks.
        observer: Is notified.
        interrupt: Asks to stop.
    """

    def __init__(
        self, folder: Place, data: str, members: int, observer: Observer, interrupt: Interrupt
    ) -> None:
        self._folder, self._data, self._members = folder, data, members
        self._observer, self._interrupt = observer, interrupt
        self._solved = 0

    def solve(
        self,
        number: int,
        engine: Engine,
        configs: Sequence[Config],
        newton: Newton,
        members: Sequence[tuple[int, float]],
    ) -> list[Solution]:
        """The same; raises Stopped when a signal came."""
        make_directory(self._folder)
        store, progress = CheckpointStore(self._folder / str(number)), Progress()
        checkpoint = store.load()
        if checkpoint is not None:
            with naming(f"{checkpoint.file}: damaged: "):
                self._restore(checkpoint, engine, configs, progress)
        interval, saved_at = configs[0].training.checkpoint_every, time.monotonic()
        saved = checkpoint is not None

        def step() -> None:
            known = len(jumps.solved.union(progress.ends))
            self._observer.on_progress(self._solved + known, self._members)
            if self._interrupt.signal_number is not None:
                raise Stopped(self._interrupt.signal_number)

        jumps = Jumps(newton, members, step)
        try:
            for event in progress.advance(engine, jumps):
                saved = False
                # An interval of 0 means evaluations, not steps.
                due = time.monotonic() - saved_at >= interval
                if due and (interval or isinstance(event, Evaluation)):
                    self._save(store, engine, configs, progress)
                    saved, saved_at = True, time.monotonic()
                step()
        except Stopped:
            if not saved:
                self._save(store, engine, configs, progress)
            raise
        if not saved:
            self._save(store, engine, configs, progress)
        self._solved += len(configs)
        return progress.solutions()

    def _save(
        self,
        store: CheckpointStore,
        engine: Engine,
        configs: Sequence[Config],
        progress: Progress,
    ) -> None:
        tensors, numbers = engine.state_dict()
        solved, rows, ends = progress.state()
        state = PathStackState(
            format=CHECKPOINT_FORMAT,
            origin=Origin.of(configs, self._data, engine.epochs_begun),
            engine=numbers,
            rows=rows,
            ends=ends,
        )
        store.save(
            {**with_prefix("engine", tensors), **with_prefix("solved", solved)}, state.model_dump()
        )

    def _restore(
        self,
        checkpoint: Checkpoint,
        engine: Engine,
        configs: Sequence[Config],
        progress: Progress,
    ) -> None:
        for warning in checkpoint.warnings:
            self._observer.on_message(warning)
        check_format(checkpoint)
        try:
            state = PathStackState.model_validate(checkpoint.state)
        except ValidationError as error:
            raise CorruptInputError(first_problem(error)) from error
        check_checkpoint(state.origin, configs, self._data)
        solved = strip_prefix("solved", checkpoint.tensors)
        state.check(engine, solved, len(configs))
        engine.load_state_dict(strip_prefix("engine", checkpoint.tensors), state.engine)
        progress.restore(solved, state)
