"""Tables of the user's own: what becomes of columns, targets and mistakes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from regrun.data.dataset import Dataset
from regrun.data.preprocessing import Preprocessing, TableInputs
from regrun.data.table import table_of
from regrun.data.table_file import read_table
from regrun.errors import ConfigError, CorruptInputError, RegrunError
from regrun.kinds.datasets import Task
from tests.support.datasets import load

Write = Callable[..., str]

EXAMPLE = Path(__file__).parents[3] / "configs" / "data" / "flats.csv"

PEOPLE = "age,town,member,income\n" + "".join(
    f"{20 + i},{'ABC'[i % 3]},{'true' if i % 2 else 'false'},{1000 + 7.5 * i}\n" for i in range(30)
)


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write a file in the working directory; return its name."""
    monkeypatch.chdir(tmp_path)

    def write(text: str | bytes, name: str = "t.csv") -> str:
        data = text if isinstance(text, bytes) else text.encode()
        (tmp_path / name).write_bytes(data)
        return name

    return write


def column(data: Dataset, part: str, name: str) -> torch.Tensor:
    inputs: torch.Tensor = getattr(data, part).inputs
    return inputs[:, data.feature_names.index(name)]


def test_numbers_stay_and_texts_become_columns_of_zeros_and_ones(write: Write) -> None:
    data = load(
        name="csv",
        path=write(PEOPLE),
        target="income",
        standardize=False,
        standardize_target=False,
    )
    assert data.feature_names == (
        *("age", "town=A", "town=B", "town=C"),
        *("member=False", "member=True"),
    )
    assert (data.task, data.num_outputs, data.input_shape) == ("regression", 1, (6,))
    assert (len(data.train), len(data.test)) == (24, 6)
    for part in ("train", "test"):
        age = column(data, part, "age")
        person = age - 20
        np.testing.assert_array_equal(column(data, part, "town=B"), person % 3 == 1)
        np.testing.assert_array_equal(column(data, part, "member=True"), person % 2 == 1)
        np.testing.assert_allclose(getattr(data, part).targets[:, 0], 1000 + 7.5 * person)
    assert data.notes[0] == "one-hot encoded: town (3), member (2)"


def test_features_are_standardised_by_the_training_rows_alone(write: Write) -> None:
    keys = {"name": "csv", "path": write(PEOPLE), "target": "income", "validation": 5}
    data, raw = load(**keys), load(**keys, standardize=False)
    mean, std = raw.train.inputs.numpy().mean(0), raw.train.inputs.numpy().std(0)
    for part in ("train", "validation", "test"):
        expected = (getattr(raw, part).inputs.numpy() - mean) / std
        np.testing.assert_allclose(getattr(data, part).inputs, expected, atol=1e-12)


@pytest.mark.parametrize(
    ("target", "keys", "task", "names"),
    [
        ("town", {}, "classification", ("A", "B", "C")),
        ("member", {}, "classification", ("False", "True")),
        ("income", {}, "regression", ()),
        ("age", {}, "regression", ()),
        ("age", {"num_train": 10}, "regression", ()),
        ("member", {"task": "regression"}, "regression", ()),
    ],
)
def test_the_task_is_inferred_or_given(
    write: Write, target: str, keys: dict[str, Any], task: Task | None, names: tuple[str, ...]
) -> None:
    data = load(name="csv", path=write(PEOPLE), target=target, **keys)
    assert (data.task, data.class_names) == (task, names)


def test_few_whole_numbers_are_classes_in_their_own_order(write: Write) -> None:
    rows = "".join(f"{i},{[10, 2, -1][i % 3]}\n" for i in range(30))
    data = load(name="csv", path=write("x,grade\n" + rows), target="grade", standardize=False)
    assert data.class_names == ("-1", "2", "10")
    expected = [[2, 1, 0][int(x) % 3] for x in data.train.inputs[:, 0]]
    assert data.train.targets.tolist() == expected
    assert data.train.targets.dtype == torch.int64


