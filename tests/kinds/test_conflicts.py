"""What penalties, optimizers and models cannot be combined with, and how they say so."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from regrun.config.load import config_from_mapping
from regrun.config.schema import Config
from regrun.config.training import EarlyStopping
from regrun.errors import ConfigError, Problem
from regrun.kinds.penalties import L2

BASE: dict[str, Any] = {
    "dataset": {"name": "digits"},
    "model": {"name": "mlp", "hidden": [8]},
    "optimizer": {"name": "sgd", "lr": 0.1},
}
VALIDATED = {**BASE, "dataset": {"name": "digits", "validation": 10}}
FULL = {"batch_size": "full"}
LINEAR = {"name": "linear"}
FISTA = {"name": "fista"}
PROXIMAL = {"type": "l1", "strength": 0.1, "method": "proximal"}


def problems(**keys: Any) -> list[str]:
    """Each problem as `path: message`; none for a config that is fine."""
    try:
        config_from_mapping({**BASE, **keys})
    except ConfigError as error:
        return [f"{'.'.join(map(str, p.path))}: {p.message}" for p in error.problems]
    return []


@pytest.mark.parametrize("name", ["adam", "adamw", "rmsprop", "adagrad"])
@pytest.mark.parametrize("kind", ["l1", "elastic_net", "mcp", "scad", "group_lasso"])
def test_a_proximal_step_needs_an_optimizer_that_allows_it(name: str, kind: str) -> None:
    penalty = {"type": kind, "strength": 0.1, "method": "proximal"}
    (problem,) = problems(penalty=penalty, optimizer={"name": name, "lr": 0.1})
    assert problem == (
        f"penalty.method: proximal needs optimizer sgd or fista; with {name} use gradient"
    )
    assert problems(penalty=penalty) == []
    assert problems(penalty=penalty, optimizer={"name": "sgd", "lr": 0.1, "momentum": 0.9}) == []


def test_the_place_is_that_of_the_penalty_in_its_list() -> None:
    gradient = {"type": "l2", "strength": 0.1}
    adam = {"name": "adam", "lr": 0.1}
    (problem,) = problems(penalty=[gradient, PROXIMAL], optimizer=adam)
    assert problem.startswith("penalty.1.method: proximal needs")


@pytest.mark.parametrize("kind", ["l2", "orthogonal", "spectral", "activity_l1", "activity_l2"])
def test_penalties_without_a_proximal_step_say_so(kind: str) -> None:
    (problem,) = problems(penalty={"type": kind, "strength": 0.1, "method": "proximal"})
    assert problem == """penalty.method: 'proximal' is not "gradient\""""


@pytest.mark.parametrize(
    "keys", [{"momentum": 0.9, "nesterov": True}, {"momentum": 0.9, "dampening": 0.5}]
)
def test_momentum_that_would_move_the_minimum_is_refused(keys: dict[str, Any]) -> None:
    (problem,) = problems(penalty=PROXIMAL, optimizer={"name": "sgd", "lr": 0.1, **keys})
    assert problem.startswith(f"penalty.method: proximal with {list(keys)[1]} would not end at")


def test_fista_takes_full_batches_and_no_kinks_in_its_gradient() -> None:
    fista = {"name": "fista", "lr": 0.1}
    assert problems(optimizer=fista, training=FULL, penalty=PROXIMAL) == []
    (problem,) = problems(optimizer=fista)
    assert problem.startswith("training.batch_size: 32: fista needs full")
    (problem,) = problems(optimizer=fista, training=FULL, penalty={"type": "l1", "strength": 1})
    assert problem.startswith("penalty.method: gradient: fista needs one everywhere, and l1 has")


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"penalty": [PROXIMAL, {"type": "l2", "strength": 0.1}]},
        {"augment": {"label_smoothing": 0.1}},
        {"optimizer": {"name": "fista", "weight_decay": 0.1, "decay": "decoupled"}},
    ],
)
def test_fista_knows_its_step_for_linear_models(keys: dict[str, Any]) -> None:
    assert problems(**{"model": LINEAR, "optimizer": FISTA, "training": FULL, **keys}) == []


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ({"model": {"name": "mlp"}}, "for linear models, not for mlp"),
        ({"model": {"name": "linear", "input_dropout": 0.2}}, "without noise in the inputs"),
        ({"model": {"name": "linear", "input_noise": 0.2}}, "without noise in the inputs"),
        ({"augment": {"mixup": 0.2}}, "without noise in the inputs"),
        ({"training": {**FULL, "clip_norm": 1.0}}, "of the plain gradient"),
        ({"optimizer": {"name": "fista", "sam": 0.1}}, "of the plain gradient"),
        ({"penalty": {"type": "spectral", "strength": 1}}, "not of spectral"),
        (
            {"optimizer": {"name": "fista", "weight_decay": 1, "decay": "decoupled_schedule"}},
            "decoupled_schedule",
        ),
    ],
)
def test_where_fista_cannot_know_its_step_an_lr_is_asked_for(
    keys: dict[str, Any], why: str
) -> None:
    whole = {"model": LINEAR, "optimizer": FISTA, "training": FULL, **keys}
    (problem,) = problems(**whole)
    assert problem.startswith("optimizer.lr: missing: fista only knows 1/L") and why in problem
    assert problem.endswith("give an lr")
    assert problems(**{**whole, "optimizer": {**whole["optimizer"], "lr": 0.1}}) == []


