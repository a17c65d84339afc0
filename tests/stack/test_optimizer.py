"""A stack's optimizer against torch.optim and NumPy, member by member, whatever the tiles."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from regrun.errors import CorruptInputError
from regrun.kinds.optimizers.adam import Adam, AdamW
from regrun.kinds.optimizers.adaptive import Adagrad, RMSprop
from regrun.kinds.optimizers.base import Optimizer
from regrun.kinds.optimizers.sgd import SGD
from regrun.stack.optimizer import StackedOptimizer
from regrun.stack.penalty_terms import EntrywiseTerm

Array = NDArray[np.float64]
Shapes = Mapping[str, tuple[int, ...]]
Settings = dict[str, Any]
"""Keys of one member's section."""

SHAPES: Shapes = {"hidden.weight": (4, 7), "hidden.bias": (4,), "output.weight": (1, 4)}
LARGE_SHAPES: Shapes = {"hidden.weight": (127, 130), "hidden.bias": (4,), "output.weight": (1, 4)}
"""One of them so large that a fused kernel may get each member on its own."""
CLASSES: Mapping[str, type[Optimizer]] = {
    "sgd": SGD,
    "adam": Adam,
    "adamw": AdamW,
    "rmsprop": RMSprop,
    "adagrad": Adagrad,
}
TORCH: Mapping[str, Any] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
    "adagrad": torch.optim.Adagrad,
}
# Per case: the name, then the keys of three members.
CASES: dict[str, tuple[str, list[Settings]]] = {
    "sgd": ("sgd", [{}, {"lr": 0.3}, {"weight_decay": 0.2}]),
    "sgd momentum": ("sgd", [{"momentum": 0.9}, {"momentum": 0.0}, {"momentum": 0.5}]),
    "sgd dampening": (
        "sgd",
        [
            {"momentum": 0.9, "dampening": 0.3},
            {"momentum": 0.0, "dampening": 0.5},
            {"momentum": 0.7, "weight_decay": 0.1},
        ],
    ),
    "sgd nesterov": (
        "sgd",
        [
            {"momentum": 0.9, "nesterov": True},
            {"momentum": 0.3, "nesterov": True, "weight_decay": 0.1},
            {"momentum": 0.6, "nesterov": True, "lr": 0.02},
        ],
    ),
    "adam": (
        "adam",
        [{}, {"betas": (0.5, 0.9), "eps": 1e-4}, {"weight_decay": 0.3, "betas": (0.0, 0.99)}],
    ),
    "adam amsgrad": (
        "adam",
        [{"amsgrad": True}, {"amsgrad": True, "lr": 0.01}, {"amsgrad": True, "weight_decay": 0.1}],
    ),
    "adamw": ("adamw", [{}, {"weight_decay": 0.1}, {"weight_decay": 1.0, "betas": (0.8, 0.95)}]),
    "adamw amsgrad": (
        "adamw",
        [{"amsgrad": True}, {"amsgrad": True, "eps": 0.1}, {"amsgrad": True, "weight_decay": 0.5}],
    ),
    "rmsprop": ("rmsprop", [{}, {"alpha": 0.5, "eps": 1e-3}, {"weight_decay": 0.1}]),
    "rmsprop momentum": (
        "rmsprop",
        [{"momentum": 0.9}, {"momentum": 0.0, "weight_decay": 0.2}, {"momentum": 0.3}],
    ),
    "rmsprop centered": (
        "rmsprop",
        [
            {"centered": True},
            {"centered": True, "momentum": 0.5},
            {"centered": True, "alpha": 0.9, "weight_decay": 0.1},
        ],
    ),
    "adagrad": (
        "adagrad",
        [
            {},
            {"lr_decay": 0.1, "initial_accumulator_value": 0.5},
            {"weight_decay": 0.2, "eps": 1e-3},
        ],
    ),
}


def sections(name: str, members: Sequence[Settings]) -> list[Optimizer]:
    return [CLASSES[name](**{"name": name, "lr": 0.05, **member}) for member in members]


def parameters(
    seed: int, members: int = 3, dtype: torch.dtype = torch.float64, shapes: Shapes = SHAPES
) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(members, *shape, generator=generator, dtype=dtype).requires_grad_()
        for name, shape in shapes.items()
    }


