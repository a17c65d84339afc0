"""R-Drop: the published loss, two draws of the noise, and the engine's promises."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Bernoulli, kl_divergence

from regrun.config.schema import Config
from regrun.errors import ConfigError
from regrun.kinds.models import build_model
from regrun.kinds.r_drop import RDrop
from regrun.nn.class_scores import class_scores
from regrun.seeding import derive
from regrun.stack import StreamNoise
from regrun.sweeps.planning import structure
from regrun.training.batches import BatchSampler
from regrun.training.engine import Engine
from regrun.training.events import MemberEnd
from tests.support.engines import CPU, collect, config_of, dataset_of, train

BASE: dict[str, Any] = {
    "dataset": {"name": "digits", "num_train": 60, "num_test": 40},
    "model": {"name": "mlp", "hidden": [8], "dropout": 0.4},
    "optimizer": {"name": "sgd", "lr": 0.2},
    "training": {"epochs": 4, "batch_size": 16, "precision": "float64", "r_drop": {"alpha": 0.7}},
}


def config(**changes: Any) -> Config:
    return config_of(BASE, changes, "training", "optimizer")


def compute_kl_loss(p: Tensor, q: Tensor) -> Tensor:
    """The function of this name in the authors' repository, dropreg/R-Drop, without padding."""
    p_loss = F.kl_div(F.log_softmax(p, dim=-1), F.softmax(q, dim=-1), reduction="none")
    q_loss = F.kl_div(F.log_softmax(q, dim=-1), F.softmax(p, dim=-1), reduction="none")
    return (p_loss.sum() + q_loss.sum()) / 2


def test_the_divergence_is_that_of_the_published_code() -> None:
    source = torch.Generator().manual_seed(0)
    p, q = (3 * torch.randn(2, 5, 4, dtype=torch.float64, generator=source) for _ in range(2))
    each = RDrop.divergence(p, q)
    assert each.shape == (2, 5)
    torch.testing.assert_close(each.sum(), compute_kl_loss(p, q), rtol=1e-12, atol=1e-12)
    assert torch.equal(RDrop.divergence(p, p), torch.zeros(2, 5, dtype=torch.float64))
    certain = torch.tensor([[0.0, -2000.0]], dtype=torch.float64)
    assert RDrop.divergence(certain, certain.flip(-1)).isfinite().all()


def test_the_divergence_of_single_logits_is_that_of_bernoulli_variables() -> None:
    source = torch.Generator().manual_seed(0)
    a, b = (3 * torch.randn(9, 1, dtype=torch.float64, generator=source) for _ in range(2))
    p, q = Bernoulli(logits=a), Bernoulli(logits=b)
    expected = 0.5 * (kl_divergence(p, q) + kl_divergence(q, p)).squeeze(-1)
    torch.testing.assert_close(RDrop.divergence(class_scores(a), class_scores(b)), expected)


class PlainLoop:
    """One run as the authors' README writes it; dropout draws from the member's streams."""

    def __init__(self, one: Config) -> None:
        dataset, training = dataset_of(one), one.training
        assert training.r_drop is not None
        self.noise = StreamNoise([one.seed], CPU)
        self.rate = one.model.model_dump()["dropout"]
        feed = BatchSampler(dataset, training.batch_size, torch.float64)
        feed.set_members([one.seed])
        model = build_model(one.model, dataset.input_shape, 10, derive(one.seed, "init"))
        self.model = model.double()
        optimizer = torch.optim.SGD(self.model.parameters(), lr=one.optimizer.lr or 0.0)
        for step in range(training.epochs * feed.steps_per_epoch):
            x, label = (tensor[0] for tensor in feed(step))
            logits, logits2 = self.forward(x), self.forward(x)
            ce_loss = 0.5 * (F.cross_entropy(logits, label) + F.cross_entropy(logits2, label))
            kl_loss = compute_kl_loss(logits, logits2) / len(x)
            loss = ce_loss + training.r_drop.alpha * kl_loss
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.model.get_submodule("hidden.0.linear")(x.flatten(1)).relu()
        kept = self.noise.uniform("hidden.0.dropout", hidden.shape)[0] >= self.rate
        out: Tensor = self.model.get_submodule("output")(hidden * kept / (1 - self.rate))
        return out


def test_each_member_is_a_plain_loop_of_the_published_code() -> None:
    configs = [
        config(
            seed=k,
            model={"name": "mlp", "hidden": [8], "dropout": 0.1 + 0.2 * k},
            training={"r_drop": {"alpha": 2.0 * k}},
        )
        for k in range(4)
    ]
    _, ends = train(configs)
    for member, one in enumerate(configs):
        weights = ends[member].weights
        assert weights is not None
        for name, tensor in PlainLoop(one).model.state_dict().items():
            torch.testing.assert_close(weights[name], tensor, rtol=1e-10, atol=1e-12)


