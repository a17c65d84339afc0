"""Networks that run as a whole: those that vmap takes, and those that run one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from regrun.errors import PluginError
from regrun.kinds.boundary import Origin
from regrun.kinds.models import ModelSection
from regrun.stack import Stack, StreamNoise
from regrun.stack.trial import Trial, try_out

CPU = torch.device("cpu")
SHAPE = (5, 4)
SEEDS = (3, 3, 7)


Change = Callable[[Any, Any], Any]


class Own(ModelSection):
    """A plug-in's section; the tests build its networks themselves."""

    name: Literal["own"] = "own"
    plugin_origin = Origin("regrun.models", "own", "tests:Own", "tests 1.0")

    def build(self, input_shape: tuple[int, ...], num_outputs: int) -> nn.Module:
        raise NotImplementedError


class Around(nn.Module):
    """Flattened inputs through a linear layer, changed by a function of (module, values)."""

    def __init__(self, change: Change = lambda _, h: h) -> None:
        super().__init__()
        self.linear = nn.Linear(20, 3)
        self.register_buffer("seen", torch.zeros(3))
        self.register_buffer("count", torch.tensor(0))
        self.change = change

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.change(self, self.linear(x.flatten(1)))
        return y


class Dropped(nn.Module):
    """One dropout layer behind two layers of different widths."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.narrow = nn.Linear(20, 9), nn.Linear(9, 3)
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.drop(self.narrow(self.drop(self.wide(x.flatten(1)))))
        return y


class Recurrent(nn.Module):
    """A recurrent layer over the rows of an example."""

    def __init__(self, kind: Any, dropout: float = 0.0) -> None:
        super().__init__()
        self.rnn = kind(4, 6, num_layers=2, batch_first=True, dropout=dropout)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.rnn(x)[0][:, -1])
        return y


class Attention(nn.Module):
    """One encoder layer over the rows of an example."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.encoder = nn.TransformerEncoderLayer(4, 2, 8, dropout, batch_first=True)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.encoder(x).mean(1))
        return y


def branch(_: nn.Module, h: Tensor) -> Tensor:
    return h if h.mean() > 0 else -2 * h


def drop(module: Any, h: Tensor) -> Tensor:
    return F.dropout(h, 0.5, module.training)


def assign(module: Any, h: Tensor) -> Tensor:
    if module.training:
        module.seen = 0.5 * module.seen + h.detach().mean(0)
    y: Tensor = h - module.seen
    return y


def update(module: Any, h: Tensor) -> Tensor:
    if module.training:
        module.seen.mul_(0.5).add_(h.detach().mean(0))
        module.count += 1
    y: Tensor = h - module.seen
    return y


NETWORKS: dict[str, tuple[Callable[[], nn.Module], bool, bool]] = {
    "plain": (Around, True, False),
    "assigned buffer": (lambda: Around(assign), True, False),
    "buffer changed in place": (lambda: Around(update), True, False),
    "dropout in two places": (Dropped, True, True),
    "branch": (lambda: Around(branch), False, False),
    "random function": (lambda: Around(drop), False, True),
    "lstm": (lambda: Recurrent(nn.LSTM), False, False),
    "lstm with dropout": (lambda: Recurrent(nn.LSTM, 0.3), False, True),
    "gru": (lambda: Recurrent(nn.GRU), False, False),
    "attention with dropout": (lambda: Attention(0.2), False, True),
}
"""Name → what builds it, whether vmap takes it, whether it draws by itself."""


