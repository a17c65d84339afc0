"""What `inspect --data` shows is what was read."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from regrun.config.load import config_from_mapping
from regrun.execution.preview import PICTURES, preview
from tests.support.runs import DIGITS, LINEAR


def test_a_table_is_shown_as_its_file_has_it(tmp_path: Path) -> None:
    path = tmp_path / "flats.csv"
    rows = [[7 * i % 31, ["north", "south", "east"][i % 3], 1000.5 + i] for i in range(30)]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["area", "district", "price"], *rows])
    dataset = {"name": "csv", "path": str(path), "target": "price"}
    shown = dict(preview(config_from_mapping({**LINEAR, "dataset": dataset})).rows)
    price = list(shown)[-1]
    found = zip(shown["area"], shown[price], strict=True)
    known = {(f"{area:g}", f"{price:.6g}") for area, _, price in rows}
    assert set(found) <= known


def test_pictures_are_shown_class_by_class() -> None:
    found = preview(config_from_mapping(DIGITS))
    assert len(found.pictures) == PICTURES
    assert {found.captions.count(str(digit)) for digit in range(10)} <= {2, 3}
    assert all(picture.shape == (8, 8, 3) for picture in found.pictures)
    assert all(np.ptp(picture) == 255 for picture in found.pictures)


def test_the_card_counts_the_examples_of_every_part() -> None:
    card = preview(config_from_mapping(DIGITS)).card
    assert card.sizes == {"train": 60, "validation": 50, "test": 40}
    assert sum(each.train for each in card.classes) == 60
    assert sum(each.test or 0 for each in card.classes) == 40
    assert (card.input.low, card.input.high) == (0, 16)
