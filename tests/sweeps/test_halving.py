"""Stacks that do not fit into memory are halved, and every run ends once, with the same result."""

from __future__ import annotations

import gc
import json
import sys
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import regrun
from regrun.config.load import config_from_mapping
from regrun.data.dataset import Dataset
from regrun.errors import PluginError
from regrun.execution.observer import Observer, Start
from regrun.execution.prepare import prepare
from regrun.execution.stack_run import StackRun
from regrun.results import SweepSummary
from regrun.stack import Stack
from regrun.store.sweep_dir import PlannedRun, Round, SweepDir
from regrun.stored import Sweep
from regrun.sweeps import planned_stack
from regrun.sweeps.planning import halved
from regrun.sweeps.run import Options, run_sweep
from regrun.training import compiled
from regrun.training.engine import Engine
from regrun.training.evaluation import Evaluator
from regrun.training.events import Event
from regrun.training.step import Step
from tests.support.program import Program, run_python
from tests.support.sweeps import LINEAR, stacks, summary_of, with_keys

CONFIG = with_keys(
    LINEAR,
    training={"epochs": 3, "precision": "float64", "checkpoint_every": 0},
    sweep={"grid": {"optimizer.weight_decay": [0, 1, 2]}, "seeds": 2, "vary": ["seed"]},
)
"""Six runs, which are one stack where they fit."""


class Recorder(Observer):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.starts: list[tuple[int, int, bool]] = []
        """Members, stacks, and whether they had begun before."""

    def on_message(self, text: str) -> None:
        self.messages.append(text)

    def on_start(self, start: Start) -> None:
        self.starts.append((start.members, start.stacks, start.again))


def run_short(*, most: int, at: int, monkeypatch: Any) -> None:
    """Let stacks of more than so many members run out of memory at their event number `at`."""
    run = Engine.run

    def running(engine: Engine) -> Iterator[Event]:
        for number, event in enumerate(run(engine)):
            if number == at and len(engine._configs) > most:
                raise torch.OutOfMemoryError(
                    "CUDA out of memory. Tried to allocate 1.00 GiB. GPU 0 has a total capacity of "
                    "79.10 GiB of which 12.00 MiB is free."
                )
            yield event

    monkeypatch.setattr(Engine, "run", running)


def recorded(runs_dir: Path) -> tuple[Recorder, SweepSummary]:
    """Sweep in this process, and keep what is said."""
    recorder = Recorder()
    options = Options("cpu", workers=0)
    loaded = config_from_mapping(CONFIG)
    return recorder, run_sweep(loaded, runs_dir=runs_dir, options=options, observer=recorder)


@pytest.mark.parametrize("at", [0, 1, 5], ids=["first step", "later", "after a checkpoint"])
@pytest.mark.parametrize(("most", "sizes"), [(4, [4, 2]), (2, [2, 2, 2]), (1, [1] * 6)])
def test_a_stack_is_halved_until_it_fits(
    most: int, sizes: list[int], at: int, sweep: Any, monkeypatch: Any
) -> None:
    whole = sweep(CONFIG)
    run_short(most=most, at=at, monkeypatch=monkeypatch)
    found = sweep(CONFIG)
    assert sorted(map(len, stacks(found.directory)), reverse=True) == sizes
    assert found.summary.completed == 6
    assert sorted(name for stack in stacks(found.directory) for name in stack) == sorted(
        name for stack in stacks(whole.directory) for name in stack
    )
    for mine, other in zip(found.summary.cells, whole.summary.cells, strict=True):
        assert mine.params == other.params
        for name, interval in other.metrics.items():
            assert mine.metrics[name].values == pytest.approx(interval.values, rel=1e-9)


def test_it_is_said_and_the_replicates_of_a_cell_stay_together(
    tmp_path: Path, monkeypatch: Any
) -> None:
    run_short(most=4, at=0, monkeypatch=monkeypatch)
    recorder, summary = recorded(tmp_path)
    assert recorder.messages == [
        "6 run(s) need more memory than there is; they go on in 2 stack(s)"
    ]
    assert recorder.starts == [(6, 1, False), (6, 2, True)]
    cells = [{name[:4] for name in stack} for stack in stacks(Path(summary.sweep_dir))]
    assert cells == [{"0000", "0001"}, {"0002"}]


