"""`regrun init`: what it writes for many kinds of data, and that it trains."""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from regrun.config.load import load_config
from regrun.errors import CorruptInputError, UsageError
from regrun.execution.first_config import first_config
from regrun.execution.train import train_run
from regrun.results import FirstConfig

ROWS = 60


def rows(make: Callable[[int, random.Random], str], count: int = ROWS) -> str:
    """Lines made from their numbers and a generator."""
    generator = random.Random(0)
    return "".join(f"{make(i, generator)}\n" for i in range(count))


def pair(r: random.Random) -> tuple[float, float]:
    return round(r.gauss(0, 1), 3), round(r.gauss(0, 1), 3)


def numbers(i: int, r: random.Random) -> str:
    a, b = pair(r)
    return f"{a},{b},{a + 2 * b:.3f}"


def classes(*names: str) -> Callable[[int, random.Random], str]:
    return lambda i, r: ",".join([*map(str, pair(r)), names[i % len(names)]])


def with_comma(text: str) -> str:
    return text.replace(",", ";").replace(".", ",")


TABLES: dict[str, tuple[str, dict[str, Any]]] = {
    "regression": (
        "a,b,y\n" + rows(numbers),
        {"target": "y", "task": "regression"},
    ),
    "two classes": (
        "a,b,y\n" + rows(classes("no", "yes")),
        {"target": "y", "task": "classification"},
    ),
    "two classes as 0 and 1": (
        "a,b,y\n" + rows(classes("0", "1")),
        {"target": "y", "task": "classification"},
    ),
    "true and false": (
        "a,b,y\n" + rows(classes("True", "False")),
        {"task": "classification"},
    ),
    "several classes": (
        "a,b,kind\n" + rows(classes("oak", "elm", "ash")),
        {"target": "kind", "task": "classification"},
    ),
    "integers that are many": (
        "a,b,y\n" + rows(lambda i, r: f"{pair(r)[0]},{i % 7},{r.randrange(10_000)}"),
        {"task": "regression"},
    ),
    "empty cells": (
        "a,b,y\n" + rows(lambda i, r: f"{'' if i % 5 == 0 else i / 7:.4},{i % 3},{i % 2}"),
        {"missing": "median"},
    ),
    "NA among numbers": (
        "a,b,y\n" + rows(lambda i, r: f"{'NA' if i % 5 == 0 else r.random()},{i % 3},{i % 2}"),
        {"missing": "median"},
    ),
    "empty texts": (
        "a,b,y\n" + rows(lambda i, r: f"{r.random()},{['', 'x', 'z'][i % 3]},{i % 2}"),
        {"missing": "median"},
    ),
    "question marks": (
        "a,b,y\n" + rows(lambda i, r: f"{'?' if i % 9 == 0 else r.random()},{i % 3},{i % 2}"),
        {"missing_values": ["?"], "missing": "median"},
    ),
    "a mistyped number": (
        "a,b,y\n" + rows(lambda i, r: f"{'1O' if i == 5 else r.random()},{i % 3},{i % 2}"),
        {"missing_values": ["1O"], "missing": "median"},
    ),
    "dates": (
        "a,when,y\n" + rows(lambda i, r: f"{r.random()},2024-01-{1 + i % 28:02},{r.random()}"),
        {"ignore": ["when"], "target": "y"},
    ),
    "a date as the last column": (
        "a,y,when\n" + rows(lambda i, r: f"{r.random()},{r.random()},2024-01-{1 + i % 28:02}"),
        {"ignore": ["when"], "target": "y"},
    ),
    "semicolons": (
        "a;b;y\n" + rows(numbers).replace(",", ";"),
        {"separator": ";", "target": "y"},
    ),
    "semicolons and decimal commas": (
        "a;b;y\n" + with_comma(rows(numbers)),
        {"separator": ";", "decimal": ",", "task": "regression"},
    ),
    "decimal commas and points between thousands": (
        "a;b;y\n" + rows(lambda i, r: f"{1 + i}.{100 + i},5;{i % 3};{i % 2}"),
        {"separator": ";", "decimal": ",", "thousands": "."},
    ),
    "commas between thousands": (
        "a;b;y\n" + rows(lambda i, r: f"{1 + i},{100 + i}.5;{i % 3};{i % 2}"),
        {"separator": ";", "thousands": ","},
    ),
    "tabs": ("a\tb\ty\n" + rows(numbers).replace(",", "\t"), {"separator": "\t"}),
    "bars": ("a|b|y\n" + rows(numbers).replace(",", "|"), {"separator": "|"}),
    "blanks": ("a b y\n" + rows(numbers).replace(",", "   "), {"separator": " "}),
    "text columns": (
        "town,size,y\n" + rows(lambda i, r: f"{['Bonn', 'Köln'][i % 2]},{r.random()},{i % 3}"),
        {"task": "classification"},
    ),
    "a column of comments": (
        "note,size,y\n" + rows(lambda i, r: f"comment {i} of many,{r.random()},{i % 2}"),
        {"ignore": ["note"]},
    ),
    "an identifier": (
        "customer_id,size,y\n" + rows(lambda i, r: f"{1000 + 7 * i},{r.random()},{i % 2}"),
        {"ignore": ["customer_id"]},
    ),
    "an identifier as the last column": (
        "size,y,id\n" + rows(lambda i, r: f"{r.random()},{i % 2},{i}"),
        {"ignore": ["id"], "target": "y"},
    ),
    "nothing but an identifier": (
        "id,y\n" + rows(lambda i, r: f"{i},{2 * i + r.random()}"),
        {"target": "y", "ignore": None},
    ),
    "an empty column": (
        "a,b,y\n" + rows(lambda i, r: f"{r.random()},,{i % 2}"),
        {"ignore": ["b"]},
    ),
    "a column without a name": (
        "a,,y\n" + rows(lambda i, r: f"{r.random()},{i % 4},{i % 2}"),
        {"target": "y"},
    ),
    "an index of pandas": (
        ",a,y\n" + rows(lambda i, r: f"{i},{r.random()},{i % 2}"),
        {"target": "y"},
    ),
    "percentages": (
        "a,b,y\n" + rows(lambda i, r: f"{i % 50}%,{r.random()},{i % 2}"),
        {"columns": {"a": "number"}},
    ),
    "no header": (rows(numbers), {"header": "none", "target": "2", "task": "regression"}),
    "no header and decimal commas": (
        with_comma(rows(numbers)),
        {"header": "none", "decimal": ",", "separator": ";", "target": "2"},
    ),
    "comments above": (
        "# measured in 2024\na,b,y\n" + rows(numbers),
        {"comment": "#", "target": "y"},
    ),
    "a line that names the separator": (
        "sep=;\na;b;y\n" + rows(numbers).replace(",", ";"),
        {"separator": ";", "skip_rows": 1},
    ),
    "a title above": (
        "Measurements of 2024\n\na,b,y\n" + rows(numbers),
        {"skip_rows": 1, "target": "y"},
    ),
    "names that YAML takes for other types": (
        'no,"a: #b",null\n' + rows(numbers),
        {"target": "null", "task": "regression"},
    ),
    "a constant last column": (
        "a,y,unit\n" + rows(lambda i, r: f"{r.random()},{i % 2},cm"),
        {"target": "y"},
    ),
    "rare classes": (
        "a,b,y\n" + rows(lambda i, r: f"{r.random()},{i % 3},{int(i % 10 == 0)}"),
        {"task": "classification"},
    ),
    "a class of one row": (
        "a,b,y\n" + rows(lambda i, r: f"{r.random()},{i % 3},{'rare' if i == 7 else 'often'}"),
        {"validation": 0, "test": 0},
    ),
    "five rows": ("a,y\n1.5,2.5\n2,3.5\n3,4.5\n4,5.5\n5,6.5\n", {"task": "regression"}),
}


