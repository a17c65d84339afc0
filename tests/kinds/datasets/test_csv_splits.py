"""Columns of a table that divide its rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from regrun.errors import ConfigError, CorruptInputError
from tests.support.datasets import load

RNG = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "dose": RNG.normal(size=120).round(4),
        "patient": [f"p{row // 4}" for row in range(120)],
        "day": pd.date_range("2024-01-01", periods=120, freq="6h").strftime("%Y-%m-%dT%H:%M"),
        "ward": np.where(np.arange(120) % 10 == 0, "icu", "general"),
        "effect": RNG.normal(size=120).round(4),
    }
)
Write = Callable[[pd.DataFrame, str], str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(frame: pd.DataFrame, name: str = "a.csv") -> str:
        frame.to_csv(tmp_path / name, index=False)
        return str(tmp_path / name)

    return write


def rows_of(values: object) -> list[int]:
    """The rows of the file, by their doses."""
    by_dose = {dose: row for row, dose in enumerate(FRAME["dose"].round(4))}
    return [by_dose[round(float(value), 4)] for value in np.asarray(values)[:, 0]]


def test_patients_stay_together_and_their_column_is_no_feature(write: Write) -> None:
    data = load(
        name="csv", path=write(FRAME, "a.csv"), target="effect", group="patient", validation=0.2,
        ignore=["day", "ward"], standardize=False,
    )  # fmt: skip
    assert data.feature_names == ("dose",)
    assert data.validation is not None
    parts = [data.train, data.validation, data.test]
    patients = [set(FRAME["patient"].iloc[rows_of(part.inputs)]) for part in parts]
    assert sum(map(len, patients)) == 30
    assert set.union(*patients) == set(FRAME["patient"])
    cards = {card.name: card.role for card in data.card.columns}
    assert cards["patient"] == "group"
    assert "groups" in data.card.split


@pytest.mark.parametrize("shuffled", [False, True])
def test_the_latest_days_are_the_test_set(write: Write, shuffled: bool) -> None:
    frame = FRAME.sample(frac=1, random_state=1) if shuffled else FRAME
    data = load(
        name="csv", path=write(frame, "a.csv"), target="effect", time="day", test=20,
        validation=10, ignore=["patient", "ward"], standardize=False,
    )  # fmt: skip
    assert data.validation is not None
    assert sorted(rows_of(data.test.inputs)) == list(range(100, 120))
    assert sorted(rows_of(data.validation.inputs)) == list(range(90, 100))


def test_a_column_to_stratify_by_stays_a_feature(write: Write) -> None:
    data = load(
        name="csv", path=write(FRAME, "a.csv"), target="effect", stratify="ward", test=20,
        ignore=["patient", "day"], standardize=False,
    )  # fmt: skip
    assert data.test.inputs[:, data.feature_names.index("ward=icu")].sum() == 2


def test_two_ways_to_divide_are_refused(write: Write) -> None:
    with pytest.raises(ConfigError, match=r"dataset\.time: group is given, too"):
        load(name="csv", path=write(FRAME, "a.csv"), target="effect", group="patient", time="day")


def test_a_time_that_is_none_is_named_with_its_line(write: Write) -> None:
    frame = FRAME.assign(day=["soon", *FRAME["day"][1:]])
    with pytest.raises(CorruptInputError, match=r"a\.csv:2: column \"day\": 'soon' is neither"):
        load(name="csv", path=write(frame, "a.csv"), target="effect", time="day")


def test_a_group_of_both_files_is_refused(write: Write) -> None:
    train, test = write(FRAME[:100], "a.csv"), write(FRAME[98:], "b.csv")
    with pytest.raises(ConfigError, match=r"b\.csv:2: group \"p24\" is in .*a\.csv, too"):
        load(name="csv", path=train, test_path=test, target="effect", group="patient")


def test_a_missing_group_is_named(write: Write) -> None:
    frame = FRAME.assign(patient=["", *FRAME["patient"][1:]])
    with pytest.raises(CorruptInputError, match=r"a\.csv:2: column \"patient\" is empty"):
        load(name="csv", path=write(frame, "a.csv"), target="effect", group="patient")