def test_a_single_run_that_does_not_fit_fails_with_what_to_make_smaller(
    sweep: Any, monkeypatch: Any
) -> None:
    run_short(most=0, at=0, monkeypatch=monkeypatch)
    found = sweep(CONFIG)
    assert (found.summary.completed, found.summary.failed) == (0, 6)
    for run in found.directory.glob("*-seed=*"):
        assert summary_of(run)["error"].startswith(
            "OutOfMemoryError: out of memory: 1.00 GiB were asked for at once; "
            "the GPU has 12.00 MiB free; use a smaller model, a smaller training.batch_size, "
            "training.precision: float32 or fewer --workers"
        )


def refused() -> torch.OutOfMemoryError:
    return torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB.")


def raising_above(most: int, method: Any, members: Callable[[Any], int]) -> Any:
    """The method, which runs out of memory after its work for more than so many members."""

    def call(*arguments: Any, **options: Any) -> Any:
        result = method(*arguments, **options)
        if members(arguments) > most:
            raise refused()
        return result

    return call


def weights(tensors: Mapping[str, Tensor]) -> list[int]:
    """How many members those of the tensors have that are weights."""
    return [len(each) for each in tensors.values() if each.shape[1:] == (1, 6)]


PLACES: dict[str, tuple[Any, str, Callable[[Any], int]]] = {
    "building": (Stack, "__init__", lambda given: len(given[1])),
    "a step": (Step, "_gradients", lambda given: given[0]._stack.size),
    "a later step": (
        Step, "__call__", lambda given: given[0]._stack.size * (given[1] == 4)
    ),
    "an evaluation": (Evaluator, "losses", lambda given: given[1].size),
    "the test examples": (Engine, "_end", lambda given: len(given[0]._configs)),
    "a checkpoint": (StackRun, "save", lambda given: len(given[0]._members)),
    "compiling": (compiled, "lifted", lambda given: max(weights(given[1]))),
}  # fmt: skip
"""Where memory may be short: what has the method, and how many members the call is for."""


def interpreted(graph: Any, _: Any) -> Any:
    """Stands for a compiled graph, without a compiler."""
    return torch.no_grad()(lambda given: (graph(*given),))


@pytest.mark.parametrize("place", PLACES)
def test_wherever_memory_is_short_the_stack_is_halved(
    place: str, sweep: Any, monkeypatch: Any
) -> None:
    training = {"compile": "always" if place == "compiling" else "never", "test_examples": True}
    config = with_keys(CONFIG, training=training)
    owner, name, members = PLACES[place]
    monkeypatch.setattr(owner, name, raising_above(2, getattr(owner, name), members))
    if place == "compiling":
        monkeypatch.setattr(compiled, "compiled", interpreted)
    found = sweep(config)
    assert sorted(map(len, stacks(found.directory))) == [2, 2, 2]
    assert (found.summary.completed, found.summary.failed) == (6, 0)


def test_the_last_run_of_a_stack_is_trained_alone_where_the_others_have_ended(
    sweep: Any, monkeypatch: Any
) -> None:
    def members(given: Any) -> int:
        engine = given[0]
        return len(engine._configs) if not engine.live else 0

    monkeypatch.setattr(Engine, "_end", raising_above(1, Engine._end, members))
    found = sweep(CONFIG)
    assert sorted(map(len, stacks(found.directory))) == [1, 5]
    assert (found.summary.completed, found.summary.failed) == (6, 0)


def test_examples_that_do_not_fit_are_asked_for_once(tmp_path: Path, monkeypatch: Any) -> None:
    asked: list[int] = []

    def short(*_: Any) -> None:
        asked.append(1)
        raise refused()

    monkeypatch.setattr(planned_stack, "prepare", once_planned(short))
    recorder, summary = recorded(tmp_path)
    assert (summary.completed, summary.failed, len(asked)) == (0, 6, 1)
    assert recorder.messages == [
        "6 run(s) failed: DataTooLargeError: the examples do not fit: out of memory: 1.00 GiB were "
        "asked for at once; the GPU has less; use fewer or smaller examples "
        "(dataset.num_train and dataset.num_test) or fewer --workers of a sweep"
    ]


def once_planned(short: Any) -> Any:
    """`prepare` for data that are short of memory as they are moved to their device."""

    def call(*arguments: Any, **options: Any) -> Any:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(Dataset, "to", short)
            return prepare(*arguments, **options)

    return call