EXPECTED = """\
# A first config for data.csv: 60 examples, inputs of 1, 2 classes.
name: data  # where runs are kept: runs/NAME
dataset:
  name: csv  # how the file is read: `regrun list datasets`
  path: data.csv  # from the folder of this file
  target: y  # the column to predict: the last one (--target chooses another)
  ignore: [customer_id]  # no features: customer_id looks like an identifier
  # as found, since "y" holds 2 different integers, 0 to 1 (dataset.task: regression predicts them
  # as numbers)
  task: classification
  test: 0.2  # held out to measure the result
  validation: 0.2  # held out to choose settings by
  # classes have 4 to 34 training examples; to count all
  # alike in the training loss:
  # class_weights: balanced
model:
  name: mlp  # dense layers; `linear` is the simplest model
  hidden: [16, 16]  # units of each hidden layer
  dropout: 0.0  # share of units that are left out in each step; try 0.2
optimizer:
  name: adam  # needs little tuning
  lr: 0.001  # the usual first value; try 0.003 and 0.0003
  weight_decay: 0  # strength of L2 regularization; the sweep below varies it
metrics: [balanced_accuracy]  # the mean over classes: accuracy hides rare ones
training:
  epochs: 200  # passes over the training examples
  batch_size: 32  # examples of one step
  # ends when val/loss gets no better, and keeps the best weights; without this key
  # all epochs are trained, and overfitting shows
  early_stopping: {patience: 20}
sweep:  # for `regrun sweep`; `regrun train` does not look at it
  grid: {optimizer.weight_decay: [0, 1.0e-3, 1.0e-2, 1.0e-1]}  # values to compare
  seeds: 3  # runs of each value, for intervals
"""


