"""`inspect` says what a penalty on two outputs for two classes amounts to."""

from __future__ import annotations

from typing import Any

import pytest

from regrun.config.load import config_from_mapping
from regrun.execution.describe import describe

BASE: dict[str, Any] = {
    "dataset": {"name": "breast_cancer"},
    "model": {"name": "linear"},
    "loss": "cross_entropy",
    "optimizer": {"name": "sgd", "lr": 0.1},
}


def notes(**changes: Any) -> list[str]:
    found = describe(config_from_mapping({**BASE, **changes})).notes
    return [note for note in found if note.startswith("two outputs")]


@pytest.mark.parametrize(
    ("penalty", "relation"),
    [
        ({"type": "l1", "strength": 0.1}, "l1 of strength 0.1 acts as l1 of strength 0.1 "),
        ({"type": "l2", "strength": 0.1}, "l2 of strength 0.1 acts as l2 of strength 0.05 "),
        (
            {"type": "elastic_net", "strength": 0.1, "l1_ratio": 0.5},
            "elastic_net of strength 0.1, l1_ratio 0.5 acts as "
            "elastic_net of strength 0.075, l1_ratio 0.666667 ",
        ),
        (
            {"type": "elastic_net", "strength": 0.1, "l1_ratio": 0, "half": False},
            "elastic_net of strength 0.1, l1_ratio 0 acts as "
            "elastic_net of strength 0.05, l1_ratio 0 ",
        ),
    ],
)
def test_the_relation_is_said_with_numbers(penalty: dict[str, Any], relation: str) -> None:
    (note,) = notes(penalty=penalty)
    assert note == (
        f"two outputs for two classes: on output.weight {relation}on the weights of one logit "
        "(loss: binary_cross_entropy)"
    )


def test_nothing_is_said_where_there_is_one_output_or_no_relation() -> None:
    l2 = {"type": "l2", "strength": 0.1}
    assert notes(penalty=l2, loss="auto") == []
    assert notes(penalty=l2, dataset={"name": "wine"}) == []
    assert notes(penalty={**l2, "strength": 0}) == []
    assert notes(penalty={**l2, "apply_to": "bias"}) == []
    assert notes(penalty={"type": "orthogonal", "strength": 0.1}) == []
    assert notes(penalty=[l2, l2]) == 2 * notes(penalty=l2)
