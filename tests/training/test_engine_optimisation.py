"""Clipping, SAM, Lookahead and averages: against plain torch loops, and the engine's promises."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

from regrun.config.schema import Config
from regrun.kinds.models import build_model
from regrun.kinds.penalties import L1
from regrun.seeding import derive
from regrun.training.batches import BatchSampler
from regrun.training.engine import Engine
from regrun.training.events import Evaluation, MemberEnd, Row
from tests.support.engines import CPU, collect, config_of, dataset_of, train

BASE: dict[str, Any] = {
    "dataset": {"name": "digits", "num_train": 60, "num_test": 40},
    "model": {"name": "mlp", "hidden": [8, 6], "activation": "tanh"},
    "optimizer": {"name": "sgd", "lr": 0.1},
    "training": {"epochs": 10, "batch_size": 16, "precision": "float64"},
}


def config(**changes: Any) -> Config:
    return config_of(BASE, changes, "dataset", "optimizer", "training")


def networks(end: MemberEnd) -> dict[str, dict[str, Tensor]]:
    assert end.weights is not None
    return {"raw": end.weights, **end.averages}


def assert_same_networks(mine: MemberEnd, other: MemberEnd, rtol: float, atol: float) -> None:
    assert networks(mine).keys() == networks(other).keys()
    for label, weights in networks(other).items():
        for name, tensor in weights.items():
            torch.testing.assert_close(networks(mine)[label][name], tensor, rtol=rtol, atol=atol)


class PlainLoop:
    """One run as torch's own documentation would write it. No dropout, loss cross entropy."""

    def __init__(self, one: Config) -> None:
        self.config, self.dataset = one, dataset_of(one)
        self.feed = BatchSampler(self.dataset, one.training.batch_size, torch.float64)
        self.feed.set_members([one.seed])
        shape, outputs = self.dataset.input_shape, self.dataset.num_outputs
        self.model = build_model(one.model, shape, outputs, derive(one.seed, "init")).double()
        weights = [p for name, p in self.model.named_parameters() if p.dim() > 1]
        others = [p for p in self.model.parameters() if p.dim() == 1]
        self.weights = weights
        section = one.optimizer.model_dump()
        kinds: dict[str, Any] = {
            "sgd": lambda groups: torch.optim.SGD(
                groups, section["lr"], section["momentum"], nesterov=section["nesterov"]
            ),
            "adam": lambda groups: torch.optim.Adam(groups, section["lr"], section["betas"]),
            "adamw": lambda groups: torch.optim.AdamW(groups, section["lr"], section["betas"]),
            "rmsprop": lambda groups: torch.optim.RMSprop(groups, section["lr"]),
            "adagrad": lambda groups: torch.optim.Adagrad(groups, section["lr"]),
        }
        self.optimizer = kinds[section["name"]](
            [
                {"params": weights, "weight_decay": section["weight_decay"]},
                {"params": others, "weight_decay": 0.0},
            ]
        )
        self.mean = [torch.zeros_like(p) for p in self.model.parameters()]
        self.torch_ema: AveragedModel | None = None
        self.first: list[Tensor] = []
        self.swa: AveragedModel | None = None
        self.slow = [p.detach().clone() for p in self.model.parameters()]
        self.since_slow = 0
        self.run()

    def objective(self, inputs: Tensor, targets: Tensor) -> Tensor:
        loss = F.cross_entropy(self.model(inputs), targets)
        for penalty in self.config.penalty:
            strength = penalty.strength
            sums = [
                w.abs().sum() if isinstance(penalty, L1) else 0.5 * w.square().sum()
                for w in self.weights
            ]
            loss = loss + strength * torch.stack(sums).sum()
        return loss

    def run(self) -> None:
        training, rho = self.config.training, self.config.optimizer.sam
        beta, swa = training.ema, training.swa
        for step in range(training.epochs * self.feed.steps_per_epoch):
            inputs, targets = (tensor[0] for tensor in self.feed(step))
            self.model.train()
            self.optimizer.zero_grad()
            torch.autograd.backward(self.objective(inputs, targets))
            if rho:
                self.climb(rho, inputs, targets)
            if training.clip_value is not None:
                nn.utils.clip_grad_value_(self.model.parameters(), training.clip_value)
            if training.clip_norm is not None:
                nn.utils.clip_grad_norm_(self.model.parameters(), training.clip_norm)
            self.optimizer.step()
            self.return_to_slow()
            with torch.no_grad():
                for mean, p in zip(self.mean, self.model.parameters(), strict=True):
                    mean.mul_(beta).add_((1 - beta) * p)
            if beta:
                if self.torch_ema is None:
                    ema = get_ema_multi_avg_fn(beta)  # type: ignore[no-untyped-call]
                    self.torch_ema = AveragedModel(self.model, multi_avg_fn=ema)
                    self.first = [p.detach().clone() for p in self.model.parameters()]
                self.torch_ema.update_parameters(self.model)
            epoch, within = divmod(step + 1, self.feed.steps_per_epoch)
            if swa is not None and within == 0 and epoch >= swa.start:
                if self.swa is None:
                    self.swa = AveragedModel(self.model)
                if (epoch - swa.start) % swa.every == 0:
                    self.swa.update_parameters(self.model)
                if swa.lr is not None:
                    for group in self.optimizer.param_groups:
                        group["lr"] = swa.lr

    def return_to_slow(self) -> None:
        """The end of a step of pytorch_optimizer's Lookahead with pullback_momentum="none"."""
        section = self.config.optimizer.lookahead
        if section is None:
            return
        self.since_slow += 1
        if self.since_slow >= section.k:
            self.since_slow = 0
            with torch.no_grad():
                for p, slow in zip(self.model.parameters(), self.slow, strict=True):
                    p.mul_(section.alpha).add_(slow, alpha=1.0 - section.alpha)
                    slow.copy_(p)

    def climb(self, rho: float, inputs: Tensor, targets: Tensor) -> None:
        """The first half of SAM's step, after which the gradients are those of the second."""
        statistics = {name: buffer.clone() for name, buffer in self.model.named_buffers()}
        old = [p.detach().clone() for p in self.model.parameters()]
        norm = torch.cat([p.grad.flatten() for p in self.model.parameters()]).norm()  # type: ignore[union-attr]
        with torch.no_grad():
            for p in self.model.parameters():
                p.add_(rho * p.grad / norm)  # type: ignore[operator]
        self.optimizer.zero_grad()
        torch.autograd.backward(self.objective(inputs, targets))
        with torch.no_grad():
            for p, before in zip(self.model.parameters(), old, strict=True):
                p.copy_(before)
            for name, buffer in self.model.named_buffers():
                buffer.copy_(statistics[name])

    def ema(self) -> nn.Module:
        """m / (1 − βᵗ), with batch norm's statistics brought up to it."""
        steps = self.config.training.epochs * self.feed.steps_per_epoch
        averaged = AveragedModel(self.model).module
        with torch.no_grad():
            for p, mean in zip(averaged.parameters(), self.mean, strict=True):
                p.copy_(mean / (1 - self.config.training.ema**steps))
        return self.refreshed(averaged)

    def refreshed(self, model: nn.Module) -> nn.Module:
        update_bn([self.feed(step)[0][0] for step in range(self.feed.steps_per_epoch)], model)
        return model

    def test_loss(self, model: nn.Module) -> float:
        split = self.dataset.test
        with torch.no_grad():
            outputs = model.eval()(self.dataset.features(split.inputs, torch.float64))
        return F.cross_entropy(outputs, split.targets).item()