def check(data: Path, output: Path, target: str | None = None) -> tuple[FirstConfig, str]:
    """What is written loads, and trains."""
    found, text = first_config(data, output, target)
    output.write_text(text, encoding="utf-8")
    loaded = load_config(output, ["training.epochs=1"])
    assert loaded.config.sweep is not None
    summary = train_run(loaded, runs_dir=output.parent / "runs", device="cpu")
    assert summary.status == "completed"
    assert summary.data is not None
    assert summary.data.task == found.task
    return found, text


@pytest.mark.parametrize("name", TABLES)
def test_a_table_gets_the_keys_that_it_needs_and_trains(name: str, tmp_path: Path) -> None:
    text, expected = TABLES[name]
    (tmp_path / "data.csv").write_text(text, encoding="utf-8")
    check(tmp_path / "data.csv", tmp_path / "data.yaml")
    dataset = load_config(tmp_path / "data.yaml").source.tree["dataset"]
    assert {key: dataset.get(key) for key in expected} == expected
    untouched = {"separator", "decimal", "thousands", "missing_values", "header", "missing"}
    assert not (untouched & dataset.keys()) - expected.keys()


def test_what_is_written_is_this(tmp_path: Path) -> None:
    table = "customer_id,size,y\n" + rows(lambda i, r: f"{7 * i},{r.random()},{int(i % 10 == 0)}")
    (tmp_path / "data.csv").write_text(table, encoding="utf-8")
    _, text = first_config(tmp_path / "data.csv", tmp_path / "data.yaml")
    assert text == EXPECTED


def test_every_key_may_be_taken_out_of_its_comment(tmp_path: Path) -> None:
    table = "a,b,y\n" + rows(lambda i, r: f"{r.random()},{i % 3},{int(i % 10 == 0)}")
    (tmp_path / "data.csv").write_text(table, encoding="utf-8")
    _, text = first_config(tmp_path / "data.csv", tmp_path / "data.yaml")
    (tmp_path / "data.yaml").write_text(text.replace("# class_weights", "class_weights"))
    assert load_config(tmp_path / "data.yaml").config.dataset.class_weights == "balanced"


