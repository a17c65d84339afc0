"""Tables of the user's own: what becomes of columns, targets and mistakes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from regrun.data.dataset import Dataset
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
        (TABLE, {"path": "."}, ConfigError, "dataset.path: .: is not a file"),
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