def test_classes_beyond_64_bits_keep_their_names(write: Write) -> None:
    rows = "".join(f"{i},{2**63 + i % 2}\n" for i in range(20))
    data = load(name="csv", path=write("x,code\n" + rows), target="code")
    assert data.class_names == (str(2**63), str(2**63 + 1))


def test_what_is_learnt_from_the_table_is_learnt_from_the_training_rows(write: Write) -> None:
    """Means to impute and known texts: a test file of extremes changes neither."""
    write("x,kind,y\n1,a,1.5\n3,b,2.5\n,a,3.5\n,b,4.5\n", "train.csv")
    write("x,kind,y\n,c,1.5\n1000,a,2.5\n", "test.csv")
    keys = {"name": "csv", "path": "train.csv", "test_path": "test.csv", "target": "y"}
    data = load(**keys, missing="mean", standardize=False)
    assert data.feature_names == ("x", "kind=a", "kind=b")
    assert data.train.inputs.tolist() == [[1, 1, 0], [3, 0, 1], [2, 1, 0], [2, 0, 1]]
    assert data.test.inputs.tolist() == [[2, 0, 0], [1000, 1, 0]]
    assert 'column "x": empty cells imputed by the mean of the training rows' in data.notes
    assert any('"kind": 1 held-out rows' in note and '"c"' in note for note in data.notes)


@pytest.mark.parametrize(("missing", "value"), [("mean", 4), ("median", 2), ("most_frequent", 1)])
def test_missing_numbers_are_imputed_as_asked(write: Write, missing: str, value: float) -> None:
    write("x,y\n1,0.5\n1,1.5\n3,2.5\n11,3.5\n,4.5\n", "train.csv")
    write("x,y\n1,0.5\n", "test.csv")
    data = load(
        name="csv",
        path="train.csv",
        test_path="test.csv",
        target="y",
        missing=missing,
        standardize=False,
    )
    assert data.train.inputs[4, 0] == value


def test_missing_texts_become_the_most_frequent(write: Write) -> None:
    write("k,y\na,0.5\nb,1.5\nb,2.5\n,3.5\n", "train.csv")
    write("k,y\n,0.5\n", "test.csv")
    keys = {"path": "train.csv", "test_path": "test.csv", "target": "y", "missing": "mean"}
    data = load(name="csv", **keys, standardize=False)
    assert data.train.inputs.tolist() == [[1, 0], [0, 1], [0, 1], [0, 1]]
    assert data.test.inputs.tolist() == [[0, 1]]


def test_ignored_columns_are_no_features(write: Write) -> None:
    data = load(name="csv", path=write(PEOPLE), target="income", ignore=["age", "member"])
    assert data.feature_names == ("town=A", "town=B", "town=C")


def test_a_constant_column_is_noted_and_becomes_zero(write: Write) -> None:
    rows = "".join(f"7,{i},{i / 8}\n" for i in range(20))
    data = load(name="csv", path=write("always,x,y\n" + rows), target="y")
    assert 'constant in the training examples: "always"' in data.notes
    assert (data.test.inputs[:, 0] == 0).all()


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + PEOPLE,
        PEOPLE.encode("utf-16"),
        PEOPLE.encode("utf-32"),
        PEOPLE.replace("\n", "\r\n"),
        PEOPLE.replace("\n", "\n\n"),
        "\n" + PEOPLE.rstrip("\n"),
        PEOPLE.replace(",", ", "),
    ],
    ids=[
        "byte order mark",
        "UTF-16",
        "UTF-32",
        "Windows lines",
        "empty lines",
        "no last newline",
        "spaces",
    ],
)
def test_common_ways_of_writing_a_table_mean_the_same(write: Write, text: str | bytes) -> None:
    keys = {"name": "csv", "target": "income"}
    expected = load(path=write(PEOPLE), **keys).fingerprint()
    assert load(path=write(text, "other.csv"), **keys).fingerprint() == expected


