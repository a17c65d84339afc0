"""The metric `objective` is what a written-out training loop minimizes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from regrun.config.schema import Config
from regrun.kinds.models import build_model
from regrun.seeding import derive
from regrun.stack import Noise, StreamNoise
from regrun.training.batches import epoch_order
from regrun.training.objective import follows_from_weights
from tests.support.engines import CPU, config_of, dataset_of, train

BASE: dict[str, Any] = {
    "dataset": {"name": "digits", "num_train": 50, "num_test": 20},
    "model": {"name": "mlp", "hidden": [8]},
    "optimizer": {"name": "sgd", "lr": 0.1},
    "training": {"epochs": 3, "batch_size": 16, "precision": "float64"},
}


def config(**changes: Any) -> Config:
    return config_of(BASE, changes, "dataset", "model", "training", "optimizer")


@dataclass
class Loop:
    """Training with plain torch: masks, initial weights and order of examples are those of regrun.

    smoothing, dropout, decay: ε, p, and λ on all weights.
    """

    one: Config
    smoothing: float = 0.0
    dropout: float = 0.0
    decay: float = 0.0
    losses: list[list[tuple[float, int]]] = field(default_factory=list)
    """Of each epoch, mean loss and size of each batch as it was trained on."""
    states: list[dict[str, Tensor]] = field(default_factory=list)
    """The network after each epoch."""

    def run(self) -> Loop:
        data, seed = dataset_of(self.one), self.one.seed
        x, y = data.features(data.train.inputs, torch.float64), data.train.targets
        model = build_model(self.one.model, data.input_shape, 10, derive(seed, "init")).double()
        optimizer = torch.optim.SGD(
            [
                {"params": [p], "weight_decay": self.decay * name.endswith("weight")}
                for name, p in model.named_parameters()
            ],
            lr=0.1,
        )
        noise = StreamNoise([seed], CPU)
        for epoch in range(self.one.training.epochs):
            self.losses.append([])
            for rows in torch.split(epoch_order([seed], epoch, len(x))[0], 16):
                loss = self.loss(self.outputs(model, x[rows], noise), y[rows])
                optimizer.zero_grad()
                torch.autograd.backward(loss)
                optimizer.step()
                self.losses[-1].append((loss.item(), len(rows)))
            self.states.append({name: t.clone() for name, t in model.state_dict().items()})
        return self

    def outputs(self, model: nn.Module, x: Tensor, noise: Noise) -> Tensor:
        model.train()
        if not self.dropout:
            outputs: Tensor = model(x)
            return outputs
        hidden, output = model.get_submodule("hidden.0.linear"), model.get_submodule("output")
        h = hidden(x.flatten(1)).relu()
        kept = noise.uniform("hidden.0.dropout", h.shape)[0] >= self.dropout
        masked: Tensor = output(h * kept / (1 - self.dropout))
        return masked

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(outputs, targets, label_smoothing=self.smoothing)

    def at_these_weights(self, epoch: int) -> float:
        """The loss of all training examples, without noise."""
        data = dataset_of(self.one)
        model = build_model(self.one.model, data.input_shape, 10, 0).double()
        model.load_state_dict(self.states[epoch])
        outputs = model.eval()(data.features(data.train.inputs, torch.float64))
        return self.loss(outputs, data.train.targets).item()

    def as_trained(self, *epochs: int) -> float:
        """The mean over the examples of these epochs."""
        batches = [batch for epoch in epochs for batch in self.losses[epoch]]
        return sum(loss * count for loss, count in batches) / sum(count for _, count in batches)

    def half_squares(self, epoch: int) -> float:
        weights = [t for name, t in self.states[epoch].items() if name.endswith("weight")]
        return sum(0.5 * weight.square().sum().item() for weight in weights)


def objectives(*configs: Config) -> list[list[float]]:
    rows = train(configs)[0]
    return [[row["objective"] for row in rows[member]] for member in range(len(configs))]


def test_label_smoothing_and_coupled_decay_are_in_it_at_the_weights_of_the_evaluation() -> None:
    one = config(augment={"label_smoothing": 0.2}, optimizer={"weight_decay": 0.1})
    loop = Loop(one, smoothing=0.2, decay=0.1).run()
    expected = [loop.at_these_weights(i) + 0.1 * loop.half_squares(i) for i in range(3)]
    assert objectives(one)[0] == pytest.approx(expected, rel=1e-11)
    (rows,) = train([one])[0].values()
    assert all(row["objective"] > 1.05 * row["train/loss"] for row in rows)


def test_with_dropout_it_is_the_mean_over_the_batches_as_they_were_trained_on() -> None:
    one = config(
        model={"dropout": 0.5},
        augment={"label_smoothing": 0.1},
        optimizer={"weight_decay": 0.1},
    )
    loop = Loop(one, smoothing=0.1, dropout=0.5, decay=0.1).run()
    expected = [loop.as_trained(i) + 0.1 * loop.half_squares(i) for i in range(3)]
    assert objectives(one)[0] == pytest.approx(expected, rel=1e-11)


def test_batch_norm_sees_the_batch_so_that_the_batches_count() -> None:
    one = config(model={"norm": "batch"})
    loop = Loop(one).run()
    assert objectives(one)[0] == pytest.approx([loop.as_trained(i) for i in range(3)], rel=1e-11)


def test_the_batches_since_the_last_evaluation_count() -> None:
    one = config(model={"dropout": 0.5}, training={"evaluate_every": 2})
    loop = Loop(one, dropout=0.5).run()
    assert objectives(one)[0] == pytest.approx([loop.as_trained(0, 1), loop.as_trained(2)])


@pytest.mark.parametrize("decay", ["decoupled", "decoupled_schedule"])
def test_decoupled_decay_is_no_term_of_it(decay: str) -> None:
    one = config(optimizer={"weight_decay": 0.1, "decay": decay})
    (rows,) = train([one])[0].values()
    assert all(row["objective"] == row["train/loss"] for row in rows)


def test_coupled_decay_is_the_l2_penalty_of_the_parameters_that_it_is_on() -> None:
    for chosen in (["weight"], ["weight", "bias"], ["output.*"]):
        decayed = config(optimizer={"weight_decay": 0.1, "decay_on": chosen})
        penalized = config(penalty={"type": "l2", "strength": 0.1, "apply_to": chosen})
        (one,), (other,) = objectives(decayed), objectives(penalized)
        assert one == pytest.approx(other, rel=1e-11)


def test_each_member_of_a_stack_has_its_own() -> None:
    """Without noise, at the weights; with noise, over the batches."""
    models: list[dict[str, Any]] = [{"dropout": 0.5}, {"dropout": 0.0}, {"dropout": 0.3}]
    configs = [
        config(model=model, optimizer={"weight_decay": 0.1 * k}, seed=k)
        for k, model in enumerate(models)
    ]
    together = objectives(*configs)
    for one, found in zip(configs, together, strict=True):
        assert found == pytest.approx(objectives(one)[0], rel=1e-9)
    quiet = Loop(configs[1], decay=0.1).run()
    expected = [quiet.at_these_weights(i) + 0.1 * quiet.half_squares(i) for i in range(3)]
    assert together[1] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("changes", "follows"),
    [
        ({}, True),
        ({"augment": {"label_smoothing": 0.2}}, True),
        ({"augment": {"mixup": 0.2}}, False),
        ({"augment": {"flip": 0.5}}, False),
        ({"model": {"dropout": 0.1}}, False),
        ({"model": {"dropout": 0.1, "dropout_type": "gaussian"}}, False),
        ({"model": {"input_noise": 0.1}}, False),
        ({"model": {"drop_connect": 0.1}}, False),
        ({"model": {"norm": "layer"}}, True),
        ({"model": {"norm": "batch"}}, False),
    ],
)
def test_what_else_than_the_weights_decides_a_training_loss(
    changes: dict[str, Any], follows: bool
) -> None:
    one = config(**changes)
    module = build_model(one.model, (1, 8, 8), 10, seed=None)
    assert follows_from_weights(one, module) == follows
