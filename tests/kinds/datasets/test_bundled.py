"""The datasets of scikit-learn, compared with its own loaders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from regrun.data.dataset import Split
from regrun.data.targets import Array
from regrun.errors import CorruptInputError, UsageError
from tests.support.datasets import load


@pytest.fixture(scope="session")
def datasets() -> Any:
    """scikit-learn's own loaders."""
    from sklearn import datasets

    return datasets


def rows(*parts: Split | None) -> Array:
    return np.concatenate([part.inputs.flatten(1).numpy() for part in parts if part is not None])


def as_multiset(table: Array) -> Array:
    return np.asarray(table[np.lexsort(table.T)])


@pytest.mark.parametrize(
    ("name", "num_examples", "shape", "num_outputs"),
    [
        ("digits", 1797, (1, 8, 8), 10),
        ("breast_cancer", 569, (30,), 2),
        ("wine", 178, (13,), 3),
        ("diabetes", 442, (10,), 1),
    ],
)
def test_every_example_is_in_exactly_one_part(
    datasets: Any, name: str, num_examples: int, shape: tuple[int, ...], num_outputs: int
) -> None:
    data = load(name=name, validation=0.1, standardize=False)
    assert data.input_shape == shape
    assert data.num_outputs == num_outputs
    bunch = getattr(datasets, f"load_{name}")()
    expected = bunch.data / 16 if name == "digits" else bunch.data
    found = rows(data.train, data.validation, data.test)
    assert len(found) == num_examples
    np.testing.assert_array_equal(as_multiset(found), as_multiset(expected))


@pytest.mark.parametrize("name", ["digits", "breast_cancer", "wine"])
def test_labels_stay_with_their_examples(datasets: Any, name: str) -> None:
    data = load(name=name, standardize=False)
    bunch = getattr(datasets, f"load_{name}")()
    scale = 16 if name == "digits" else 1
    labels = {tuple(x): y for x, y in zip((bunch.data / scale).tolist(), bunch.target, strict=True)}
    for part in (data.train, data.test):
        for x, y in zip(part.inputs.flatten(1).tolist(), part.targets.tolist(), strict=True):
            assert labels[tuple(x)] == y
    assert data.class_names == tuple(str(each) for each in bunch.target_names)


def test_digits_are_images_between_0_and_1() -> None:
    inputs = load(name="digits").train.inputs
    assert inputs.dtype == torch.float64
    assert (float(inputs.min()), float(inputs.max())) == (0, 1)


def test_tables_are_standardised_by_their_training_rows_alone() -> None:
    data = load(name="wine", validation=0.2, num_train=60)
    raw = load(name="wine", validation=0.2, num_train=60, standardize=False)
    mean, std = raw.train.inputs.numpy().mean(0), raw.train.inputs.numpy().std(0)
    for part in ("train", "validation", "test"):
        expected = (getattr(raw, part).inputs.numpy() - mean) / std
        np.testing.assert_allclose(getattr(data, part).inputs, expected, rtol=1e-9, atol=1e-12)


def test_diabetes_keeps_its_target_and_is_scaled_on_demand_as_by_scikit_learn(
    datasets: Any,
) -> None:
    bunch = datasets.load_diabetes()
    data = load(name="diabetes", standardize=False, standardize_target=False)
    np.testing.assert_allclose((rows(data.train, data.test) ** 2).sum(0), 1)
    by_row = {tuple(x): y for x, y in zip(bunch.data.tolist(), bunch.target, strict=True)}
    for x, y in zip(data.train.inputs.tolist(), data.train.targets[:, 0].tolist(), strict=True):
        assert by_row[tuple(x)] == y


def test_breast_cancer_can_be_a_regression_of_the_label() -> None:
    data = load(name="breast_cancer", task="regression")
    assert (data.task, data.num_outputs, data.class_names) == ("regression", 1, ())
    assert data.train.targets.dtype == torch.float64
    assert set(data.train.targets.flatten().tolist()) == {0, 1}


def test_too_large_a_validation_set_is_refused_with_the_figures() -> None:
    with pytest.raises(UsageError, match=r"dataset\.validation: 500: only 354 training examples"):
        load(name="diabetes", validation=500)


@pytest.fixture
def california(datasets: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The download, replaced by a small table."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REGRUN_DATA", raising=False)
    from sklearn.utils import Bunch

    calls: list[str] = []

    def fetch(data_home: str) -> Any:
        calls.append(data_home)
        (tmp_path / data_home).mkdir()
        (tmp_path / data_home / "cal_housing.pkz").write_bytes(b"a pickle")
        table = np.random.default_rng(0).normal(size=(50, 8))
        return Bunch(data=table, target=table.sum(1))

    monkeypatch.setattr(datasets, "fetch_california_housing", fetch)
    return calls


def test_california_housing_is_downloaded_once_and_kept_without_a_pickle(
    california: list[str], tmp_path: Path
) -> None:
    first = load(name="california_housing")
    second = load(name="california_housing")
    assert len(california) == 1
    assert first.fingerprint() == second.fingerprint()
    assert [file.name for file in (tmp_path / "data").iterdir()] == ["california_housing.npz"]
    assert (first.num_outputs, first.feature_names[0]) == (1, "MedInc")


def test_data_found_elsewhere_than_in_their_root_are_noted(
    california: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(name="california_housing", root="here")
    monkeypatch.setenv("REGRUN_DATA", "here")
    assert not load(name="california_housing").notes
    assert not load(name="california_housing", root="here").notes
    assert load(name="california_housing", root="nowhere").notes == (
        "dataset.root: nowhere does not hold california_housing, which was read from here",
    )


def test_california_housing_without_a_connection_says_what_to_do(
    california: list[str], datasets: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(data_home: str) -> Any:
        raise OSError("no route to host")

    monkeypatch.setattr(datasets, "fetch_california_housing", fetch)
    with pytest.raises(UsageError, match=r"no route to host\n.*california_housing\.npz"):
        load(name="california_housing")


def test_a_damaged_california_housing_file_is_named(california: list[str], tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "california_housing.npz").write_bytes(b"PK\x03\x04 not a zip")
    with pytest.raises(CorruptInputError, match=r"california_housing\.npz: "):
        load(name="california_housing")