def test_another_separator_is_a_key_away(write: Write) -> None:
    keys = {"name": "csv", "target": "income"}
    path = write(PEOPLE.replace(",", ";"), "other.csv")
    expected = load(path=write(PEOPLE), **keys).fingerprint()
    assert load(path=path, separator=";", **keys).fingerprint() == expected
    with pytest.raises(ConfigError, match="one column: is ',' the separator"):
        load(path=path, **keys)


TABLE = "x,k,y\n" + "".join(f"{i},{'ab'[i % 2]},{i + 0.5}\n" for i in range(30))


@pytest.mark.parametrize(
    ("text", "keys", "error", "message"),
    [
        ("", {}, CorruptInputError, "t.csv: is empty"),
        ("\n\n", {}, CorruptInputError, "t.csv: is empty"),
        ("x,k,y\n", {}, CorruptInputError, "t.csv: has a header but no rows"),
        (TABLE + "1,a\n", {}, CorruptInputError, "t.csv:32: 2 cells; the header has 3"),
        (TABLE + "1,a,2,3\n", {}, CorruptInputError, "t.csv:32: 4 cells; the header has 3"),
        (TABLE + '1,"a,2\n', {}, CorruptInputError, "t.csv:32: unexpected end of data"),
        (TABLE + '1,"a"b,2\n', {}, CorruptInputError, "t.csv:32: ',' expected after '\"'"),
        ("x,x,y\n1,2,3\n", {}, CorruptInputError, 't.csv:1: two columns are named "x"'),
        ("x,,y\n1,2,3\n", {}, CorruptInputError, "t.csv:1: column 2 has no name"),
        (TABLE.encode() + b"1,\xff,2\n", {}, CorruptInputError, "t.csv:32: byte 0xff at "),
        (TABLE + "1,\0,2\n", {}, CorruptInputError, "t.csv:32: a NUL character"),
        (
            TABLE.encode("utf-16-le"),
            {},
            CorruptInputError,
            "t.csv:1: a NUL character; is it UTF-16? encoding: utf-16-le",
        ),
        (TABLE + "inf,a,2\n", {}, CorruptInputError, 't.csv:32: column "x" is infinite'),
        (TABLE + "-1e999,a,2\n", {}, CorruptInputError, 't.csv:32: column "x" is infinite'),
        (TABLE + "1,a,1e999\n", {}, CorruptInputError, 't.csv:32: column "y" is infinite'),
        (TABLE + "1,a,\n", {}, CorruptInputError, 't.csv:32: the target "y" is empty'),
        (TABLE + "1a,a,2\n", {}, CorruptInputError, "t.csv:32: column \"x\": '1a' is not a number"),
        (
            TABLE + ",a,2\n1,,2\n",
            {},
            ConfigError,
            'dataset.missing: refuse: column "x" is empty at t.csv:32 (2 empty cells in 2 columns)',
        ),
        (
            "x,k,y\n1,,2.5\n2,,3\n",
            {"missing": "mean"},
            ConfigError,
            'dataset.ignore: t.csv: column "k" is empty; leave it out by ignore: [k]',
        ),
        (
            TABLE,
            {"target": "yy"},
            ConfigError,
            'dataset.target: no column "yy"; did you mean "y"?; columns: x, k, y',
        ),
        (TABLE, {"ignore": ["z"]}, ConfigError, 'dataset.ignore: no column "z"'),
        (TABLE, {"ignore": ["y"]}, ConfigError, 'dataset.ignore: "y" is the target'),
        (TABLE, {"ignore": ["x", "k"]}, ConfigError, "dataset.path: t.csv: no column is left"),
        (
            TABLE,
            {"target": "k", "task": "regression"},
            ConfigError,
            "dataset.task: regression: the target \"k\" is 'a' at t.csv:2, not a number",
        ),
        (
            TABLE,
            {"task": "classification"},
            ConfigError,
            'dataset.task: classification: the target "y" is 0.5 at t.csv:2, not a class',
        ),
        (
            "x,y\n" + "1,a\n" * 9,
            {},
            ConfigError,
            'dataset.target: "y" is a in every row; there must be two classes',
        ),
        (
            "x,y\n" + "1,a\n" * 9 + "1,b\n",
            {},
            ConfigError,
            "dataset.test: 0.2: class 'b' has 1 example",
        ),
        (
            "k,y\n" + "".join(f"id{i},{i + 0.5}\n" for i in range(2000)),
            {},
            ConfigError,
            'dataset.ignore: column "k" holds 2,000 different texts',
        ),
        (TABLE, {"path": "no.csv"}, ConfigError, "dataset.path: no.csv: no such file"),
        (TABLE, {"path": "."}, ConfigError, "dataset.path: .: cannot be read: it is a folder"),
        (TABLE, {"test_path": "no.csv"}, ConfigError, "dataset.test_path: no.csv: no such file"),
        (TABLE, {"validation": 0.99}, ConfigError, "dataset.validation: 0.99: only 24 training"),
    ],
)
def test_bad_tables_and_keys_are_refused_with_their_place(
    write: Write, text: str | bytes, keys: dict[str, Any], error: type[RegrunError], message: str
) -> None:
    with pytest.raises(error) as caught:
        load(**{"name": "csv", "path": write(text), "target": "y", **keys})
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("text", "target", "error", "message"),
    [
        ("x,y\n1,1\n", "y", ConfigError, 'dataset.test_path: test.csv: no column "k"'),
        ("x,k\n1,a\n", "y", ConfigError, 'dataset.test_path: test.csv: no column "y"'),
        (
            "x,k,y\n1,a,1\n?,a,1\n",
            "y",
            ConfigError,
            'dataset.missing_values: column "x": "?" in 1 of 32 cells, among numbers',
        ),
        (
            "x,k,y\n1,a,b\n",
            "y",
            CorruptInputError,
            "test.csv:2: column \"y\": 'b' is not a number, as the 30 others of the column are",
        ),
        (
            "x,k,y\n1,a,1\n1,c,1\n",
            "k",
            ConfigError,
            "dataset.test_path: test.csv:3: class 'c' is not among those of t.csv",
        ),
        ("x,k,y\n", "y", CorruptInputError, "test.csv: has a header but no rows"),
    ],
)
def test_a_test_file_that_does_not_fit_is_refused(
    write: Write, text: str | bytes, target: str, error: type[RegrunError], message: str
) -> None:
    write(text, "test.csv")
    with pytest.raises(error) as caught:
        load(name="csv", path=write(TABLE), test_path="test.csv", target=target)
    assert str(caught.value).startswith(message)


