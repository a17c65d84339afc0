"""The table of predictions, in terminals of any width."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from regrun.cli.predict import _report

FRAME = pd.DataFrame(
    {
        "customer": ["C1", "C2"],
        "monthly_fee": [59.666666, 8.0],
        "remark": ["is rather content with what there is", "–"],
        "prediction": ["yes", "no"],
        "p(no)": [0.25, 0.5],
        "p(yes)": [0.75, 0.5],
        "spread": [0.01, 0.125],
    }
)


@pytest.mark.parametrize(
    ("columns", "lines"),
    [
        ("85", [
            "customer  monthly_fee  remark                    prediction  p(no)  p(yes)  spread",
            "C1        59.67        is rather c…hat there is  yes         0.25   0.75    0.01",
            "C2         8           –                         no          0.5    0.5     0.125",
        ]),
        ("54", [
            "          monthly_",
            "customer       fee  prediction  p(no)  p(yes)  spread",
            "C1        59.67     yes         0.25   0.75    0.01",
            "C2         8        no          0.5    0.5     0.125",
            "the first 2 of 2 rows, 6 of 7 columns",
        ]),
        ("30", [
            "prediction  p(no)  spread",
            "yes         0.25   0.01",
            "no          0.5    0.125",
            "the first 2 of 2 rows, 3 of 7 columns",
        ]),
    ],
)  # fmt: skip
def test_the_last_inputs_are_left_out_first_and_predictions_stay(
    columns: str, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    parts: list[Any] = _report(FRAME, None, None)
    assert "\n".join(map(str, parts)).splitlines() == lines