@pytest.mark.parametrize(
    ("wanted", "target"), [("a", "a"), ("0", "a"), ("-1", "y"), (None, "y"), ("id", "id")]
)
def test_the_target_may_be_chosen(wanted: str | None, target: str, tmp_path: Path) -> None:
    table = "a,id,y\n" + rows(lambda i, r: f"{r.random()},{i},{i % 2}")
    (tmp_path / "data.csv").write_text(table, encoding="utf-8")
    found, text = check(tmp_path / "data.csv", tmp_path / "data.yaml", wanted)
    assert found.target == target
    assert ("as --target says" in text) == (wanted is not None)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("", CorruptInputError, "is empty"),
        ("a,b,y\n", CorruptInputError, "no rows"),
        ("y\n1\n2\n3\n", UsageError, 'the only column is "y"'),
        ("a,b\n1,2,3,4\n1\n", CorruptInputError, "4 cells; the header has 2"),
        ("a,a\nx,y\nz,w\n", CorruptInputError, 'two columns are named "a"'),
        ("a,y\n1,2\n1,2\n1,2\n", UsageError, "no column can be predicted"),
        ("\x00\x01\x02", CorruptInputError, "NUL"),
        ("y\n" + "12%\n15%\nNA\n" * 9, UsageError, "no column can be predicted"),
    ],
)
def test_tables_without_anything_to_learn_are_refused(
    text: str, error: type[Exception], message: str, tmp_path: Path
) -> None:
    (tmp_path / "data.csv").write_text(text)
    with pytest.raises(error, match=message):
        check(tmp_path / "data.csv", tmp_path / "data.yaml")


def test_a_target_with_gaps_among_numbers_with_signs_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("a,y\n" + "1,12%\n2,15%\n3,NA\n" * 9)
    with pytest.raises(CorruptInputError, match=r'data.csv:4: the target "y" is empty'):
        first_config(tmp_path / "data.csv", tmp_path / "data.yaml", "y")


