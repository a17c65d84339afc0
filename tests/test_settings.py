"""Short names of keys."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regrun.settings import short_keys


@pytest.mark.parametrize(
    ("keys", "names"),
    [
        (["optimizer.weight_decay"], ["weight_decay"]),
        (["optimizer.lr", "training.swa.lr"], ["optimizer.lr", "swa.lr"]),
        (["dataset.name", "model.name", "name"], ["dataset.name", "model.name", "name"]),
        (["penalty.0.strength", "penalty.1.strength"], ["0.strength", "1.strength"]),
        (["model.name"], ["model.name"]),
        (["a.b", "b"], ["a.b", "b"]),
        (["seed", "dataset.seed"], ["seed", "dataset.seed"]),
    ],
)
def test_a_key_is_called_by_its_shortest_end_that_is_its_own(
    keys: list[str], names: list[str]
) -> None:
    assert list(short_keys(keys).values()) == names


PARTS = st.sampled_from(["a", "b", "name", "0", "1", "lr"])
KEYS = st.lists(st.lists(PARTS, min_size=1, max_size=4).map(".".join), max_size=8)


@given(KEYS)
def test_short_names_are_ends_of_their_keys_and_unlike_each_other(keys: list[str]) -> None:
    names = short_keys(keys)
    assert list(names) == list(dict.fromkeys(keys))
    assert len(set(names.values())) == len(names)
    assert all(key == name or key.endswith(f".{name}") for key, name in names.items())
