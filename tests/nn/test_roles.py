"""Which parameter is a weight, a bias or a norm, and which parameters a selector chooses."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from regrun.errors import ConfigError
from regrun.nn.roles import Role, roles_of, select

ROLES: dict[str, Role] = {
    "hidden.0.weight": "weight",
    "hidden.0.bias": "bias",
    "output.weight": "weight",
    "output.bias": "bias",
}


def test_layer_and_name_decide_the_role() -> None:
    module = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.LayerNorm([2, 2]), nn.GroupNorm(1, 2),
        nn.Linear(2, 2, bias=False),
    )  # fmt: skip
    assert roles_of(module) == {
        "0.weight": "weight", "0.bias": "bias",
        "1.weight": "norm", "1.bias": "norm",
        "2.weight": "norm", "2.bias": "norm",
        "3.weight": "norm", "3.bias": "norm",
        "4.weight": "weight",
    }  # fmt: skip


def test_odd_names_end_as_bias_or_count_as_weights() -> None:
    module = nn.MultiheadAttention(4, 2)
    module.register_parameter("layer_scale", nn.Parameter(torch.ones(4)))
    roles = roles_of(module)
    assert list(roles) == [name for name, _ in module.named_parameters()]
    assert roles["in_proj_weight"] == roles["layer_scale"] == roles["out_proj.weight"] == "weight"
    assert roles["in_proj_bias"] == roles["out_proj.bias"] == "bias"


def test_a_role_chooses_all_parameters_of_that_role() -> None:
    assert select(("bias",), ROLES, "x") == {"hidden.0.bias", "output.bias"}


def test_a_pattern_chooses_by_name_and_entries_add_up() -> None:
    assert select(("hidden.*",), ROLES, "x") == {"hidden.0.weight", "hidden.0.bias"}
    assert select(("*.weight", "output.bias"), ROLES, "x") == set(ROLES) - {"hidden.0.bias"}


def test_all_chooses_everything() -> None:
    assert select(("all",), ROLES, "x") == set(ROLES)


def test_no_entry_chooses_nothing() -> None:
    assert select((), ROLES, "x") == frozenset()


def test_the_name_of_a_role_is_the_role_even_where_a_parameter_is_called_so() -> None:
    assert select(("weight",), {"weight": "norm", "w": "weight"}, "x") == {"w"}


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("hiden.*", "'hiden.*' is neither a role nor a pattern that matches a parameter"),
        ("wieght", 'did you mean "weight"?'),
        ("output.wieght", 'did you mean "output.weight"?'),
        ("norm", "this model has no parameter of role norm; its roles: weight, bias"),
        ("Weight", 'did you mean "weight"?'),
    ],
)
def test_an_entry_that_chooses_nothing_is_an_error_at_its_place(entry: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        select(("weight", entry), ROLES, "penalty.0.apply_to")
    (problem,) = caught.value.problems
    assert ".".join(map(str, problem.path)) == "penalty.0.apply_to"
    assert said in problem.message
    assert caught.value.exit_code == 2


def test_the_default_role_is_no_error_where_a_model_has_no_weights() -> None:
    assert select(("weight",), {"scale": "norm"}, "x") == frozenset()


def test_a_long_list_of_parameters_is_cut_in_the_error() -> None:
    roles: dict[str, Role] = {f"layer.{i}": "weight" for i in range(40)}
    with pytest.raises(ConfigError, match=r"… \(40 in all\)"):
        select(("nothing*",), roles, "x")


def test_a_parameter_with_two_names_has_the_first() -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    module[1].weight = module[0].weight
    assert roles_of(module) == {"0.weight": "weight", "0.bias": "bias", "1.bias": "bias"}