@pytest.mark.parametrize("kind", ["activity_l1", "activity_l2"])
@pytest.mark.parametrize(
    ("model", "why"),
    [
        (LINEAR, "linear has no hidden layer"),
        ({"name": "mlp", "hidden": []}, "mlp has no hidden layer"),
        ({"name": "resnet18"}, "resnet18 comes from torchvision and hands over its outputs only"),
    ],
)
def test_activity_penalties_need_hidden_activations(
    model: dict[str, Any], why: str, kind: str
) -> None:
    (problem,) = problems(model=model, penalty={"type": kind, "strength": 0.1})
    assert problem == f"penalty.type: {kind} needs hidden activations; {why}"
    for fitting in ({"name": "cnn"}, {"name": "mlp"}):
        assert problems(model=fitting, penalty={"type": kind, "strength": 0.1}) == []


def test_activity_penalties_choose_no_parameters() -> None:
    penalty = {"type": "activity_l1", "strength": 0.1, "apply_to": "weight"}
    assert problems(penalty=penalty) == [
        "penalty.apply_to: activity_l1 has no such key; l1, l2 and 7 more have it"
    ]


def test_outgoing_weights_are_unknown_in_torchvision_networks() -> None:
    penalty = {"type": "group_lasso", "strength": 0.1, "groups": "out"}
    (problem,) = problems(model={"name": "resnet18"}, penalty=penalty)
    assert problem.startswith("penalty.groups: out: where convolutions are grouped")


def test_paths_of_conflicts_start_at_their_section(monkeypatch: pytest.MonkeyPatch) -> None:
    def of_penalty(self: L2, config: Config) -> Iterator[Problem]:
        if config.model.kind == "mlp":
            yield Problem(("half",), f"no {self.type} with mlp")

    def of_stopping(self: EarlyStopping, config: Config) -> Iterator[Problem]:
        yield Problem((), f"no patience of {self.patience}")

    monkeypatch.setattr(L2, "conflicts", of_penalty)
    monkeypatch.setattr(EarlyStopping, "conflicts", of_stopping)
    penalties = [{"type": "l1", "strength": 1}, {"type": "l2", "strength": 1}]
    with pytest.raises(ConfigError) as caught:
        config_from_mapping(
            {**VALIDATED, "penalty": penalties, "training": {"early_stopping": {"patience": 3}}}
        )
    assert [(problem.path, problem.message) for problem in caught.value.problems] == [
        (("penalty", 1, "half"), "no l2 with mlp"),
        (("training", "early_stopping"), "no patience of 3"),
    ]
    config_from_mapping({**VALIDATED, "model": {"name": "linear"}, "penalty": penalties})


@pytest.mark.parametrize(
    ("metric", "problem"),
    [
        ("test/loss", "test/loss: the learning rate must not follow the test set; use val/loss or"),
        ("ema/test/accuracy", "use ema/val/accuracy or ema/train/accuracy"),
        ("val/loss", "val/loss needs dataset.validation"),
        ("ema/train/loss", "ema/train/loss needs training.ema"),
        ("train/rmse", "train/rmse needs numbers to predict"),
        ("train/f1", "train/f1 needs metrics: [f1]"),
    ],
)
def test_a_plateau_says_what_its_metric_needs(metric: str, problem: str) -> None:
    found = problems(schedule={"type": "plateau", "metric": metric})
    assert any(each.startswith("schedule.metric: ") and problem in each for each in found)
    assert problems(schedule="plateau") == problems(schedule={"type": "plateau"}) == []


def test_lookahead_needs_weights_that_may_be_means() -> None:
    slow = {"name": "sgd", "lr": 0.1, "lookahead": {}}
    assert problems(optimizer=slow, penalty={**PROXIMAL, "method": "gradient"}) == []
    (problem,) = problems(optimizer=slow, penalty=PROXIMAL)
    assert problem.startswith("optimizer.lookahead: slow weights are means, and those of l1's")
    (problem,) = problems(
        optimizer={**FISTA, "lr": 0.1, "lookahead": {}}, training=FULL, model=LINEAR
    )
    assert problem.startswith("optimizer.lookahead: fista has a momentum of its own")


def test_r_drop_needs_classes() -> None:
    assert problems(training={"r_drop": {}}) == []
    assert problems(dataset={"name": "diabetes"}, training={"r_drop": {"alpha": 2.0}}) == [
        "training.r_drop: needs classes; diabetes is regression"
    ]


def test_manifold_mixup_needs_hidden_layers_and_mixes_alone() -> None:
    on = {"manifold_mixup": 0.5}
    assert problems(augment=on) == []
    (problem,) = problems(augment=on, model=LINEAR)
    assert problem == "augment.manifold_mixup: 0.5 needs hidden layers; linear has no hidden layer"
    (problem,) = problems(augment=on, model={"name": "resnet18"})
    assert problem.endswith("resnet18 comes from torchvision and hands over its outputs only")
    (problem,) = problems(augment={**on, "mixup": 0.1})
    assert problem.endswith("which may be the input; set mixup and cutmix to 0")