MUTATIONS = [
    "",
    "nan",
    "inf",
    "x",
    "1e999",
    "-1",
    "3.5",
    "true",
    '"',
    ",",
    "\n",
    "99999999999999999999",
]


@given(
    st.lists(st.tuples(st.integers(0, len(PEOPLE)), st.sampled_from(MUTATIONS)), max_size=4),
    st.sampled_from(["income", "age", "town", "member"]),
    st.sampled_from(["refuse", "mean", "most_frequent"]),
    st.sampled_from([None, "regression", "classification"]),
)
def test_a_mutated_table_gives_finite_numbers_or_an_error_of_ours(
    tmp_path_factory: pytest.TempPathFactory,
    mutations: list[tuple[int, str]],
    target: str,
    missing: str,
    task: Task | None,
) -> None:
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    text = PEOPLE
    for position, piece in mutations:
        text = text[:position] + piece + text[position:]
    path.write_text(text)
    keys = {"path": str(path), "target": target, "missing": missing, "task": task}
    try:
        data = load(name="csv", **keys)
    except RegrunError as error:
        assert error.exit_code in (2, 5)
    else:
        for part in (data.train, data.test):
            assert len(part) > 0
            assert part.inputs.isfinite().all()
            assert part.targets.isfinite().all()
            assert part.inputs.shape[1] == len(data.feature_names)