def assert_is(weights: dict[str, Tensor], model: nn.Module) -> None:
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(weights[name], tensor, rtol=1e-10, atol=1e-12)


MEMBERS: list[dict[str, Any]] = [
    {"training": {}},
    {"training": {"clip_norm": 0.3}},
    {"training": {"clip_norm": 0.05, "ema": 0.9}},
    {"training": {"clip_value": 0.01}},
    {"training": {"clip_value": 0.02, "clip_norm": 0.1}},
    {"training": {"ema": 0.99}, "sam": 0.05},
    {"training": {"swa": {"start": 4, "every": 2}}, "sam": 0.5},
    {"training": {"swa": {"start": 6, "lr": 0.003}, "clip_norm": 0.2}, "sam": 0.1},
    {"training": {"ema": 0.9}, "lookahead": {}},
    {"training": {"clip_norm": 0.3}, "lookahead": {"k": 3, "alpha": 0.8}},
]  # fmt: skip
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd with momentum": {"name": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 0.01},
    "nesterov": {"name": "sgd", "lr": 0.1, "momentum": 0.5, "nesterov": True},
    "adam": {"name": "adam", "lr": 0.01, "weight_decay": 0.01},
    "adamw": {"name": "adamw", "lr": 0.01, "weight_decay": 0.1},
    "rmsprop": {"name": "rmsprop", "lr": 0.003, "weight_decay": 0.01},
    "adagrad": {"name": "adagrad", "lr": 0.05, "weight_decay": 0.01},
}
PENALTIES = [[], {"type": "l1", "strength": 3e-3}, {"type": "l2", "strength": 0.02}]