def gradients(seed: int, steps: int, like: Mapping[str, Tensor]) -> list[list[Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    return [
        [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in like.values()]
        for _ in range(steps)
    ]


def torch_run(
    name: str,
    member: Settings,
    k: int,
    start: Mapping[str, Tensor],
    steps: Sequence[Sequence[Tensor]],
    decayed: Collection[str],
) -> dict[str, Tensor]:
    """Member k alone under torch.optim, on the same gradients."""
    own = {n: p.detach()[k].clone().requires_grad_() for n, p in start.items()}
    keys = {"lr": 0.05, "weight_decay": 0.0, **member}
    decay = keys.pop("weight_decay")
    groups = [
        {"params": [p for n, p in own.items() if n in decayed], "weight_decay": decay},
        {"params": [p for n, p in own.items() if n not in decayed], "weight_decay": 0.0},
    ]
    optimizer = TORCH[name](groups, foreach=False, **keys)
    for step in steps:
        for parameter, gradient in zip(own.values(), step, strict=True):
            parameter.grad = gradient[k].clone()
        optimizer.step()
    return own


@pytest.mark.parametrize("shapes", [SHAPES, LARGE_SHAPES], ids=["small", "large"])
@pytest.mark.parametrize("case", CASES)
def test_each_member_equals_its_own_run_of_torch(case: str, shapes: Shapes) -> None:
    name, members = CASES[case]
    stack = parameters(1, shapes=shapes)
    steps = gradients(2, 100 if shapes is SHAPES else 20, stack)
    decayed = {"hidden.weight", "output.weight"}
    theirs = [torch_run(name, m, k, stack, steps, decayed) for k, m in enumerate(members)]
    optimizer = StackedOptimizer(sections(name, members), stack, decayed)
    for step in steps:
        optimizer.step(step, 1.0)
    for k, alone in enumerate(theirs):
        for parameter, expected in alone.items():
            torch.testing.assert_close(stack[parameter][k], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("shapes", "tiles"),
    [(SHAPES, (1, 2, 3, 5, 8, 20, 10_000)), (LARGE_SHAPES, (5_000, 20_000, 10**6))],
    ids=["small", "large"],
)
@pytest.mark.parametrize("case", CASES)
def test_every_tile_size_gives_the_same_numbers(
    case: str, shapes: Shapes, tiles: Sequence[int]
) -> None:
    name, members = CASES[case]
    terms = [EntrywiseTerm("hidden.weight", torch.rand(3).double(), torch.rand(3).double())]
    results = []
    for tile in tiles:
        stack = parameters(3, shapes=shapes)
        optimizer = StackedOptimizer(sections(name, members), stack, {"hidden.weight"}, terms, tile)
        for step in gradients(4, 20, stack):
            optimizer.step(step, 0.7)
        results.append({**stack, **optimizer.state_dict()})
    for other in results[1:]:
        torch.testing.assert_close(other, results[0], rtol=1e-11, atol=1e-13)


def test_a_gradient_may_have_any_strides() -> None:
    """The fused kernel reads memory in order, whatever the strides."""
    stacks = [parameters(1, shapes=LARGE_SHAPES) for _ in range(2)]
    for stack, lies_otherwise in zip(stacks, (False, True), strict=True):
        optimizer = StackedOptimizer(sections("adam", [{}, {}, {}]), stack, set())
        for step in gradients(2, 3, stack):
            if lies_otherwise:
                step = [gradient.mT.contiguous().mT for gradient in step]
            optimizer.step(step)
    assert all(torch.equal(stacks[0][name], stacks[1][name]) for name in stacks[0])


def numpy_decay(
    w: Array, g: Array, lr: float, decay: float, kind: str, multiplier: float
) -> tuple[Array, Array]:
    if kind == "coupled":
        g = g + decay * w
    if kind == "decoupled":
        w = w - lr * multiplier * decay * w
    if kind == "decoupled_schedule":
        w = w - multiplier * decay * w
    return w, g


def numpy_update(
    name: str, w: Array, g: Array, state: dict[str, Array], t: int, lr: float
) -> Array:
    """Each rule once more, in NumPy, at its defaults."""
    if name == "sgd":
        return w - lr * g
    if name in ("adam", "adamw"):
        mean = state["m"] = 0.9 * state.get("m", 0.0) + 0.1 * g
        square = state["v"] = 0.999 * state.get("v", 0.0) + 0.001 * g**2
        mean, square = mean / (1 - 0.9**t), square / (1 - 0.999**t)
        return w - lr * mean / (np.sqrt(square) + 1e-8)
    old = state.get("v", 0.0)
    square = state["v"] = 0.99 * old + 0.01 * g**2 if name == "rmsprop" else old + g**2
    return w - lr * g / (np.sqrt(square) + (1e-8 if name == "rmsprop" else 1e-10))


@pytest.mark.parametrize(
    ("name", "kind"),
    list(itertools.product(CLASSES, ["coupled", "decoupled", "decoupled_schedule"])),
)
def test_every_kind_of_decay_works_with_every_optimizer(name: str, kind: str) -> None:
    decays, rates = [0.0, 0.02, 0.1], [0.05, 0.1, 0.02]
    stack = parameters(5)
    members = [
        {"weight_decay": d, "lr": lr, "decay": kind} for d, lr in zip(decays, rates, strict=True)
    ]
    optimizer = StackedOptimizer(sections(name, members), stack, {"hidden.weight"})
    steps = gradients(6, 30, stack)
    expected = {n: p.detach().numpy().copy() for n, p in stack.items()}
    states: dict[tuple[str, int], dict[str, Array]] = {(n, k): {} for n in stack for k in range(3)}
    for t, step in enumerate(steps, start=1):
        multiplier = np.array([1 / t, 1.0, 0.5])
        for (n, w), gradient in zip(expected.items(), step, strict=True):
            for k in range(3):
                decay = decays[k] if n == "hidden.weight" else 0.0
                own, g = numpy_decay(
                    w[k], gradient[k].numpy(), rates[k], decay, kind, multiplier[k]
                )
                lr = rates[k] * multiplier[k]
                w[k] = numpy_update(name, own, g, states[n, k], t, lr)
        optimizer.step(step, torch.tensor(multiplier))
    for n, parameter in stack.items():
        np.testing.assert_allclose(parameter.detach().numpy(), expected[n], rtol=1e-11, atol=1e-12)


def test_auto_is_each_optimizers_own_decay() -> None:
    own = {name: sections(name, [{}])[0].resolved_decay for name in CLASSES}
    assert own == {name: "decoupled" if name == "adamw" else "coupled" for name in CLASSES}


@pytest.mark.parametrize("case", CASES)
def test_a_nan_member_never_changes_its_neighbours(case: str) -> None:
    name, members = CASES[case]
    results = []
    for poisoned in (False, True):
        stack = parameters(7, dtype=torch.float32)
        terms = [EntrywiseTerm("hidden.bias", torch.rand(3).double() * 0, torch.ones(3).double())]
        optimizer = StackedOptimizer(sections(name, members), stack, SHAPES, terms)
        for i, step in enumerate(gradients(8, 20, stack)):
            if poisoned and i == 5:
                for gradient in step:
                    gradient[1] = torch.nan
            optimizer.step(step, torch.full((3,), 0.9))
        results.append(stack)
    for parameter in SHAPES:
        assert torch.equal(results[0][parameter][[0, 2]], results[1][parameter][[0, 2]])
        assert results[1][parameter][1].isnan().all()


@pytest.mark.parametrize("name", CLASSES)
def test_a_member_without_momentum_or_decay_does_not_feel_those_that_have_it(name: str) -> None:
    keys = {"momentum": 0.9} if name in ("sgd", "rmsprop") else {}
    alone, together = parameters(9, dtype=torch.float32), parameters(9, dtype=torch.float32)
    steps = gradients(10, 30, alone)
    first = StackedOptimizer(sections(name, [{}, {}, {}]), alone, SHAPES)
    mixed = sections(name, [{}, {"weight_decay": 0.5, **keys}, {"weight_decay": 0.1}])
    second = StackedOptimizer(mixed, together, SHAPES)
    for step in steps:
        first.step(step, 1.0)
        second.step(step, 1.0)
    for parameter in SHAPES:
        assert torch.equal(alone[parameter][0], together[parameter][0])
        assert not torch.equal(alone[parameter][1], together[parameter][1])


@pytest.mark.parametrize("name", CLASSES)
def test_gradients_are_left_as_they_are(name: str) -> None:
    stack = parameters(11)
    terms = [EntrywiseTerm("hidden.weight", torch.ones(3).double(), torch.ones(3).double())]
    optimizer = StackedOptimizer(sections(name, [{"weight_decay": 0.1}] * 3), stack, SHAPES, terms)
    (step,) = gradients(12, 1, stack)
    before = [gradient.clone() for gradient in step]
    optimizer.step(step, 1.0)
    assert all(torch.equal(a, b) for a, b in zip(step, before, strict=True))


def test_decay_touches_only_the_chosen_parameters() -> None:
    stack = parameters(13)
    before = {name: p.detach().clone() for name, p in stack.items()}
    optimizer = StackedOptimizer(
        sections("sgd", [{"weight_decay": 1.0}] * 3), stack, ["hidden.bias"]
    )
    optimizer.step([torch.zeros_like(p) for p in stack.values()], 1.0)
    for name, parameter in stack.items():
        expected = before[name] * (0.95 if name == "hidden.bias" else 1)
        torch.testing.assert_close(parameter.detach(), expected, rtol=1e-14, atol=0)


@pytest.mark.parametrize("case", CASES)
def test_state_that_is_saved_and_loaded_goes_on_bit_for_bit(case: str) -> None:
    name, members = CASES[case]
    stack = parameters(14, dtype=torch.float32)
    steps = gradients(15, 20, stack)
    optimizer = StackedOptimizer(sections(name, members), stack, SHAPES)
    for step in steps[:10]:
        optimizer.step(step, 0.5)
    copy = {n: p.detach().clone().requires_grad_() for n, p in stack.items()}
    saved = {n: t.clone() for n, t in optimizer.state_dict().items()}
    other = StackedOptimizer(sections(name, members), copy, SHAPES)
    other.load_state_dict(saved)
    for step in steps[10:]:
        optimizer.step(step, 0.5)
        other.step(step, 0.5)
    assert all(torch.equal(stack[n], copy[n]) for n in stack)
    assert all(torch.equal(t, other.state_dict()[n]) for n, t in optimizer.state_dict().items())


def test_state_names_say_slot_and_parameter() -> None:
    stack = parameters(16)
    optimizer = StackedOptimizer(sections("adam", [{}] * 3), stack, ())
    slots = {f"{slot}/{name}" for slot in ("exp_avg", "exp_avg_sq") for name in SHAPES}
    assert set(optimizer.state_dict()) == slots | {"step"}
    assert all(tensor.shape[0] == 3 for tensor in optimizer.state_dict().values())


def test_state_of_another_optimizer_is_refused() -> None:
    stack = parameters(17)
    optimizer = StackedOptimizer(sections("adam", [{}] * 3), stack, ())
    state = dict(optimizer.state_dict())
    del state["exp_avg/hidden.bias"]
    with pytest.raises(CorruptInputError, match=r"exp_avg/hidden\.bias"):
        optimizer.load_state_dict(state)
    wrong = {**optimizer.state_dict(), "exp_avg/hidden.bias": torch.zeros(3, 5).double()}
    with pytest.raises(CorruptInputError, match=r"expected float64 \(3, 4\)"):
        optimizer.load_state_dict(wrong)


@pytest.mark.parametrize("case", CASES)
def test_members_that_stay_go_on_as_if_none_had_left(case: str) -> None:
    name, members = CASES[case]
    stack = parameters(18)
    terms = [EntrywiseTerm("hidden.weight", torch.rand(3).double(), torch.rand(3).double())]
    steps = gradients(19, 20, stack)
    optimizer = StackedOptimizer(sections(name, members), stack, SHAPES, terms)
    for step in steps[:10]:
        optimizer.step(step, torch.full((3,), 0.5))
    kept = torch.tensor([0, 2])
    smaller = {n: p.detach().clone().requires_grad_() for n, p in stack.items()}
    shrinking = StackedOptimizer(sections(name, members), smaller, SHAPES, terms)
    shrinking.load_state_dict(optimizer.state_dict())
    smaller = {n: p.detach()[kept].clone().requires_grad_() for n, p in stack.items()}
    shrinking.shrink_to(kept, smaller)
    for step in steps[10:]:
        optimizer.step(step, torch.full((3,), 0.5))
        shrinking.step([gradient[kept] for gradient in step], torch.full((2,), 0.5))
    for parameter, tensor in stack.items():
        torch.testing.assert_close(smaller[parameter], tensor[kept], rtol=1e-11, atol=1e-13)
    assert shrinking.current_lr().shape == (2,)


def test_a_constant_multiplier_may_change_between_steps() -> None:
    stack, reference = parameters(20), parameters(20)
    (step,) = gradients(21, 1, stack)
    optimizer = StackedOptimizer(sections("sgd", [{}] * 3), stack, ())
    for multiplier in (1.0, 1.0, 0.5, 1.0, 0.0):
        optimizer.step(step, multiplier)
    for (name, parameter), gradient in zip(stack.items(), step, strict=True):
        expected = reference[name].detach() - 3.5 * 0.05 * gradient
        torch.testing.assert_close(parameter.detach(), expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("name", CLASSES)
def test_a_multiplier_of_zero_moves_nothing(name: str) -> None:
    stack = parameters(22)
    before = {n: p.detach().clone() for n, p in stack.items()}
    optimizer = StackedOptimizer(sections(name, [{}] * 3), stack, ())
    optimizer.step([torch.zeros_like(p) for p in stack.values()], 0.0)
    assert all(torch.equal(p, before[n]) for n, p in stack.items())


def test_the_logged_learning_rate_is_the_members_own_times_the_multiplier() -> None:
    members = [{"lr": 0.1}, {"lr": 0.2}, {"lr": 0.4}]
    optimizer = StackedOptimizer(sections("adam", members), parameters(23), ())
    expected = torch.tensor([0.05, 0.2, 0.4], dtype=torch.float64)
    torch.testing.assert_close(optimizer.current_lr(torch.tensor([0.5, 1, 1])), expected)


def test_a_gradient_that_is_not_contiguous_counts_the_same() -> None:
    shapes = {"w": (6, 8)}
    plain, turned = parameters(24, shapes=shapes), parameters(24, shapes=shapes)
    (step,) = gradients(25, 1, plain)
    for stack, g in ((plain, step[0]), (turned, step[0].mT.contiguous().mT)):
        StackedOptimizer(sections("adam", [{}] * 3), stack, (), tile=16).step([g], 1.0)
    assert torch.equal(plain["w"], turned["w"])


def test_parameters_stay_leaves_that_autograd_knows_to_have_changed() -> None:
    stack = parameters(26)
    loss = torch.stack([(p**2).sum() for p in stack.values()]).sum()
    StackedOptimizer(sections("sgd", [{}] * 3), stack, ()).step(
        [torch.ones_like(p) for p in stack.values()], 1.0
    )
    assert all(p.is_leaf and p.requires_grad for p in stack.values())
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.grad(loss, list(stack.values()))


def test_members_that_differ_in_structure_cannot_share_a_stack() -> None:
    with pytest.raises(ValueError, match=r"differ in optimizer\.amsgrad$"):
        StackedOptimizer(sections("adam", [{}, {"amsgrad": True}, {}]), parameters(27), ())


def test_a_centered_variance_that_rounds_below_zero_is_zero() -> None:
    stack = {"w": torch.zeros(1, 64, dtype=torch.float32)}
    section = sections("rmsprop", [{"centered": True, "alpha": 0.5, "eps": 1e-3}])
    optimizer = StackedOptimizer(section, stack, ())
    gradient = torch.linspace(0.1, 9.7, 64).view(1, 64)
    for _ in range(200):
        optimizer.step([gradient], 1.0)
    assert stack["w"].isfinite().all()