def test_a_row_after_a_cell_of_several_lines_is_found_where_it_begins(write: Write) -> None:
    with pytest.raises(CorruptInputError, match=r"t\.csv:5: 1 cells"):
        load(name="csv", path=write('x,k,y\n1,"a\nb",2\n\n7\n'), target="y")


def test_the_shipped_example_follows_its_formula() -> None:
    """rent = 16 − 0.03 (area − 65) − 0.35 distance + 0.02 (year − 1970) + district + 0.6 balcony
    + N(0, 0.8²), with district = 2 centre, 1 harbour, 0 south, −1 north; nothing else counts."""
    data = load(
        name="csv", path=str(EXAMPLE), target="rent", standardize=False, standardize_target=False
    )
    names = data.feature_names
    assert (data.task, len(data.train), len(data.test)) == ("regression", 192, 48)
    base = {"district=south", "heating=gas", "balcony=False"}
    kept = [i for i, name in enumerate(names) if name not in base]
    design = data.train.inputs[:, kept].numpy()
    design = np.hstack([design, np.ones((len(design), 1))])
    rent = data.train.targets[:, 0].numpy()
    found, *_ = np.linalg.lstsq(design, rent, rcond=None)
    noise = rent - design @ found
    variance = (noise @ noise) / (len(rent) - len(found))
    error = np.sqrt(variance * np.diag(np.linalg.inv(design.T @ design)))
    true = {
        "area_m2": -0.03,
        "distance_km": -0.35,
        "year_built": 0.02,
        "district=centre": 2,
        "district=harbour": 1,
        "district=north": -1,
        "balcony=True": 0.6,
    }
    expected = [true.get(names[i], 0) for i in kept]
    assert (np.abs(found[:-1] - expected) < 4 * error[:-1]).all()
    assert 0.7 < np.sqrt(variance) < 0.9


ROWS = 60
X = [round(7 * i % 11 / 4 - 1, 2) for i in range(ROWS)]


def lines(**columns: list[Any]) -> str:
    """A table of these columns."""
    rows = zip(*columns.values(), strict=True)
    return "".join(",".join(map(str, row)) + "\n" for row in [tuple(columns), *rows])


@pytest.mark.parametrize(
    ("train", "test", "expected"),
    [
        (["01", "02", "1A"], ["01", "02"], {"k=01": 1, "k=02": 0}),
        (["1", "2", "x"], ["1", ""], {"k=1": 1, "k=x": 0}),
        (["true", "false"], ["TRUE", "1"], {"k=True": 1, "k=False": 0}),
        (["0", "1"], ["True", "False"], {"k=True": 1, "k=False": 0}),
        (["1", "2", "3"], ["1", "x"], {"k=1": 1, "k=2": 0}),
        (["yes ", "no"], ["yes", "no  "], {"k=yes": 1, "k=no": 0}),
    ],
)
def test_the_same_text_is_the_same_category_in_the_test_file(
    write: Write, train: list[str], test: list[str], expected: dict[str, float]
) -> None:
    """The first row of the test file has the first text."""
    k, y = (train * ROWS)[:ROWS], [x + 0.5 for x in X]
    write(lines(k=k, y=y), "train.csv")
    write(lines(k=(test * 4)[:8], y=y[:8]), "test.csv")
    keys = {"path": "train.csv", "test_path": "test.csv", "target": "y", "standardize": False}
    data = load(name="csv", **keys, missing="most_frequent")
    for name, value in expected.items():
        assert column(data, "test", name)[0] == value


def test_columns_are_what_the_config_declares(write: Write) -> None:
    text = lines(
        zip=[10115 + i % 3 for i in range(ROWS)],
        code=[f"{i % 4:02}" for i in range(ROWS)],
        price=[f"${i}.50" for i in range(ROWS)],
        when=["2020-01-01"] * ROWS,
        y=X,
    )
    declared = {"zip": "category", "code": "number", "price": "number", "when": "ignore"}
    data = load(
        name="csv", path=write(text), target="y", columns=declared, standardize=False, test=10
    )
    assert data.feature_names == ("code", "price", "zip=10115", "zip=10116", "zip=10117")
    np.testing.assert_array_equal(
        column(data, "train", "code"), (column(data, "train", "price") - 0.5) % 4
    )


