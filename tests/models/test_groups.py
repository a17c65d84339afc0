import pytest

from regrun.errors import ConfigError
from regrun.kinds.optimizers import SGD
from regrun.models.groups import decayed_parameters, select

ROLES = {
    "hidden.0.weight": "weight",
    "hidden.0.bias": "bias",
    "output.weight": "weight",
    "output.bias": "bias",
}


def test_a_role_chooses_all_parameters_of_that_role():
    assert select(("bias",), ROLES, "x") == {"hidden.0.bias", "output.bias"}


def test_a_pattern_chooses_by_name_and_entries_add_up():
    assert select(("hidden.*",), ROLES, "x") == {"hidden.0.weight", "hidden.0.bias"}
    assert select(("*.weight", "output.bias"), ROLES, "x") == set(ROLES) - {"hidden.0.bias"}


def test_all_chooses_everything():
    assert select(("all",), ROLES, "x") == set(ROLES)


def test_no_entry_chooses_nothing():
    assert select((), ROLES, "x") == frozenset()


def test_the_name_of_a_role_is_the_role_even_where_a_parameter_is_called_so():
    assert select(("weight",), {"weight": "norm", "w": "weight"}, "x") == {"w"}


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("hiden.*", "'hiden.*' is no role and matches no parameter"),
        ("wieght", 'did you mean "weight"?'),
        ("output.wieght", 'did you mean "output.weight"?'),
        ("norm", "this model has no parameter of role norm; its roles: weight, bias"),
        ("Weight", 'did you mean "weight"?'),
    ],
)
def test_an_entry_that_chooses_nothing_is_an_error_at_its_place(entry, said):
    with pytest.raises(ConfigError) as caught:
        select(("weight", entry), ROLES, "penalty.0.apply_to")
    (problem,) = caught.value.problems
    assert ".".join(map(str, problem.path)) == "penalty.0.apply_to"
    assert said in problem.message
    assert caught.value.exit_code == 2


def test_the_default_role_is_no_error_where_a_model_has_no_weights():
    assert select(("weight",), {"scale": "norm"}, "x") == frozenset()


def test_a_long_list_of_parameters_is_cut_in_the_error():
    roles = {f"layer.{i}": "weight" for i in range(40)}
    with pytest.raises(ConfigError, match=r"… \(40 in all\)"):
        select(("nothing*",), roles, "x")


def test_decay_on_is_chosen_whatever_the_strength():
    section = SGD(name="sgd", lr=0.1, weight_decay=0.0, decay_on=("bias",))
    assert decayed_parameters(section, ROLES) == {"hidden.0.bias", "output.bias"}