@pytest.mark.parametrize("member", [0, 1, 2])
def test_of_runs_alone_each_that_needs_too_much_fails_and_the_others_go_on(
    member: int, sweep: Any, monkeypatch: Any
) -> None:
    decay = float(member)

    def members(given: Any) -> int:
        decays = [config.optimizer.weight_decay for config in given[0]._configs]
        return 2 if decay in decays else 0

    monkeypatch.setattr(Engine, "_take_step", raising_above(1, Engine._take_step, members))
    found = sweep(CONFIG)
    assert (found.summary.completed, found.summary.failed) == (4, 2)
    for run in found.directory.glob("*-seed=*"):
        assert (summary_of(run)["status"] == "failed") == run.name.startswith(f"000{member}-")


@pytest.mark.parametrize("error", [refused, partial(PluginError, "no luck"), None])
def test_nothing_of_a_stack_is_alive_when_the_next_one_begins(
    error: Callable[[], Exception] | None, sweep: Any, monkeypatch: Any
) -> None:
    """error: what ends the first one; None: it comes to its end, and the next one is large."""
    held: list[weakref.ref[Any]] = []
    alive: list[int] = []
    build, run = Stack.__init__, Engine.run

    def building(stack: Stack, *arguments: Any) -> None:
        alive.append(sum(each() is not None for each in held))
        build(stack, *arguments)
        held.append(weakref.ref(stack))
        held.extend(weakref.ref(each) for each in stack.parameters.values())

    def running(engine: Engine) -> Iterator[Event]:
        events = run(engine)
        yield next(events)
        if error is not None and len(engine._configs) > 1:
            raise error()
        yield from events

    monkeypatch.setattr(Stack, "__init__", building)
    monkeypatch.setattr(Engine, "run", running)
    if error is None:
        monkeypatch.setattr(planned_stack, "WORTH_COLLECTING", 1000)
    gc.disable()  # what it does by itself it may do later
    try:
        sweep(with_keys(CONFIG, sweep={"grid": {"training.batch_size": [5, 10]}, "seeds": 2}))
    finally:
        gc.enable()
    assert len(alive) >= 2
    assert alive[1] == 0


PENALTY = """
import torch
from typing import ClassVar, Literal
from regrun.plugins import WeightPenalty

class Greedy(WeightPenalty):
    "Takes more memory than there is for more than two members."
    type: Literal["greedy"]
    formula: ClassVar[str] = "λ Σ|w|"
    reference: ClassVar[str] = "nobody"

    def value(self, weight):
        if len(weight) > 2:
            {refused}
        return weight.abs().flatten(1).sum(1)
"""

REFUSED = {
    "a GPU": "raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 1.00 GiB.')",
    "a CPU": "torch.empty(10**15)",
    "Python": "bytearray(10**15)",
}


@pytest.mark.parametrize("who", REFUSED)
def test_a_plug_in_that_runs_out_of_memory_in_a_worker_process_has_its_stack_halved(
    who: str, tmp_path: Path, program: Program
) -> None:
    (tmp_path / "greedy.py").write_text(PENALTY.format(refused=REFUSED[who]))
    config = with_keys(
        CONFIG,
        penalty={"type": "greedy", "strength": 0.1},
        sweep={"grid": {"training.batch_size": [5, 10]}, "seeds": 5, "vary": ["seed"]},
    )
    (tmp_path / "c.yaml").write_text(json.dumps(config))
    words = ["sweep", tmp_path / "c.yaml", "--plugin", tmp_path / "greedy.py", "--json"]
    ended = program(*words, "--runs-dir", tmp_path / "runs", "--workers", 2, fresh=True)
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert found["completed"] == 10
    assert sorted(map(len, stacks(Path(found["sweep_dir"])))) == [1, 1, 2, 2, 2, 2]
    said = [line for line in ended.stderr.splitlines() if "more memory than there is" in line]
    assert len(said) == 2  # of both stacks, twice


def runs_of(cells: list[int]) -> list[PlannedRun]:
    return [PlannedRun(cell, {}, seed, f"{cell}-{seed}") for seed, cell in enumerate(cells)]