def test_columns_may_be_named_by_number_and_one_without_a_list(write: Write) -> None:
    path = write(lines(id=[f"k{i}" for i in range(ROWS)], a=X, **{"2": X}))
    by_name = load(name="csv", path=path, target="2", ignore=["id"])
    for keys in (
        {"target": 2, "ignore": "id"},
        {"target": -1, "ignore": 0},
        {"target": 2, "index": 0},
    ):
        assert load(name="csv", path=path, **keys).fingerprint() == by_name.fingerprint()
    with pytest.raises(ConfigError, match=r'dataset\.target: no column "7"; columns: id, a, 2'):
        load(name="csv", path=path, target=7, ignore="id")


def test_several_targets_are_predicted_together(write: Write) -> None:
    path = write(lines(a=X, p=[2 * x for x in X], q=[x - 1.5 for x in X]))
    data = load(name="csv", path=path, target=["q", "p"], standardize=False)
    assert (data.task, data.num_outputs, data.feature_names) == ("regression", 2, ("a",))
    a = column(data, "train", "a")
    np.testing.assert_allclose(data.train.targets, np.stack([a - 1.5, 2 * a], 1))
    assert [target.name for target in data.card.targets] == ["q", "p"]


def test_one_hot_targets_are_classes_named_by_their_columns(write: Write) -> None:
    kinds = [i % 3 for i in range(ROWS)]
    path = write(lines(a=X, **{f"c{k}": [int(kind == k) for kind in kinds] for k in range(3)}))
    data = load(name="csv", path=path, target=["c0", "c1", "c2"])
    assert (data.task, data.class_names) == ("classification", ("c0", "c1", "c2"))
    assert any("one-hot classes" in note for note in data.notes)
    with pytest.raises(ConfigError, match=r"dataset\.task: classification: of the 2 targets"):
        load(name="csv", path=path, target=["c0", "c1"], ignore="c2", task="classification")


