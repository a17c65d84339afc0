"""Values set by dotted path: `KEY=VALUE`, and `KEY=V1,V2` for the axis of a sweep."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regrun.config.load import config_from_mapping, load_config
from regrun.config.overrides import Assignment, assign, parse_override, parse_overrides
from regrun.errors import ConfigError

BASE: dict[str, Any] = {
    "dataset": {"name": "digits"},
    "model": {"name": "mlp", "hidden": [8, 8]},
    "optimizer": {"name": "sgd", "lr": 0.1},
}
L1 = {"type": "l1", "strength": 1}
L2 = {"type": "l2", "strength": 1}
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**6), 10**6),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text("abc,[]{}'\" :#é", max_size=6),
)
VALUES = st.one_of(
    LEAVES, st.lists(LEAVES, max_size=3), st.dictionaries(st.text("abc"), LEAVES, max_size=2)
)


def _set(tree: dict[str, Any], *texts: str) -> dict[str, Any]:
    for number, text in enumerate(texts, start=1):
        tree, _ = assign(tree, parse_override(text, number))
    return tree


def test_values_are_parsed_by_the_rules_of_the_file() -> None:
    values = {
        "1e-3": 1e-3,
        "no": "no",
        "010": 10,
        "12:30": "12:30",
        "[0.2, 0.5]": [0.2, 0.5],
        "{type: l1, strength: 0.1}": {"type": "l1", "strength": 0.1},
        "": None,
        "'1'": "1",
        "a=b": "a=b",
    }
    for text, value in values.items():
        assert parse_override(f"x={text}", 1).value == value


@pytest.mark.parametrize("text", ["", "x", "=1", "a..b=1", ".a=1", "a b=1", "a=[", "a=\0", "a=*b"])
def test_what_cannot_be_read_is_reported_by_number(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_override(text, 7)
    assert str(caught.value).startswith("override 7: ")


def test_a_missing_section_is_made() -> None:
    assert _set({}, "training.early_stopping.patience=3") == {
        "training": {"early_stopping": {"patience": 3}}
    }


def test_the_given_tree_is_not_changed() -> None:
    tree = {**copy.deepcopy(BASE), "penalty": [dict(L1)]}
    before = copy.deepcopy(tree)
    _set(tree, "optimizer.lr=5", "penalty.0.strength=5", "model.hidden.1=5", "penalty.type=l2")
    assert tree == before


@pytest.mark.parametrize("absent", [{}, {"penalty": None}, {"penalty": "none"}, {"penalty": []}])
def test_a_penalty_is_built_key_by_key(absent: dict[str, Any]) -> None:
    assert _set(absent, "penalty.type=l1", "penalty.strength=1") == {"penalty": L1}
    assert _set(absent, "penalty.0.type=l1", "penalty.0.strength=1") == {"penalty": L1}


def test_one_penalty_is_reached_with_and_without_an_index() -> None:
    for key in ("penalty.strength", "penalty.0.strength"):
        assert _set({"penalty": L1}, f"{key}=2") == {"penalty": {**L1, "strength": 2}}
        assert _set({"penalty": [L1]}, f"{key}=2") == {"penalty": [{**L1, "strength": 2}]}


def test_one_of_several_penalties_needs_its_index() -> None:
    both = {"penalty": [L1, L2]}
    assert _set(both, "penalty.1.strength=2") == {"penalty": [L1, {**L2, "strength": 2}]}
    for text in ("penalty.strength=2", "penalty.2.strength=2"):
        with pytest.raises(ConfigError):
            _set(both, text)
    with pytest.raises(ConfigError, match="no entry 1"):
        _set({"penalty": L1}, "penalty.1.strength=2")


def test_entries_of_a_list_are_set() -> None:
    assert _set(BASE, "model.hidden.1=5")["model"]["hidden"] == [8, 5]
    assert _set({"model": {"dropout": [0.1, 0.2]}}, "model.dropout.0=0.5") == {
        "model": {"dropout": [0.5, 0.2]}
    }
    assert _set(BASE, "model.hidden.2=5")["model"]["hidden"] == [8, 8, 5]
    for text in ("model.hidden.3=5", "model.hidden.-1=5", "model.hidden.x=5", "model.channels.0=5"):
        with pytest.raises(ConfigError):
            _set(BASE, text)


def test_a_schedule_given_by_name_becomes_a_section() -> None:
    assert _set({"schedule": "cosine"}, "schedule.warmup_epochs=2") == {
        "schedule": {"type": "cosine", "warmup_epochs": 2}
    }


def test_a_dotted_key_of_a_grid_is_one_key() -> None:
    assert _set({}, "sweep.grid.optimizer.lr=[0.1, 1]") == {
        "sweep": {"grid": {"optimizer.lr": [0.1, 1]}}
    }


@pytest.mark.parametrize("text", ["seed.x=1", "optimizer.lr.x=1", "training.batch_size.x=1"])
def test_a_value_has_no_keys(text: str) -> None:
    with pytest.raises(ConfigError):
        _set(BASE, text)


def test_the_path_that_was_set_is_the_path_in_the_tree() -> None:
    assignment = Assignment("x", "penalty.0.strength", 2)
    assert assign({"penalty": L1}, assignment)[1] == ("penalty", "strength")
    assert assign({"penalty": [L1]}, assignment)[1] == ("penalty", 0, "strength")


def test_later_overrides_win_and_the_kind_may_change(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("dataset: {name: digits}\nmodel: {name: mlp}\noptimizer: {name: sgd, lr: 1}\n")
    config = load_config(path, ["optimizer.lr=2", "optimizer.lr=3", "optimizer.name=adam"]).config
    assert (config.optimizer.kind, config.optimizer.lr) == ("adam", 3)


def test_overrides_in_python_are_the_same() -> None:
    config = config_from_mapping(BASE, {"penalty.type": "l1", "penalty.strength": 0.5}).config
    assert [(each.kind, each.strength) for each in config.penalty] == [("l1", 0.5)]


def _axes(*texts: str) -> dict[str, Any]:
    """What overrides of a sweep set."""
    assignments, diagnostics = parse_overrides(texts, axes=True)
    assert not diagnostics
    return {each.key: each.value for each in assignments}


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("optimizer.lr=0.1,0.2,1e-3", [0.1, 0.2, 1e-3]),
        ("model.dropout=[0,0],[0.2,0.5]", [[0, 0], [0.2, 0.5]]),
        ("penalty=none,{type: l1, strength: 0.1}", ["none", {"type": "l1", "strength": 0.1}]),
        ("model.bias=true, false", [True, False]),
        ("schedule=constant, cosine", ["constant", "cosine"]),
        ("""penalty.apply_to="a,b",'c'""", ["a,b", "c"]),
        ("penalty=null,l2", [None, "l2"]),
    ],
)
def test_commas_outside_of_brackets_and_quotes_make_an_axis(text: str, values: list[Any]) -> None:
    key = f"sweep.grid.{text.partition('=')[0]}"
    assert _axes("training.epochs=3", text) == {"training.epochs": 3, key: values}


@pytest.mark.parametrize(
    "text",
    ["model.dropout=[0.2,0.5]", "penalty={type: l1, strength: 1}", "name='a,b'", "a=1", "a="],
)
def test_a_single_value_is_an_override_and_no_axis(text: str) -> None:
    assert parse_override(text, 1, axes=True) == parse_override(text, 1)
    assert parse_override(text, 1, axes=True).key == text.partition("=")[0]


@pytest.mark.parametrize("text", ["a=]1,2[", "a,b"])
def test_commas_make_no_axis_of_what_cannot_be_read(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_override(text, 1, axes=True)
    with pytest.raises(ConfigError) as plain:
        parse_override(text, 1)
    assert str(caught.value) == str(plain.value)


@given(st.lists(VALUES, min_size=2, max_size=4))
def test_any_values_written_as_json_come_back_from_the_command_line(values: list[Any]) -> None:
    text = "a.b=" + ",".join(json.dumps(value) for value in values)
    assert _axes(text) == {"sweep.grid.a.b": values}


def test_every_axis_that_cannot_be_read_is_named_with_its_number() -> None:
    texts = ["a=1", "b=1,,2", "c=1,2", "d=1,[2", "e=1,!!x 2", "c=3,4"]
    _, diagnostics = parse_overrides(texts, axes=True)
    assert [(each.origin, each.number) for each in diagnostics] == [
        ("override 2: b=1,,2", 2),
        ("override 4: d=1,[2", 4),
        ("override 5: e=1,!!x 2", 5),
        ("override 6: c=3,4", 6),
    ]
    messages = [each.problem.message for each in diagnostics]
    assert messages[0] == "an empty value between commas; write null for none"
    assert messages[1].startswith("not valid YAML")
    assert messages[2:] == ["!!x: tags are not supported", "c is an axis already"]


def test_a_key_of_very_many_parts_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match=r"nested more than 50 deep"):
        _set({}, ".".join(["a"] * 100_000) + "=1")


@pytest.mark.parametrize("key", ["penalty", "constraints"])
def test_an_entry_is_appended(key: str) -> None:
    one, two = "{type: l1, strength: 1}", "{type: l2, strength: 1}"
    assert _set({}, f"{key}+={one}") == {key: [L1]}
    assert _set({key: "none"}, f"{key}+={one}") == {key: [L1]}
    assert _set({key: L2}, f"{key}+={one}") == {key: [L2, L1]}
    assert _set({}, f"{key}+={one}", f"{key}+={two}") == {key: [L1, L2]}
    assert _set({key: L1}, f"{key}.1={two}") == {key: [L1, L2]}
    assert _set({key: [L1]}, f"{key}.1={two}") == {key: [L1, L2]}
    with pytest.raises(ConfigError, match="has no entry 2"):
        _set({key: [L1]}, f"{key}.2={two}")


def test_only_lists_can_be_appended_to() -> None:
    with pytest.raises(ConfigError, match=r"optimizer\.lr is no list"):
        _set(BASE, "optimizer.lr+=1")


@pytest.mark.parametrize("mark", ["+", "++"])
def test_hydras_marks_for_new_keys_are_understood(mark: str) -> None:
    assert _set(BASE, f"{mark}optimizer.lr=1")["optimizer"]["lr"] == 1
    with pytest.raises(ConfigError, match="to switch it off, write schedule=null"):
        parse_override("~schedule", 1)


@pytest.mark.parametrize("axes", [False, True])
@pytest.mark.parametrize("mark", [",", ";", "|", "?", "%", "-", "*", "&", "#", "!", "@", ":", "."])
def test_a_single_sign_is_a_string(mark: str, axes: bool) -> None:
    for text in (f"dataset.separator={mark}", f"dataset.separator= {mark} "):
        assert parse_override(text, 1, axes=axes).value == mark


def test_a_tilde_is_null_and_quotes_are_quotes() -> None:
    assert parse_override("schedule=~", 1).value is None
    with pytest.raises(ConfigError):
        parse_override("name='", 1)


@pytest.mark.parametrize(
    ("words", "written"),
    [
        (["optimizer.lr", "=", "3"], "optimizer.lr=3"),
        (["optimizer.lr=", "3"], "optimizer.lr=3"),
        (["optimizer.lr", "=3"], "optimizer.lr=3"),
        (["model.dropout=[0.2,", "0.5]"], "'model.dropout=[0.2, 0.5]'"),
        (["penalty={type:", "l1,", "strength:", "0.1}"], "'penalty={type: l1, strength: 0.1}'"),
    ],
)
def test_words_that_a_shell_tore_apart_are_one_mistake(words: list[str], written: str) -> None:
    for texts in (words, [*words, "seed=1"]):
        assignments, (problem,) = parse_overrides(texts)
        assert problem.number == 1
        assert problem.problem.message == f"several words; write {written}"
        assert [each.key for each in assignments] == ["seed"] * (len(texts) - len(words))


def test_whole_words_stay_apart() -> None:
    assignments, problems = parse_overrides(["dataset.root=", "seed=1", "model.hidden=[4, 8]"])
    assert [each.key for each in assignments] == ["dataset.root", "seed", "model.hidden"]
    assert problems == []
