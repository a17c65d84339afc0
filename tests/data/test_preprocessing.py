"""The stored preprocessing is what was applied in training."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from regrun.data.preprocessing import (
    ArrayInputs,
    CategoryColumn,
    NumberColumn,
    PictureInputs,
    Preprocessing,
    Scale,
    TableInputs,
)
from regrun.errors import CorruptInputError
from regrun.results import json_document
from tests.support.datasets import load

TABLE = TableInputs(
    columns=[NumberColumn(name="age", fill=3.5), CategoryColumn(name="sex", categories=["f", "m"])]
)
INPUTS = [
    TABLE,
    ArrayInputs(shape=[1, 8, 8], channels="first", dtype="uint16", value_range=(0.0, 65535.0)),
    PictureInputs(size=(24, 32), background="black"),
]


@pytest.mark.parametrize("inputs", INPUTS, ids=lambda each: each.kind)
def test_preprocessing_is_read_back_as_it_was(
    inputs: TableInputs | ArrayInputs | PictureInputs,
) -> None:
    scale = Scale.of(torch.tensor([[[0.1]], [[1 / 3]]]), torch.tensor([[[2.0]], [[1e-30]]]))
    written = Preprocessing(dataset="csv", inputs=inputs, input_scale=scale, classes=["a", "b"])
    again = Preprocessing.from_json(json_document(written), Path("preprocessing.json"))
    assert again == written


def test_a_scale_survives_json_to_the_last_bit() -> None:
    drawn = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 3, 4)))
    scale = Scale.of(drawn[0], drawn[1].abs())
    again = Scale.from_json(json_document(scale), Path("x"))
    assert torch.equal(again.apply(drawn), (drawn - drawn[0]) / drawn[1].abs())
    torch.testing.assert_close(again.invert(again.apply(drawn)), drawn)


def test_damaged_preprocessing_names_the_key() -> None:
    document = Preprocessing(dataset="csv", inputs=TABLE).to_dict()
    document["inputs"]["columns"][0]["name"] = 3
    with pytest.raises(CorruptInputError, match=r"preprocessing\.json: .*columns"):
        Preprocessing.from_json(json.dumps(document).encode(), Path("preprocessing.json"))


def test_a_table_from_scikit_learn_is_standardized_by_its_stored_scale() -> None:
    from sklearn.datasets import load_diabetes

    data = load(name="diabetes")
    scale = data.preprocessing.input_scale
    assert scale is not None
    everything = scale.apply(torch.from_numpy(load_diabetes().data))
    rows = {tuple(row) for row in everything.tolist()}
    assert {tuple(row) for row in data.train.inputs.tolist()} <= rows


def test_pictures_keep_the_moments_of_their_pixels() -> None:
    data = load(name="fashion_mnist", num_train=50, num_test=10, standardize=True)
    scale = data.preprocessing.input_scale
    assert scale is not None
    pixels = data.train.inputs.double() / 255
    np.testing.assert_allclose(scale.mean, pixels.mean().item(), rtol=1e-12)
    np.testing.assert_allclose(scale.std, pixels.std(correction=0).item(), rtol=1e-12)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("separator", "ab"),
        ("separator", "\n"),
        ("decimal", "x"),
        ("skip_rows", -1),
        ("comment", ""),
    ],
)
def test_a_format_that_no_table_has_is_refused_by_its_key(key: str, value: object) -> None:
    written = json.dumps({"kind": "table", "columns": [{"type": "number", "name": "a"}]})
    content = {**json.loads(written), "format": {key: value}}
    with pytest.raises(CorruptInputError, match=rf"preprocessing\.json: damaged: format\.{key}: "):
        TableInputs.from_json(json.dumps(content).encode(), Path("preprocessing.json"))


SCALE = {"shape": [2], "mean": [0.0, 1.0], "std": [1.0, 2.0]}


@pytest.mark.parametrize(
    "change",
    [{"std": [1.0, 0.0]}, {"std": [1.0]}, {"shape": [3]}, {"shape": [-2]}, {"mean": [0.0, None]}],
)
def test_a_scale_that_nothing_was_fitted_to_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(CorruptInputError, match=r"preprocessing\.json: damaged: "):
        Scale.from_json(json.dumps({**SCALE, **change}).encode(), Path("preprocessing.json"))