def members(optimizer: dict[str, Any], **changes: Any) -> list[Config]:
    return [
        config(
            optimizer={
                **optimizer,
                "sam": member.get("sam", 0.0),
                "lookahead": member.get("lookahead"),
            },
            training=member["training"],
            penalty=PENALTIES[k % 3],
            seed=k // 2,
            **changes,
        )
        for k, member in enumerate(MEMBERS)
    ]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_member_of_a_stack_is_a_plain_torch_loop_with_its_own_numbers(name: str) -> None:
    configs = members(OPTIMIZERS[name])
    rows, ends = train(configs)
    for member, one in enumerate(configs):
        loop, end = PlainLoop(one), ends[member]
        assert end.weights is not None
        assert_is(end.weights, loop.model)
        last = rows[member][-1]
        assert last["test/loss"] == pytest.approx(loop.test_loss(loop.model), rel=1e-10)
        expected = ["ema"] * (one.training.ema > 0) + ["swa"] * (loop.swa is not None)
        assert list(end.averages) == expected


@pytest.mark.parametrize("model", ["mlp", "cnn"])
def test_averages_are_torchs_with_statistics_brought_up_by_update_bn(model: str) -> None:
    changes = {} if model == "mlp" else {"model": {"name": "cnn", "channels": [3], "norm": "batch"}}
    configs = [
        config(
            optimizer={"name": "sgd", "lr": 0.05, "momentum": 0.5, "sam": 0.1 * (k % 2)},
            training={
                "ema": 0.9 + 0.02 * k,
                "swa": {"start": 3 + k, "every": 1 + k % 3, "lr": [None, 0.02][k % 2]},
            },
            seed=k,
            **changes,
        )
        for k in range(4)
    ]
    rows, ends = train(configs)
    for member, one in enumerate(configs):
        loop, end, last = PlainLoop(one), ends[member], rows[member][-1]
        assert end.weights is not None and loop.swa is not None and loop.torch_ema is not None
        assert_is(end.weights, loop.model)
        for label, reference in (("ema", loop.ema()), ("swa", loop.refreshed(loop.swa.module))):
            assert_is(end.averages[label], reference)
            assert last[f"{label}/test/loss"] == pytest.approx(loop.test_loss(reference), rel=1e-10)
        # torch's own moving average is this one, with what is left of its start.
        left = one.training.ema ** (one.training.epochs * loop.feed.steps_per_epoch)
        for (name, torchs), first in zip(
            loop.torch_ema.module.named_parameters(), loop.first, strict=True
        ):
            mine = (1 - left) * end.averages["ema"][name] + left * first
            torch.testing.assert_close(mine, torchs, rtol=1e-10, atol=1e-12)


