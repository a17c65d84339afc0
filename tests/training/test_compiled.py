"""Compiled steps compute what steps do that are taken as they are, and are used where that pays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from regrun.config.schema import Config
from regrun.errors import CorruptInputError
from regrun.stack.noise import DrawnNoise, Noise, make_noise
from regrun.training import compiled
from regrun.training.compiled import (
    CHECKS,
    Compiler,
    Mode,
    Rewriting,
    compile_notes,
    has_compiler,
    pays,
)
from regrun.training.differences import AGREEMENT, agreement, largest_difference, nudge
from regrun.training.engine import Engine
from regrun.training.events import Evaluation, MemberEnd
from tests.support.engines import CPU, config_of, dataset_of
from tests.support.steps import BASE, CASES

compiles = pytest.mark.skipif(not has_compiler(CPU), reason="no C++ compiler on this machine")

WHOLE = {**BASE, "dataset": {"name": "digits", "num_train": 48, "num_test": 20}}
"""All batches of one size, so that each config is compiled once."""

COVERING: dict[str, dict[str, Any]] = {
    "short sums, dropout, elastic net, clipping, decay": {
        "model": {"name": "mlp", "hidden": [32, 16], "dropout": 0.5},
        "optimizer": {"name": "adam", "lr": 0.01, "weight_decay": 0.1},
        "penalty": {"type": "elastic_net", "strength": 0.01, "l1_ratio": 0.5},
        "training": {"epochs": 3, "batch_size": 8, "clip_norm": 1.0},
    },
    "pictures, batch norm, momentum, cosine, average": {
        "model": {"name": "cnn", "channels": [2], "norm": "batch"},
        "optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.9, "nesterov": True},
        "schedule": "cosine",
        "training": {"epochs": 3, "batch_size": 16, "ema": 0.9},
    },
}
LEARNING_RATES = ((0, 0.01), (0, 0.02), (1, 0.03))
"""(seed, lr) of each member."""


def members(one: Config, compile_: str, precision: str = "float64") -> list[Config]:
    changes = {"compile": compile_, "precision": precision}
    training = one.training.model_copy(update=changes)
    found = []
    for seed, lr in LEARNING_RATES:
        optimizer = one.optimizer.model_copy(update={"lr": lr})
        own = {"seed": seed, "optimizer": optimizer, "training": training}
        found.append(one.model_copy(update=own))
    return found


def engine_of(configs: list[Config]) -> Engine:
    return Engine(configs, dataset_of(configs[0]), CPU)


def trained(configs: list[Config]) -> dict[str, Tensor]:
    engine = engine_of(configs)
    for _ in engine.run():
        pass
    assert engine.not_compiled == ""
    return engine.state_dict()[0]


def assert_compiled_is_as_it_is(one: Config) -> None:
    expected, found = trained(members(one, "never")), trained(members(one, "always"))
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-10, atol=1e-12, msg=name)


Graph = Callable[..., Tensor]


@pytest.fixture
def only_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs what was traced operation by operation, which needs no compiler."""

    def interpreted(graph: Graph, inputs: Sequence[Tensor]) -> Callable[..., Sequence[Tensor]]:
        return torch.no_grad()(lambda given: (graph(*given),))

    monkeypatch.setattr(compiled, "compiled", interpreted)


PRODUCTS = {
    "gradient of a weight, summed up": ((3, 20, 4), (3, 4, 30)),
    "narrow, summed along the terms": ((3, 20, 70), (3, 7, 70)),
    "narrow, turned": ((3, 20, 30), (3, 7, 30)),
    "wide, as it is": ((3, 20, 30), (3, 30, 40)),
}


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("case", PRODUCTS)
def test_products_of_matrices_are_rewritten_without_changing_what_they_are(
    case: str, *, biased: bool
) -> None:
    left, right, bias = (torch.randn(s).double() for s in (*PRODUCTS[case], (3, 20, 1)))

    def product(left: Tensor, right: Tensor, bias: Tensor) -> Tensor:
        turned = (right * 2).mT if right.shape[2] == left.shape[2] else right * 2
        return torch.baddbmm(bias, left, turned) if biased else torch.bmm(left, turned)

    pure = make_fx(product, tracing_mode="fake")(left, right, bias)
    Rewriting(pure).rewrite(on_cpu=True)
    pure.recompile()
    kept = any("bmm" in str(node.target) for node in pure.graph.nodes)
    summed = case.startswith("narrow, summed") or (case.startswith("gradient") and not biased)
    assert kept != summed
    torch.testing.assert_close(pure(left, right, bias), product(left, right, bias))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.usefixtures("only_traced")
def test_everything_that_acts_in_a_step_is_traced(case: str) -> None:
    assert_compiled_is_as_it_is(config_of(BASE, CASES[case]))


@compiles
@pytest.mark.parametrize("case", COVERING)
def test_compiled_steps_lead_to_the_same_networks(case: str) -> None:
    assert_compiled_is_as_it_is(config_of(WHOLE, COVERING[case]))


