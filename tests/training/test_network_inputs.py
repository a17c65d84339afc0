"""Penalties on inputs that a config names: found in the data, and against NumPy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from regrun.config.load import config_from_mapping, load_config
from regrun.config.schema import Config
from regrun.errors import ConfigError
from regrun.execution.describe import describe
from regrun.kinds.penalties import GroupLasso
from regrun.results import Inspection
from regrun.training.engine import Engine
from regrun.training.network_inputs import with_input_positions
from tests.support.engines import CPU, dataset_of, train

Array = NDArray[np.float64]

TABLE = """\
age,town,income,floor,price
31,Rome,1.5,first,3
42,Paris,2.5,second,4
25,Oslo,0.5,first,1
61,Rome,3.5,third,6
38,Paris,1.0,second,3
54,Oslo,2.0,third,5
29,Rome,0.7,first,2
47,Paris,3.1,third,5
"""
NAMES = ("age", "income", "town=Oslo", "town=Paris", "town=Rome", "floor=first", "floor=second",
         "floor=third")  # fmt: skip


@pytest.fixture
def table(tmp_path: Path) -> dict[str, Any]:
    path = tmp_path / "prices.csv"
    path.write_text(TABLE)
    return {
        "dataset": {"name": "csv", "path": str(path), "target": "price", "test": 2},
        "model": {"name": "linear"},
        "optimizer": {"name": "sgd", "lr": 0.1},
    }


def grouped(base: Mapping[str, Any], groups: Any, **keys: Any) -> Config:
    penalty = {"type": "group_lasso", "strength": 0.1, "groups": groups, **keys}
    return config_from_mapping({**base, "penalty": penalty}).config


def resolved(config: Config) -> GroupLasso:
    (found,) = with_input_positions([config], dataset_of(config))
    (penalty,) = found.penalty
    assert isinstance(penalty, GroupLasso)
    return penalty


@pytest.mark.parametrize(
    ("groups", "positions"),
    [
        ("columns", [("age",), ("income",), NAMES[2:5], NAMES[5:]]),
        ([["town"], ["age", "income"]], [NAMES[2:5], ("age", "income")]),
        ([["town=Rome", "floor"], ["age"]], [("town=Rome", *NAMES[5:]), ("age",)]),
        ([[0, "town"], [1]], [("age", *NAMES[2:5]), ("income",)]),
    ],
)
def test_columns_stand_for_all_their_one_hot_inputs(
    table: dict[str, Any], groups: Any, positions: list[tuple[str, ...]]
) -> None:
    config = grouped(table, groups)
    names = dataset_of(config).feature_names
    assert sorted(names) == sorted(NAMES)
    penalty = resolved(config)
    assert penalty.apply_to == ("output.weight",)
    found = [tuple(names[int(at)] for at in group) for group in penalty.groups]
    assert found == positions
    assert config.penalty[0].model_dump()["groups"] == (
        groups if groups == "columns" else tuple(map(tuple, groups))
    ), "the config itself keeps what was written"


@pytest.mark.parametrize(
    ("groups", "place", "message"),
    [
        (
            [["town"], ["agee"]],
            "groups.1.0",
            "'agee': no such column or input; did you mean \"age\"?",
        ),
        ([["town", 12]], "groups.0.1", "12: no such input; the 8 inputs are 0 to 7"),
        ([[0, -1]], "groups.0.1", "-1: no such input; the 8 inputs are 0 to 7"),
        ([["town"], ["town=Rome"]], "groups.1.0", "already in a group, as 'town'; groups must not"),
        ([["age", 0]], "groups.0.1", "0: input 0 is already in a group, as 'age'"),
    ],
)
def test_an_input_that_is_not_there_or_twice_is_refused_at_its_place(
    table: dict[str, Any], groups: Any, place: str, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        resolved(grouped(table, groups))
    (problem,) = caught.value.problems
    assert ".".join(map(str, problem.path)) == f"penalty.0.{place}"
    assert message in problem.message


def test_the_place_is_shown_in_the_file(table: dict[str, Any], tmp_path: Path) -> None:
    text = (
        f"dataset: {{name: csv, path: {table['dataset']['path']}, target: price}}\n"
        "model: {name: linear}\n"
        "penalty: {type: group_lasso, strength: 0.1, groups: [[town, agee]]}\n"
        "optimizer: {name: sgd, lr: 0.1}\n"
    )
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"c\.yaml:3:\d+: penalty\.groups\.0\.1: 'agee': no such"):
        describe(load_config(tmp_path / "c.yaml", []))


IMAGES = {
    "dataset": {"name": "digits"},
    "model": {"name": "mlp", "hidden": [4]},
    "optimizer": {"name": "sgd", "lr": 0.1},
}


def test_data_without_names_take_positions_only() -> None:
    assert resolved(grouped(IMAGES, [[0, 63]])).groups == ((0, 63),)
    with pytest.raises(ConfigError, match="have no names; use positions from 0 to 63"):
        resolved(grouped(IMAGES, [["pixel"]]))
    with pytest.raises(ConfigError, match=r"columns: these data are no table; give lists"):
        resolved(grouped(IMAGES, "columns"))


@pytest.mark.parametrize(
    ("changes", "keys", "message"),
    [
        ({"model": {"name": "cnn"}}, {}, "penalty.groups: cnn has no weights for single inputs"),
        ({"model": {"name": "resnet18"}}, {}, "penalty.groups: resnet18 has no weights for single"),
        ({}, {"apply_to": "output.weight"}, "apply_to: [output.weight]: groups names inputs"),
        ({}, {"groups": []}, "penalty.groups: empty; a group needs at least one input"),
        ({}, {"groups": [[0], []]}, "empty; a group needs at least one input"),
        ({}, {"groups": [[0.5]]}, "penalty.groups"),
        ({}, {"groups": "inputs"}, "penalty.groups"),
    ],
)
def test_groups_of_inputs_need_a_dense_first_layer_and_are_its_weights(
    changes: dict[str, Any], keys: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        grouped({**IMAGES, **changes}, **{"groups": [[0, 1]], **keys})
    assert message in str(caught.value)


def test_inspect_says_which_parameter_is_penalised_and_how_many_inputs_are_not(
    table: dict[str, Any],
) -> None:
    table["model"] = {"name": "mlp", "hidden": [3]}
    penalty = {"type": "group_lasso", "strength": 0.1, "groups": [["town"], ["age", "income"]]}
    found = inspected({**table, "penalty": penalty})
    by_name = {parameter.name: parameter for parameter in found.parameters}
    assert by_name["output.weight"].penalties == []
    first = by_name["hidden.0.linear.weight"]
    assert [each["groups"] for each in first.penalties] == ["2 groups"]
    assert (
        "group_lasso: its columns are the inputs, for groups, in 2 groups; 3 of its 8 inputs are "
        "in none" in first.reason
    )
    assert (
        "P = 0.1 Σ_g √|g| ‖w_g‖₂   (group_lasso on [hidden.0.linear.weight], "
        "g: the weights out of the inputs of a group, 2 groups," in found.update_rule
    )
    assert found.config["penalty"][0]["groups"] == [["town"], ["age", "income"]]


def inspected(tree: dict[str, Any]) -> Inspection:
    return describe(config_from_mapping(tree))


# --- against NumPy ------------------------------------------------------------------------------

GROUPS: list[list[int]] = [[0, 3], [1], [2, 5, 6, 8], [4, 7]]  # 9 is free


def norms(w: Array) -> Array:
    """√|g| ‖w_g‖ of each group of columns of a matrix (out, inputs)."""
    return np.array([np.sqrt(w[:, g].size) * np.linalg.norm(w[:, g]) for g in GROUPS])


def lowered(w: Array, amount: float) -> Array:
    """The proximal operator of `amount` times their sum (Yuan & Lin 2006)."""
    result = w.copy()
    for group in GROUPS:
        own = w[:, group]
        norm, bound = np.linalg.norm(own), amount * np.sqrt(own.size)
        result[:, group] = 0 if norm <= bound else own * (1 - bound / norm)
    return result


@pytest.mark.parametrize("outputs", [1, 3])
def test_value_gradient_and_proximal_step_are_numpys(outputs: int) -> None:
    penalty = GroupLasso(
        type="group_lasso", strength=1.0, groups=tuple(map(tuple, GROUPS)), method="proximal"
    )
    w = np.random.default_rng(0).normal(size=(2, outputs, 10))
    weight = torch.tensor(w, requires_grad=True)
    value = penalty.value(weight)
    np.testing.assert_allclose(value.detach(), [norms(own).sum() for own in w], rtol=1e-13)
    assert torch.autograd.gradcheck(penalty.value, weight)
    for amount in (0.1, 0.6, 1.0):
        stepped = torch.tensor(w)
        penalty.prox_(stepped, torch.full((2, 1, 1), amount, dtype=torch.float64))
        expected = np.stack([lowered(own, amount) for own in w])
        np.testing.assert_allclose(stepped, expected, rtol=1e-13, atol=1e-16)
        assert np.array_equal(stepped[:, :, 9], w[:, :, 9])


def test_the_gradient_at_a_group_of_zeros_is_zero() -> None:
    penalty = GroupLasso(type="group_lasso", strength=1.0, groups=tuple(map(tuple, GROUPS)))
    weight = torch.randn(1, 2, 10, dtype=torch.float64)
    weight[:, :, GROUPS[2]] = 0
    weight.requires_grad_()
    (gradient,) = torch.autograd.grad(penalty.value(weight).sum(), weight)
    assert torch.isfinite(gradient).all()
    assert not gradient[:, :, [*GROUPS[2], 9]].any()


def test_each_input_a_group_of_its_own_is_the_word_out() -> None:
    alone = GroupLasso(type="group_lasso", strength=1.0, groups=tuple((i,) for i in range(5)))
    out = GroupLasso(type="group_lasso", strength=1.0, groups="out")
    weight = torch.randn(3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(alone.value(weight), out.value(weight), rtol=1e-14, atol=0)
    first, second = weight.clone(), weight.clone()
    amount = torch.tensor([0.0, 0.4, 1.0], dtype=torch.float64).view(3, 1, 1)
    alone.prox_(first, amount)
    out.prox_(second, amount)
    torch.testing.assert_close(first, second, rtol=1e-14, atol=0)
    assert torch.equal(first[0], weight[0])


def fitted(strength: float, **keys: Any) -> tuple[Array, Config]:
    config = config_from_mapping(
        {
            "dataset": {"name": "diabetes", "standardize_target": False},
            "model": {"name": "linear", "init": "zeros"},
            "loss": "half_mse",
            "penalty": {
                "type": "group_lasso", "strength": strength, "groups": GROUPS, "method": "proximal",
            },
            "optimizer": {"name": "fista"},
            "training": {
                "epochs": 4000, "batch_size": "full", "evaluate_every": 4000,
                "precision": "float64", **keys,
            },
        }
    ).config  # fmt: skip
    _, ends = train([config])
    assert ends[0].weights is not None
    return ends[0].weights["output.weight"].numpy(), config


def by_numpy(config: Config, strength: float) -> Array:
    """Proximal gradient descent, written out, to convergence."""
    dataset = dataset_of(config)
    x, y = dataset.train.inputs.numpy(), dataset.train.targets.numpy()
    x, y = x - x.mean(0), y - y.mean(0)
    gram, moment = x.T @ x / len(x), x.T @ y / len(x)
    rate = 1 / np.linalg.eigvalsh(gram)[-1]
    w: Array = np.zeros((1, 10))
    for _ in range(20_000):
        w = lowered(w - rate * (w @ gram - moment.T), rate * strength)
    return w


def test_groups_enter_and_leave_as_a_whole_and_the_fit_is_numpys() -> None:
    kept = []
    for strength in (30.0, 10.0, 3.0, 0.3):
        found, config = fitted(strength)
        np.testing.assert_allclose(found, by_numpy(config, strength), rtol=1e-6, atol=1e-7)
        present = [bool(found[:, group].all()) for group in GROUPS]
        absent = [not found[:, group].any() for group in GROUPS]
        assert all(here != gone for here, gone in zip(present, absent, strict=True))
        assert found[0, 9] != 0
        kept.append(sum(present))
    assert kept[0] < kept[-1] == 4


def test_a_member_with_groups_of_inputs_stands_next_to_others(table: dict[str, Any]) -> None:
    configs = [
        grouped(table, [["town"], ["age", "floor"]], method="proximal"),
        grouped(table, "columns", method="proximal"),
        grouped(table, "in"),
        grouped(table, [["age"]], method="proximal"),
    ]
    dataset = dataset_of(configs[0])
    _, together = train(configs, dataset)
    for member, config in enumerate(configs):
        _, alone = train([config], dataset)
        mine, own = together[member].weights, alone[0].weights
        assert mine is not None and own is not None
        for name, weight in own.items():
            torch.testing.assert_close(mine[name], weight, rtol=1e-5, atol=1e-6)
    assert Engine(configs, dataset, CPU).roles.keys() == {"output.weight", "output.bias"}