def test_swa_is_reported_from_its_first_point_on_and_ema_from_the_start() -> None:
    one = config(training={"epochs": 5, "ema": 0.5, "swa": {"start": 0.5, "every": 2}})
    rows, ends = train([one])
    assert ["swa/test/loss" in row for row in rows[0]] == [False, False, True, True, True]
    assert all("ema/train/accuracy" in row for row in rows[0])
    assert rows[0][3]["swa/test/loss"] == rows[0][2]["swa/test/loss"] == rows[0][2]["test/loss"]
    assert rows[0][4]["swa/test/loss"] not in (rows[0][2]["test/loss"], rows[0][4]["test/loss"])
    assert set(ends[0].averages) == {"ema", "swa"}


NOISY = {"name": "mlp", "hidden": [8, 6], "dropout": [0.2, 0.4], "input_dropout": 0.1}
NORMED = {"name": "cnn", "channels": [3], "norm": "batch", "hidden": [5], "dropout": 0.2}
SEVEN: dict[str, list[dict[str, Any]]] = {
    "clipping, adam, elastic net": [
        {
            "model": NOISY,
            "optimizer": {"name": "adam", "lr": 1e-3 * (k + 1), "weight_decay": 1e-3 * k},
            "penalty": {"type": "elastic_net", "strength": 1e-3 * k},
            "training": {"epochs": 3, "clip_norm": None if k % 3 == 0 else 0.1 * k,
                         "clip_value": None if k % 2 else 0.005 * (k + 1)},
            "seed": k // 2,
        }
        for k in range(7)
    ],
    "sam, dropout, momentum, l1": [
        {
            "model": NOISY,
            "optimizer": {"name": "sgd", "lr": 0.05, "momentum": 0.1 * k, "sam": 0.05 * (k % 4)},
            "penalty": {"type": "l1", "strength": 1e-3 * k},
            "training": {"epochs": 3},
            "seed": k,
        }
        for k in range(7)
    ],
    "all, batch norm, adamw, cosine": [
        {
            "model": NORMED,
            "optimizer": {"name": "adamw", "lr": 0.01, "weight_decay": 0.1 * k, "sam": 0.02 * k,
                          "eps": 1e-3},
            "schedule": "cosine",
            "training": {"epochs": 3, "clip_norm": 0.5 + k, "ema": 0.1 * k,
                         "swa": None if k % 3 == 0 else
                         {"start": 1 + k % 2, "every": 1 + k % 3, "lr": 0.005 if k % 2 else None}},
            "seed": k // 2,
        }
        for k in range(7)
    ],
    "lookahead, batch norm, rmsprop, constraints": [
        {
            "model": NORMED,
            "optimizer": {"name": "rmsprop", "lr": 1e-3, "eps": 1e-3, "sam": 0.05 * (k % 2),
                          "lookahead": None if k == 1 else {"k": 1 + k, "alpha": 0.2 + 0.1 * k}},
            "constraints": {"type": "max_norm", "limit": 0.5} if k % 3 else [],
            "training": {"epochs": 3, "ema": 0.1 * k},
            "seed": k // 2,
        }
        for k in range(7)
    ],
    "averages under early stopping, dropout": [
        {
            "model": NOISY,
            "optimizer": {"name": "sgd", "lr": [3.0, 0.05][k % 2], "momentum": 0.5},
            "training": {"epochs": 6, "ema": 0.9, "swa": {"start": 2},
                         "early_stopping": {"metric": "test/loss", "patience": 1 + k // 3}},
            "seed": k,
        }
        for k in range(7)
    ],
}  # fmt: skip


def seven(case: str) -> list[Config]:
    return [config(**changes) for changes in SEVEN[case]]


@pytest.mark.parametrize("case", SEVEN)
def test_seven_together_are_seven_alone(case: str) -> None:
    configs = seven(case)
    rows, ends = train(configs)
    for member, one in enumerate(configs):
        alone_rows, alone_ends = train([one])
        assert len(rows[member]) == len(alone_rows[0])
        for mine, alone in zip(rows[member], alone_rows[0], strict=True):
            assert mine == pytest.approx(alone, rel=1e-9, abs=1e-11)
        assert_same_networks(ends[member], alone_ends[0], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("stop_at", [1, 4, 6, 9, 12])
@pytest.mark.parametrize("case", SEVEN)
def test_a_resumed_engine_is_bitwise_the_undisturbed_one(case: str, stop_at: int) -> None:
    configs = seven(case)
    dataset = dataset_of(configs[0])
    whole, whole_ends = collect(Engine(configs, dataset, CPU))
    first = Engine(configs, dataset, CPU)
    events, ended = first.run(), set[int]()
    while first.step < stop_at:
        event = next(events)
        if isinstance(event, MemberEnd):
            ended.add(event.member)
    tensors, numbers = first.state_dict()
    second = Engine(configs, dataset, CPU)
    second.load_state_dict(tensors, numbers)
    rest, rest_ends = collect(second)
    assert set(rest_ends) == set(range(7)) - ended
    for member in rest_ends:
        assert rest[member] == whole[member][len(whole[member]) - len(rest[member]) :]
        assert_same_networks(rest_ends[member], whole_ends[member], rtol=0, atol=0)


@pytest.mark.parametrize("case", SEVEN)
def test_pruned_members_leave_and_the_others_go_on_as_they_would_have(case: str) -> None:
    configs = seven(case)
    rows, ends = train(configs)
    engine = Engine(configs, dataset_of(configs[0]), CPU)
    seen: dict[int, MemberEnd] = {}
    last: dict[int, Row] = {}
    for event in engine.run():
        if isinstance(event, Evaluation):
            last |= event.rows
            if event.epoch == 1:
                engine.prune([1, 2, 6])
        elif isinstance(event, MemberEnd):
            seen[event.member] = event
    for member in (0, 3, 4, 5):
        assert last[member] == pytest.approx(rows[member][-1], rel=1e-9, abs=1e-11)
        assert_same_networks(seen[member], ends[member], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("model", [NOISY, NORMED])
def test_a_member_does_not_feel_what_acts_on_its_neighbours(model: dict[str, Any]) -> None:
    def stack(on: bool) -> list[Config]:
        extra = {"clip_norm": 0.1, "clip_value": 0.01, "ema": 0.9, "swa": {"start": 2, "lr": 0.01}}
        more = {"sam": 0.3, "lookahead": {"k": 2}}
        return [
            config(
                model=model,
                optimizer={"name": "sgd", "lr": 0.1, **(more if on and k else {})},
                training={"epochs": 3, **(extra if on and k else {})},
                seed=k // 2,
            )
            for k in range(4)
        ]

    rows, ends = train(stack(on=True))
    plain, plain_ends = train(stack(on=False))
    assert rows[0] == plain[0]
    assert_same_networks(ends[0], plain_ends[0], rtol=0, atol=0)
    for member in (1, 2, 3):
        assert rows[member][0]["train/loss"] != plain[member][0]["train/loss"]


def test_what_is_stored_with_the_best_epoch_is_the_average_of_that_epoch() -> None:
    stopping = {"metric": "test/loss", "patience": 3}
    one = config(
        model=NORMED,
        optimizer={"name": "sgd", "lr": 0.5, "momentum": 0.9},
        training={"epochs": 30, "ema": 0.8, "swa": {"start": 1}, "early_stopping": stopping},
    )
    _, ends = train([one])
    best_row = ends[0].best_row
    assert best_row is not None and ends[0].status == "stopped"
    short = one.training.model_copy(update={"epochs": best_row["epoch"], "early_stopping": None})
    rows, expected = train([one.model_copy(update={"training": short})])
    assert rows[0][-1] == best_row
    assert_same_networks(ends[0], expected[0], rtol=0, atol=0)


def test_a_lookahead_all_the_way_is_the_optimizer_alone() -> None:
    base = {"name": "adam", "lr": 0.01}
    there = config(optimizer={**base, "lookahead": {"k": 3, "alpha": 1.0}})
    rows, _ = train([there])
    assert rows == train([config(optimizer=base)])[0]
    halfway = config(optimizer={**base, "lookahead": {"k": 3}})
    assert train([halfway])[0] != rows