@pytest.mark.parametrize(
    ("y", "task", "reason"),
    [
        ([i % 26 + 1 for i in range(ROWS)], "regression", "26 different integers, 1 to 26"),
        ([i % 5 + 1 for i in range(ROWS)], "classification", "5 different integers, 1 to 5"),
        ([f"{i % 3}.0" for i in range(ROWS)], "classification", "3 different integers, 0 to 2"),
        (["yes", "no "] * (ROWS // 2), "classification", "holds text"),
        (X, "regression", "holds fractions"),
    ],
)
def test_why_it_is_this_task_is_in_the_card(
    write: Write, y: list[Any], task: Task, reason: str
) -> None:
    card = load(name="csv", path=write(lines(a=X, y=y)), target="y", test=30).card
    assert card.task == task
    assert reason in card.task_reason


def test_labels_beyond_int64_are_classes_with_the_names_of_the_file(write: Write) -> None:
    path = write(lines(a=X, y=[f"{i % 3 + 1}e20" for i in range(ROWS)]))
    data = load(name="csv", path=path, target="y")
    assert data.class_names == ("1e20", "2e20", "3e20")


def test_the_card_shows_what_became_of_each_column(write: Write) -> None:
    text = lines(
        **{"": list(range(ROWS))},
        x=["" if i % 10 == 3 else i % 4 + 0.5 for i in range(ROWS)],
        k=["ab"[i % 2] for i in range(ROWS)],
        when=["2020-01-01"] * ROWS,
        memo=["m"] * ROWS,
        y=X,
    )
    data = load(name="csv", path=write(text), target="y", ignore="memo", missing="median", test=10)
    shown = {card.name: (card.role, card.type, card.missing) for card in data.card.columns}
    assert shown == {
        "column 1": ("index", "index", 0),
        "x": ("feature", "number", 6),
        "k": ("feature", "category", 0),
        "when": ("ignored", "date", 0),
        "memo": ("ignored", "not looked at", 0),
        "y": ("target", "number", 0),
    }
    encodings = {card.name: card.encoding for card in data.card.columns}
    assert encodings["k"] == "one-hot (2), standardized"
    assert encodings["when"] == "ignored: dates or times"
    [imputed] = [card.imputed for card in data.card.columns if card.name == "x"]
    assert imputed in ("median of the training rows, 1.5", "median of the training rows, 2.5")
    assert (data.card.input.low, data.card.input.high) == (0.5, 3.5)
    assert data.card.files == ["t.csv"]


def test_new_rows_are_transformed_as_the_training_rows_were(write: Write, tmp_path: Path) -> None:
    text = lines(
        x=["" if i % 10 == 3 else x for i, x in enumerate(X)],
        flag=["yes" if i % 3 else "no" for i in range(ROWS)],
        ok=["true" if i % 2 else "false" for i in range(ROWS)],
        y=X,
    )
    keys = {"target": "y", "missing": "mean", "standardize": False}
    data = load(name="csv", path=write(text), **keys, test_path=write(text, "test.csv"))
    stored = Preprocessing.from_json(orjson.dumps(data.preprocessing.to_dict()), tmp_path)
    assert isinstance(stored.inputs, TableInputs)
    table = read_table(tmp_path / "t.csv", stored.inputs.format)
    np.testing.assert_array_equal(stored.inputs.transform(table), data.test.inputs)
    frame = pd.DataFrame(
        {"ok": [True, False], "extra": [0, 1], "flag": ["no", "?"], "x": [1, None]}
    )
    found = table_of(frame)
    mean = float(np.mean([x for i, x in enumerate(X) if i % 10 != 3]))
    expected = np.array([[1, 1, 0, 0, 1], [mean, 0, 0, 1, 0]], float)
    np.testing.assert_allclose(stored.inputs.transform(found), expected, rtol=1e-12)
    assert stored.inputs.unknown_categories([(found, None)]) == [
        'column "flag": 1 rows with a text that no training row has, such as "?"; all zeros there'
    ]


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ({"x": [1.0]}, 'the data frame: no column "k", which the training data have'),
        ({"x": ["a"], "k": ["a"]}, "row 0: column \"x\": 'a' is not a number"),
        ({"x": [1.0], "K": ["a"]}, 'did you mean "K"?'),
        ({"x": [1.0, None], "k": ["a", "b"]}, 'row 1: column "x" is empty'),
        ({"x": [1.0, 2.0], "k": [None, "b"]}, 'row 0: column "k" is empty'),
        ({"x": [np.inf], "k": ["a"]}, 'row 0: column "x" is infinite'),
    ],
)
def test_new_rows_that_do_not_fit_are_refused_with_their_place(
    write: Write, frame: dict[str, list[Any]], message: str
) -> None:
    data = load(name="csv", path=write(TABLE), target="y")
    assert isinstance(data.preprocessing.inputs, TableInputs)
    with pytest.raises(CorruptInputError) as caught:
        data.preprocessing.inputs.transform(table_of(pd.DataFrame(frame)))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"thousands": "."}, 'dataset.thousands: "." is the decimal mark, too'),
        ({"separator": '"'}, "dataset.separator: '\"' cannot separate cells"),
        ({"separator": "\n"}, "dataset.separator: '\\n' cannot separate cells"),
        ({"columns": {"zip": "number"}}, 'dataset.columns: no column "zip"'),
        ({"columns": {"y": "ignore"}}, 'dataset.columns: ignore: "y" is the target'),
        ({"target": ["y", "y"]}, 'dataset.target: "y" is named twice'),
        ({"target": ["x", "k"], "ignore": ()}, 'dataset.target: "k" holds text, such as "a"'),
        ({"index": "y"}, 'dataset.index: "y" is the target'),
    ],
)
def test_keys_that_contradict_are_refused(write: Write, keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(**{"name": "csv", "path": write(TABLE), "target": "y", **keys})
    assert str(caught.value).startswith(message)