def test_without_noise_it_changes_nothing_but_rounding() -> None:
    quiet = {"name": "mlp", "hidden": [8]}
    activity = {"type": "activity_l1", "strength": 0.01}
    plain = config(model=quiet, penalty=activity, training={"r_drop": None})
    twice = config(model=quiet, penalty=activity, training={"r_drop": {"alpha": 5.0}})
    expected, ends = train([plain])[1][0].weights, train([twice])[1][0].weights
    assert expected is not None and ends is not None
    for name, tensor in expected.items():
        torch.testing.assert_close(ends[name], tensor, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    "model",
    [
        {"name": "mlp", "hidden": [8], "drop_connect": 0.3},
        {"name": "mlp", "hidden": [8], "input_noise": 0.5},
        {"name": "cnn", "channels": [3], "hidden": [5], "conv_dropout": 0.2,
         "dropout_type": "drop_block", "block_size": 2},
    ],
)  # fmt: skip
def test_the_two_passes_differ_for_every_kind_of_noise(model: dict[str, Any]) -> None:
    without, strong = (
        config(model=model, training={"epochs": 1, "r_drop": {"alpha": alpha}})
        for alpha in (0.0, 50.0)
    )
    assert train([without])[0] != train([strong])[0]


SEVEN: dict[str, list[dict[str, Any]]] = {
    "dropout, sam, mixup, label smoothing, activity": [
        {
            "optimizer": {"sam": 0.05 * (k % 2), "lookahead": {"k": 3} if k % 3 else None},
            "augment": {"mixup": 0.2 * k, "label_smoothing": 0.05 * k},
            "penalty": {"type": "activity_l1", "strength": 1e-3 * k},
            "training": {"r_drop": {"alpha": 0.5 * k}},
            "seed": k // 2,
        }
        for k in range(7)
    ],
    "two classes, one logit, input noise": [
        {
            "dataset": {"name": "breast_cancer", "num_train": 60, "num_test": 40},
            "model": {"name": "mlp", "hidden": [6], "input_noise": 0.1 * k},
            "training": {"r_drop": {"alpha": 1.0 * k}},
            "seed": k,
        }
        for k in range(7)
    ],
    "cnn with batch norm and drop-block": [
        {
            "model": {"name": "cnn", "channels": [3], "norm": "batch", "hidden": [5],
                      "conv_dropout": 0.1 * k, "dropout_type": "drop_block", "block_size": 2},
            "optimizer": {"name": "adam", "lr": 0.01, "eps": 1e-3},
            "training": {"r_drop": {"alpha": 0.5 * k}, "ema": 0.9},
            "seed": k // 2,
        }
        for k in range(7)
    ],
}  # fmt: skip


@pytest.mark.parametrize("case", SEVEN)
def test_seven_together_are_seven_alone(case: str) -> None:
    configs = [config(**changes) for changes in SEVEN[case]]
    rows, ends = train(configs)
    for member, one in enumerate(configs):
        alone_rows, alone = train([one])
        for mine, expected in zip(rows[member], alone_rows[0], strict=True):
            assert mine == pytest.approx(expected, rel=1e-9, abs=1e-11)
        assert ends[member].weights is not None
        torch.testing.assert_close(ends[member].weights, alone[0].weights, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("case", SEVEN)
def test_a_resumed_engine_is_bitwise_the_undisturbed_one(case: str) -> None:
    configs = [config(**changes) for changes in SEVEN[case]]
    dataset = dataset_of(configs[0])
    whole: dict[int, MemberEnd] = train(configs)[1]
    first = Engine(configs, dataset, CPU)
    events = first.run()
    while first.step < 6:
        next(events)
    second = Engine(configs, dataset, CPU)
    second.load_state_dict(*first.state_dict())
    for member, end in collect(second)[1].items():
        expected = whole[member].weights
        assert end.weights is not None and expected is not None
        assert all(torch.equal(end.weights[name], tensor) for name, tensor in expected.items())


def test_members_with_and_without_it_do_not_share_a_stack_and_alphas_do() -> None:
    without = config(training={"r_drop": None})
    assert structure(config()) != structure(without)
    assert structure(config()) == structure(config(training={"r_drop": {"alpha": 3.0}}))


def test_it_needs_classes() -> None:
    numbers = config(dataset={"name": "diabetes"})
    with pytest.raises(ConfigError, match="r_drop: needs classes, and diabetes has numbers here"):
        Engine([numbers], dataset_of(numbers), CPU)