def built(name: str, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return NETWORKS[name][0]().double()


def examples(groups: int = 1, count: int = 6) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(groups, count, *SHAPE, generator=generator, dtype=torch.float64)


def trial(name: str) -> Trial:
    return try_out(built(name), Own(), examples(2))


def stack_of(name: str, seeds: tuple[int, ...] = SEEDS) -> Stack:
    modules = [built(name, row) for row in range(len(seeds))]
    return Stack(modules, CPU, torch.float64, Own(), trial(name).way)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_trial_finds_what_vmap_takes_and_what_draws(name: str) -> None:
    _, stackable, draws = NETWORKS[name]
    found = trial(name)
    assert (not found.unstackable, found.draws) == (stackable, draws)


@pytest.mark.parametrize("name", [name for name, (*_, draws) in NETWORKS.items() if not draws])
@pytest.mark.parametrize("groups", [1, 3])
def test_each_member_computes_what_its_module_does(name: str, groups: int) -> None:
    stack, x = stack_of(name), examples(groups)
    parameters = list(stack.parameters.values())
    for _ in range(2):  # buffers of the first pass count in the second
        trained = stack(x, StreamNoise(SEEDS, CPU))
    gradients = torch.autograd.grad(
        trained.square().sum(), parameters, allow_unused=True, materialize_grads=True
    )
    measured = stack(x)
    for row in range(3):
        module, own = built(name, row), x[row % groups]
        module(own)
        expected = module(own)
        torch.testing.assert_close(trained[row], expected)
        alone = torch.autograd.grad(expected.square().sum(), list(module.parameters()))
        for stacked, single in zip(gradients, alone, strict=True):
            torch.testing.assert_close(stacked[row], single)
        for key, buffer in module.named_buffers():
            torch.testing.assert_close(stack.buffers[key][row], buffer)
        torch.testing.assert_close(measured[row], module.eval()(own))


@pytest.mark.parametrize(
    "name", [name for name, (_, at_once, _) in NETWORKS.items() if not at_once]
)
def test_a_member_is_the_same_bit_for_bit_alone_and_in_company(name: str) -> None:
    together, noise = stack_of(name), StreamNoise(SEEDS, CPU)
    passes = [together(examples(), noise) for _ in range(2)]
    if NETWORKS[name][2]:  # members with one seed and other weights draw the same
        assert not torch.equal(*passes)
    for row, seed in enumerate(SEEDS):
        stack = Stack([built(name, row)], CPU, torch.float64, Own(), trial(name).way)
        alone = StreamNoise([seed], CPU)
        for outputs in passes:
            assert torch.equal(stack(examples(), alone)[0], outputs[row])
        assert torch.equal(stack(examples())[0], together(examples())[row])


def test_a_dropout_layer_draws_anew_wherever_it_is_called() -> None:
    stack = stack_of("dropout in two places")
    with torch.no_grad():
        for name in ("wide.weight", "narrow.weight"):
            stack.parameters[name].zero_()
        for name in ("wide.bias", "narrow.bias"):
            stack.parameters[name].fill_(1)
    outputs = stack(examples(count=200), StreamNoise(SEEDS, CPU))
    assert set(outputs.flatten().tolist()) == {0.0, 2.0}
    assert torch.equal(outputs[0], outputs[1]) and not torch.equal(outputs[0], outputs[2])
    kept = (outputs != 0).double().mean().item()
    assert 0.4 < kept < 0.6
    alone = Stack([built("dropout in two places", 2)], CPU, torch.float64, Own())
    alone.load_state_dict({name: each[2:] for name, each in stack.state_dict().items()})
    found = alone(examples(count=200), StreamNoise(SEEDS[2:], CPU))
    torch.testing.assert_close(found[0], outputs[2])


def test_members_with_one_seed_draw_the_same() -> None:
    modules = [built("random function")] * 3
    stack = Stack(modules, CPU, torch.float64, Own(), trial("random function").way)
    first, second, other = stack(examples(), StreamNoise(SEEDS, CPU))
    assert torch.equal(first, second) and not torch.equal(first, other)


def test_random_functions_go_on_where_a_state_was_saved() -> None:
    stack, noise = stack_of("random function"), StreamNoise(SEEDS, CPU)
    before = torch.get_rng_state()
    stack(examples(), noise)
    saved = {name: tensor.clone() for name, tensor in noise.state_dict().items()}
    expected = stack(examples(), noise)
    resumed = StreamNoise(SEEDS, CPU)
    resumed.load_state_dict(saved)
    assert torch.equal(stack(examples(), resumed), expected)
    assert torch.equal(torch.get_rng_state(), before), "the global generator is as it was"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda module, h: (h, h), "gives tuple; it has to give a tensor"),
        (lambda module, h: h.sum(0), r"gives \[3\] for 6 examples"),
        (lambda module, h: h.long(), "numbers of type torch.int64"),
        (lambda module, h: h.detach(), "outputs without a gradient"),
        (lambda module, h: h / 0 if module.training else h.nothing, "forward failed: "),
    ],
)
def test_what_no_network_gives_is_refused(change: Change, why: str) -> None:
    with pytest.raises(PluginError, match=why):
        try_out(Around(change).double(), Own(), examples(2))


def test_a_stack_of_one_calls_its_module_without_vmap(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise NotImplementedError

    one, three = stack_of("dropout in two places", SEEDS[:1]), stack_of("dropout in two places")
    monkeypatch.setattr(torch, "vmap", refuse)
    for noise in (StreamNoise(SEEDS[:1], CPU), None):
        assert one(examples(), noise).shape == (1, 6, 3)
    with pytest.raises(PluginError, match="NotImplementedError"):
        three(examples())


@pytest.mark.parametrize(
    ("size", "affine", "expected"),
    [
        (1, True, torch.bfloat16),
        (1, False, torch.float32),
        (2, True, torch.float32),
    ],
)
def test_batch_norm_alone_takes_bfloat16_with_its_float32_numbers(
    size: int, affine: bool, expected: torch.dtype
) -> None:
    seen = set()

    def note(module: Any, h: Tensor) -> Tensor:
        y: Tensor = module.norm(h)
        return y

    class Noting(nn.BatchNorm1d):
        def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
            seen.add(input.dtype)
            return super().forward(input)

    modules = []
    for _ in range(size):
        module = Around(note)
        module.linear = nn.Linear(20, 3, bias=False)  # vmap would add a bias in float32
        module.norm = Noting(3, affine=affine)
        modules.append(module)
    stack = Stack(modules, CPU, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = stack(examples().float(), StreamNoise(SEEDS[:size], CPU))
    assert seen == {expected}
    assert outputs.dtype == torch.bfloat16
    assert stack.buffers["norm.running_var"].dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(outputs[0], modules[0](examples()[0].float()))
    for name, statistic in modules[0].named_buffers():
        torch.testing.assert_close(stack.buffers[name][0], statistic)


@pytest.mark.parametrize("stacked", [False, True], ids=["alone", "in vmap"])
def test_a_lack_of_memory_is_no_reason_to_compute_members_one_by_one(*, stacked: bool) -> None:
    def short(_: Any, h: Tensor) -> Tensor:
        if torch._C._functorch.is_batchedtensor(h) or not stacked:
            torch.empty(10**15)
        return h

    with pytest.raises(RuntimeError, match="can't allocate memory"):
        try_out(Around(short), Own(), torch.zeros(2, 3, *SHAPE))