def test_an_unknown_target_is_refused_with_the_columns(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("size,rent\n" + rows(lambda i, r: f"{i},{r.random()}"))
    with pytest.raises(UsageError, match='no column "rend"; did you mean "rent"'):
        first_config(tmp_path / "data.csv", tmp_path / "data.yaml", "rend")


FRAME = pd.DataFrame({"a": np.arange(60) / 7, "b": [*"xyz"] * 20, "y": np.arange(60) % 2})


@pytest.mark.parametrize(
    "suffix", [".csv.gz", ".parquet", ".feather", ".xlsx", ".tsv", ".latin.csv"]
)
def test_every_format_of_tables_is_read(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"data{suffix}"
    if suffix == ".csv.gz":
        path.write_bytes(gzip.compress(FRAME.to_csv(index=False).encode()))
    elif suffix == ".parquet":
        FRAME.to_parquet(path, index=False)
    elif suffix == ".feather":
        FRAME.to_feather(path)
    elif suffix == ".xlsx":
        pytest.importorskip("openpyxl")
        FRAME.to_excel(path, index=False)
    elif suffix == ".tsv":
        FRAME.to_csv(path, index=False, sep="\t")
    else:
        path.write_bytes(FRAME.replace("x", "Köln").to_csv(index=False).encode("latin-1"))
    found, _ = check(path, tmp_path / "data.yaml")
    dataset = load_config(tmp_path / "data.yaml").source.tree["dataset"]
    assert (found.dataset, found.target, found.task) == ("csv", "y", "classification")
    assert "separator" not in dataset or suffix == ".tsv"
    assert dataset.get("encoding") == ("cp1252" if suffix == ".latin.csv" else None)


@pytest.mark.parametrize(
    ("shape", "target", "model", "task"),
    [
        ((40, 3), "classes", "mlp", "classification"),
        ((40, 3), "numbers", "mlp", "regression"),
        ((40, 1, 12, 12), "classes", "cnn", "classification"),
        ((40, 4, 4), "classes", "mlp", "classification"),
    ],
)
@pytest.mark.parametrize("parts", [False, True])
def test_archives_of_arrays_train(
    shape: tuple[int, ...], target: str, model: str, task: str, parts: bool, tmp_path: Path
) -> None:
    generator = np.random.default_rng(0)
    x = generator.integers(0, 256, shape).astype(np.uint8 if len(shape) > 2 else np.float64)
    y = np.arange(40) % 2 if target == "classes" else generator.normal(size=40)
    arrays: dict[str, Any] = {"x": x, "y": y}
    if parts:
        arrays = {"x_train": x[:30], "y_train": y[:30], "x_test": x[30:], "y_test": y[30:]}
    np.savez(tmp_path / "data.npz", **arrays)
    found, _ = check(tmp_path / "data.npz", tmp_path / "data.yaml")
    assert (found.dataset, found.task, found.target) == ("npz", task, None)
    assert load_config(tmp_path / "data.yaml").source.tree["model"]["name"] == model


@pytest.mark.parametrize("parts", [(), ("train", "test"), ("train", "val", "test")])
def test_folders_of_pictures_train(parts: tuple[str, ...], tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for part in parts or (".",):
        for label in ("cat", "dog"):
            folder = tmp_path / "pets" / part / label
            folder.mkdir(parents=True)
            for index in range(6):
                pixels = generator.integers(0, 256, (20, 16, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{index}.png")
    found, _ = check(tmp_path / "pets", tmp_path / "pets.yaml")
    assert (found.dataset, found.task) == ("image_folder", "classification")
    dataset = load_config(tmp_path / "pets.yaml").source.tree["dataset"]
    held = {"validation": "val", "test": "test"}
    assert {key for key in held if key in dataset} == {
        key for key, part in held.items() if part not in parts
    }
    assert not any("is not used" in note for note in found.notes)


def test_a_target_of_other_data_than_tables_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=np.zeros((4, 2)), y=np.arange(4))
    for data in (tmp_path / "data.npz", tmp_path):
        with pytest.raises(UsageError, match="only a table leaves a choice"):
            first_config(data, tmp_path / "data.yaml", "y")


CELLS = st.one_of(
    st.integers(-99, 99).map(str),
    st.floats(-9, 9, allow_nan=False).map(lambda value: f"{value:.3g}"),
    st.sampled_from(["", "NA", "x", "y", "?", "1,5", "12%", "2024-01-02", "true", "no", "ä b"]),
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_table_gets_a_config_that_loads_or_an_error(
    data: st.DataObject, tmp_path: Path
) -> None:
    width, separator = data.draw(st.integers(1, 4)), data.draw(st.sampled_from(";,\t"))
    letters = st.characters(exclude_categories=["C", "Z"], exclude_characters='";,|')
    named = st.lists(st.text(letters, min_size=1), min_size=width, max_size=width, unique=True)
    names = data.draw(named)
    kinds = [data.draw(st.lists(CELLS, min_size=1, max_size=4)) for _ in names]
    generator = random.Random(data.draw(st.integers(0, 9)))
    lines = [names, *([generator.choice(kind) for kind in kinds] for _ in range(30))]
    quoted = [[f'"{cell}"' if separator in cell else cell for cell in line] for line in lines]
    path = tmp_path / "data.csv"
    path.write_text("\n".join(separator.join(line) for line in quoted), encoding="utf-8")
    try:
        _, text = first_config(path, tmp_path / "data.yaml")
    except (UsageError, CorruptInputError):
        return
    (tmp_path / "data.yaml").write_text(text, encoding="utf-8")
    load_config(tmp_path / "data.yaml").config.dataset.load()