@compiles
@pytest.mark.long
@pytest.mark.parametrize("case", CASES)
def test_everything_that_acts_in_a_step_acts_in_a_compiled_one(case: str) -> None:
    assert_compiled_is_as_it_is(config_of(BASE, CASES[case]))


@pytest.mark.usefixtures("only_traced")
def test_members_that_leave_and_diverge_are_as_they_are_without() -> None:
    def lives(compile_: str) -> list[Tensor]:
        one = config_of(BASE, CASES["dropout"])
        configs = members(one, compile_)
        wild = configs[1].optimizer.model_copy(update={"lr": 1e200})
        configs[1] = configs[1].model_copy(update={"optimizer": wild})
        engine = engine_of(configs)
        events = engine.run()
        found = []
        for event in events:
            if isinstance(event, Evaluation) and event.epoch == 2:
                engine.prune([0])
            if isinstance(event, MemberEnd) and event.weights is not None:
                found += list(event.weights.values())
            if isinstance(event, MemberEnd):
                found.append(torch.tensor([event.member, event.step]).double())
        assert engine.not_compiled == ""
        return found

    for found, expected in zip(lives("always"), lives("never"), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.usefixtures("only_traced")
@pytest.mark.parametrize("after", [1, 5, 12])
def test_a_resumed_run_goes_on_as_it_was_bit_for_bit(after: int) -> None:
    def states(stop: int) -> dict[str, Tensor]:
        configs = members(config_of(BASE, CASES["dropout"]), "always", "float32")
        engine = engine_of(configs)
        events = engine.run()
        while engine.step < stop:
            next(events)
        saved = engine.state_dict()
        assert saved[1].compiled
        again = engine_of(configs)
        again.load_state_dict(*saved)
        for _ in again.run():
            pass
        return again.state_dict()[0]

    whole, resumed = states(0), states(after)
    for name, tensor in whole.items():
        assert torch.equal(resumed[name], tensor), name


@pytest.mark.usefixtures("only_traced")
def test_a_run_that_was_not_compiled_is_not_compiled_when_it_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    configs = members(config_of(BASE, {}), "auto")
    engine = engine_of(configs)
    next(engine.run())
    saved = engine.state_dict()
    assert not saved[1].compiled
    monkeypatch.setattr(compiled, "SECONDS_SAVED", 0)
    again = engine_of(configs)
    assert again.state_dict()[1].compiled
    again.load_state_dict(*saved)
    assert not again.state_dict()[1].compiled


def test_a_checkpoint_of_compiled_steps_is_none_of_a_run_without_them() -> None:
    engine = engine_of(members(config_of(BASE, {}), "never"))
    tensors, state = engine.state_dict()
    with pytest.raises(CorruptInputError, match=r"engine\.compiled: impossible after 0 steps"):
        engine.load_state_dict(tensors, state.model_copy(update={"compiled": True}))


class Adding:
    """A step that adds a number to a tensor, and has a compiler."""

    def __init__(self, agreement: float = AGREEMENT) -> None:
        self.total, self.number = torch.zeros(3), torch.zeros(())
        self.noise = make_noise([0, 1], CPU)
        self.compiler = Compiler(self.noise, lambda: [self.total], nullcontext, agreement)
        self.compiler.on = True
        self.python = 0

    def __call__(self, work: Callable[[Noise], Tensor] | None = None) -> list[float]:
        self.number += 1
        self.python += 1
        return self.compiler("kind", work or self.add)().tolist()

    def add(self, noise: Noise) -> Tensor:
        self.total += self.number
        return self.total.clone()

    def add_of_python(self, noise: Noise) -> Tensor:
        self.total += float(self.python)
        return self.total.clone()

    def drift(self, noise: Noise) -> Tensor:
        self.total += 1 + 0.001 * self.python
        return self.total.clone()

    def add_noise(self, noise: Noise) -> Tensor:
        self.total[:2] += noise.uniform("layer", ())
        self.total[:2] += noise.normal("layer", (3,)).sum(1)
        return self.total.clone()

    def wait(self, noise: Noise) -> Tensor:
        self.total += self.number.item()
        return self.total.clone()


@pytest.mark.usefixtures("only_traced")
def test_a_number_of_python_that_was_frozen_is_noticed_before_it_does_harm() -> None:
    adding = Adding()
    assert [adding(adding.add_of_python)[0] for _ in range(5)] == [1, 3, 6, 10, 15]
    assert "not compiled: a compiled step differs by" in adding.compiler.refusal


@pytest.mark.parametrize(("agrees", "refused"), [(1e-2, False), (1e-4, True)])
@pytest.mark.usefixtures("only_traced")
def test_how_much_a_compiled_step_may_differ_depends_on_what_computes_it(
    agrees: float, *, refused: bool
) -> None:
    adding = Adding(agrees)
    for _ in range(3):
        adding(adding.drift)
    assert bool(adding.compiler.refusal) is refused


def test_on_a_cpu_half_of_the_digits_have_to_agree() -> None:
    assert agreement(torch.float64, CPU, autocast=False) == 2.0**-26
    assert agreement(torch.float32, CPU, autocast=False) == pytest.approx(2.0**-11.5)
    assert agreement(torch.float32, CPU, autocast=True) == AGREEMENT
    assert agreement(torch.float64, torch.device("cuda"), autocast=False) == AGREEMENT


@pytest.mark.usefixtures("only_traced")
def test_tracing_takes_no_step() -> None:
    adding = Adding()
    assert [adding()[0] for _ in range(5)] == [1, 3, 6, 10, 15]
    assert adding.compiler.refusal == ""


@pytest.mark.usefixtures("only_traced")
def test_what_cannot_be_traced_is_taken_as_it_is() -> None:
    adding = Adding()
    assert [adding(adding.wait)[0] for _ in range(4)] == [1, 3, 6, 10]
    assert adding.compiler.refusal.startswith("steps are taken operation by operation, not comp")


def test_what_cannot_be_compiled_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("no compiler\nanywhere")

    monkeypatch.setattr(compiled, "compiled", fail)
    adding, plain = Adding(), Adding()
    plain.compiler.on = False
    for _ in range(4):
        assert adding(adding.add_noise) == plain(plain.add_noise)
    assert adding.compiler.refusal.endswith("not compiled: no compiler")


@pytest.mark.parametrize(
    ("said", "is_refused"),
    [
        ("CUDA out of memory. Tried to allocate 1.00 GiB.", False),
        ("C++ compile error\n\nOutput:\ncc1plus: out of memory allocating 65536 bytes", True),
    ],
)
def test_a_lack_of_memory_while_compiling_is_one_but_for_that_of_the_compiler(
    said: str, *, is_refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError(said)

    monkeypatch.setattr(compiled, "compiled", fail)
    adding = Adding()
    with nullcontext() if is_refused else pytest.raises(RuntimeError, match="out of memory"):
        adding()
    assert bool(adding.compiler.refusal) == is_refused


@pytest.mark.usefixtures("only_traced")
def test_numbers_are_drawn_in_the_order_of_a_step_that_is_taken_as_it_is() -> None:
    adding, plain = Adding(), Adding()
    plain.compiler.on = False
    for _ in range(CHECKS + 3):
        assert adding(adding.add_noise) == plain(plain.add_noise)
    assert adding.compiler.refusal == ""


def test_other_draws_than_in_the_first_step_are_refused() -> None:
    noise = DrawnNoise(make_noise([0], CPU))
    noise.uniform("layer", (2,))
    noise.next_step()
    with pytest.raises(RuntimeError, match="layer draws other numbers than in another step"):
        noise.uniform("layer", (3,))


@pytest.mark.parametrize(
    ("mode", "entries", "steps", "expected"),
    [
        ("never", 10**9, 10**9, False),
        ("always", 1, 1, True),
        ("auto", 1_000, 30_000, False),
        ("auto", 1_000, 1_000_000, True),
        ("auto", 3_000_000, 10_000, False),
        ("auto", 3_000_000, 60_000, True),
    ],
)
@compiles
def test_auto_compiles_long_runs(mode: Mode, entries: int, steps: int, *, expected: bool) -> None:
    assert pays(mode, entries, steps, CPU) == expected


@compiles
def test_what_is_compiled_is_noted_before() -> None:
    assert compile_notes("auto", 1_000, 1_000, CPU) == []
    assert compile_notes("never", 1_000, 10**9, CPU) == []
    (note,) = compile_notes("auto", 1_000, 10**9, CPU)
    assert note == "steps are compiled, which takes some seconds at first (training.compile)"


def test_auto_compiles_nothing_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "has_compiler", lambda device: False)
    assert not pays("auto", 10**9, 10**9, CPU)
    assert pays("always", 1, 1, CPU)
    assert compile_notes("auto", 10**9, 10**9, CPU) == []
    (note,) = compile_notes("always", 1, 1, CPU)
    assert note.startswith("no compiler is found here, so steps are taken as they are")


def test_a_difference_that_the_last_bits_explain_is_left_out_of_account() -> None:
    before, expected = [torch.zeros(3)], [torch.tensor([1.0, 2.0, 2.0])]
    found, nudged = [torch.tensor([1.0, 2.0, 3.5])], [torch.tensor([1.0, 2.0, 2.5])]
    assert largest_difference(found, expected, before) == 0.5
    assert largest_difference(found, expected, before, nudged) == 0


def test_a_nudge_changes_every_number_but_zero_in_its_last_bits() -> None:
    tensor, counted = torch.tensor([[1.0, -2.0], [0.0, 1e-3]]), torch.tensor([3])
    nudged = tensor.clone()
    nudge([nudged, counted])
    torch.testing.assert_close(nudged, tensor, rtol=1e-6, atol=0)
    assert (nudged != tensor).tolist() == [[True, True], [False, True]]
    assert counted == 3