@given(st.lists(st.integers(0, 4), min_size=2, max_size=12), st.data())
def test_halves_have_each_run_once_and_about_the_same_size(cells: list[int], data: Any) -> None:
    runs = runs_of([*cells, 9])
    ended = data.draw(st.sets(st.sampled_from([run.directory for run in runs[:-1]])))
    if len(ended) > len(cells) - 2:
        ended = set()
    other = len(cells)
    planned = Round(runs, [list(range(len(cells))), [other]], ["a", "b"])
    found = halved(planned, 0, ended)
    assert sorted(i for stack in found.stacks for i in stack) == list(range(len(runs)))
    assert found.stacks[1] == [other]
    assert [found.data[at] for at in range(len(found.stacks)) if at != 1] == ["a"] * (
        len(found.stacks) - 1
    )
    parts = [stack for at, stack in enumerate(found.stacks) if at != 1]
    over = {index for index, run in enumerate(runs[:-1]) if run.directory in ended}
    assert not over or set(parts.pop(0)) == over
    first, second = parts
    shared = {runs[i].cell for i in first} & {runs[i].cell for i in second}
    if shared:
        assert {runs[i].cell for i in (*first, *second)} == shared  # one cell
        assert len(first) - len(second) in (0, 1)


@pytest.mark.parametrize("written", [True, False], ids=["after the plan", "before the plan"])
def test_after_a_kill_a_halved_stack_goes_on(
    *, written: bool, tmp_path: Path, monkeypatch: Any
) -> None:
    write = SweepDir.write_rounds
    calls = iter(range(10))

    def killed(files: SweepDir, rounds: Sequence[Round]) -> None:
        call = next(calls)
        if call == 0 or written:
            write(files, rounds)
        if call == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        run_short(most=4, at=3, monkeypatch=patched)
        patched.setattr(SweepDir, "write_rounds", killed)
        with pytest.raises(KeyboardInterrupt):
            run_sweep(
                config_from_mapping(CONFIG), runs_dir=tmp_path, options=Options("cpu", workers=0)
            )
    (directory,) = tmp_path.glob("*/*")
    found = regrun.resume(directory)
    assert isinstance(found, Sweep)
    assert found.summary.completed == 6
    assert sorted(map(len, stacks(directory))) == ([2, 4] if written else [6])


LIMITED = """
import json, resource, sys
import psutil, regrun

small, large = json.loads(sys.argv[2])
regrun.sweep(small, runs_dir=sys.argv[1], device="cpu")  # all libraries are loaded by now
limit = psutil.Process().memory_info().vms + int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
found = regrun.sweep(large, runs_dir=sys.argv[1], device="cpu", progress=True)
print(found.directory)
"""


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="no other system limits addresses")
def test_a_stack_that_really_does_not_fit_is_halved(tmp_path: Path) -> None:
    small = with_keys(
        CONFIG,
        training={"epochs": 1, "precision": "float32", "checkpoint_every": 60},
        optimizer={"name": "adam", "lr": 0.01},
        model={"name": "mlp", "hidden": [10]},
        sweep={"grid": {"optimizer.weight_decay": [0, 1]}, "seeds": 4, "stack_size": 8},
    )
    large = with_keys(small, model={"hidden": [1000, 1000]})
    least = 4 * 4 * 1_000_000  # the large matrix, its gradient and two moments
    room = 6 * least  # for fewer than all eight
    ended = run_python(LIMITED, tmp_path, json.dumps([small, large]), room)
    assert ended.returncode == 0, ended.stderr
    sweep = Path(ended.stdout.strip())
    assert "8 run(s) need more memory than there is; they go on in 2 stack(s)" in ended.stderr
    assert sorted(name for stack in stacks(sweep) for name in stack) == sorted(
        path.name for path in sweep.glob("000*")
    )
    assert {summary_of(path)["status"] for path in sweep.glob("000*")} == {"completed"}
    assert len(list(sweep.glob("000*"))) == 8


def test_the_stacks_of_an_ablation_are_halved_as_well(tmp_path: Path, monkeypatch: Any) -> None:
    short = raising_above(2, Engine._take_step, lambda given: len(given[0]._configs))
    monkeypatch.setattr(Engine, "_take_step", short)
    config = with_keys(CONFIG, optimizer={"weight_decay": 0.1}, sweep=None)
    regrun.ablate(config, seeds=4, runs_dir=tmp_path, device="cpu")
    (sweep,) = {path.parent for path in tmp_path.glob("**/sweep.yaml")}
    assert max(map(len, stacks(sweep))) == 2
    runs = [name for stack in stacks(sweep) for name in stack]
    assert {summary_of(sweep / name)["status"] for name in runs} == {"completed"}
