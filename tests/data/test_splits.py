"""Which examples go into which part."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from regrun.data.splits import Parts, SplitOrder, Splitter
from regrun.errors import ConfigError

NUMBERS = torch.zeros(100, 1, dtype=torch.float64)
CLASSES = torch.arange(200) % 4 % 3  # class 0 twice as often as 1 and 2


def parts_as_sets(parts: Parts) -> tuple[set[int], set[int], set[int]]:
    validation = set() if parts.validation is None else set(parts.validation.tolist())
    return set(parts.train.tolist()), validation, set(parts.test.tolist())


@given(st.integers(1, 40), st.integers(0, 40), st.integers(0, 2**63 - 1))
def test_parts_are_disjoint_and_together_everything(test: int, validation: int, seed: int) -> None:
    parts = Splitter(validation=validation, seed=seed).split(NUMBERS, test)
    train, held, tested = parts_as_sets(parts)
    assert (len(held), len(tested)) == (validation, test)
    assert len(train) + len(held) + len(tested) == 100
    assert train | held | tested == set(range(100))


@pytest.mark.parametrize("seed", [0, 1, 2**40])
def test_classes_keep_their_proportions(seed: int) -> None:
    parts = Splitter(validation=20, num_train=40, num_test=12, seed=seed).split(CLASSES, 40)
    for indices, expected in (
        (parts.train, [20, 10, 10]),
        (parts.validation, [10, 5, 5]),
        (parts.test, [6, 3, 3]),
    ):
        assert torch.bincount(CLASSES[indices]).tolist() == expected


def test_the_same_seed_draws_the_same_parts_and_another_others() -> None:
    one, same, other = (Splitter(validation=10, seed=s).split(NUMBERS, 0.2) for s in (5, 5, 6))
    assert parts_as_sets(one) == parts_as_sets(same)
    assert parts_as_sets(one)[1] != parts_as_sets(other)[1]
    assert parts_as_sets(one)[2] != parts_as_sets(other)[2]


def test_num_train_changes_neither_validation_nor_test() -> None:
    few = Splitter(validation=10, num_train=5).split(NUMBERS, 20)
    many = Splitter(validation=10, num_train=50).split(NUMBERS, 20)
    assert (len(few.train), len(many.train)) == (5, 50)
    assert parts_as_sets(few)[1:] == parts_as_sets(many)[1:]


def test_validation_does_not_change_the_test_set() -> None:
    without, with_it = (Splitter(validation=v).split(NUMBERS, 20) for v in (0, 30))
    assert without.validation is None
    assert torch.equal(without.test, with_it.test)


def test_a_test_set_given_apart_is_used_whole() -> None:
    parts = Splitter(validation=0.5).split(NUMBERS, NUMBERS[:7])
    assert parts.test.tolist() == list(range(7))
    assert parts.validation is not None
    assert (len(parts.train), len(parts.validation)) == (50, 50)


def test_a_small_fraction_still_holds_out_one() -> None:
    parts = Splitter(validation=0.001).split(NUMBERS, 0.001)
    assert parts.validation is not None
    assert (len(parts.train), len(parts.validation), len(parts.test)) == (98, 1, 1)


@pytest.mark.parametrize(
    ("keys", "targets", "test", "path", "message"),
    [
        ({"validation": 500}, NUMBERS, 20, "validation", "500: only 80 training examples"),
        ({"validation": 80}, NUMBERS, 20, "validation", "80: only 80 training examples"),
        ({"num_train": 81}, NUMBERS, 20, "num_train", "81: only 80 training examples"),
        ({"num_test": 21}, NUMBERS, 20, "num_test", "21: only 20 test examples"),
        ({}, NUMBERS, 100, "test", "100: only 100 training examples"),
        ({}, NUMBERS, 0.999, "test", "0.999: only 100 training examples"),
        ({"num_train": 2}, CLASSES, 20, "num_train", "2: 2 of 180 examples; both parts need"),
        (
            {"validation": 178},
            CLASSES,
            20,
            "validation",
            "178: 178 of 180 examples; both parts need",
        ),
        ({}, torch.tensor([0, 0, 1]), 1, "test", "1: class 'dog' has 1 example"),
    ],
)
def test_a_split_that_cannot_be_is_refused_at_its_key(
    keys: dict[str, Any], targets: Tensor, test: float, path: str, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        Splitter(**keys, class_names=("cat", "dog", "cow")).split(targets, test)
    assert str(caught.value).startswith(f"dataset.{path}: {message}")


def order_of(**given: Any) -> SplitOrder:
    return SplitOrder(**{name: torch.tensor(values) for name, values in given.items()})


GROUPS = [row // 3 for row in range(100)]


@given(st.integers(0, 2**31), st.sampled_from([0.1, 0.3, 20]), st.sampled_from([0, 0.25, 10]))
def test_a_group_is_never_in_two_parts(seed: int, test: float, validation: float) -> None:
    splitter = Splitter(validation=validation, seed=seed, order=order_of(groups=GROUPS))
    parts = splitter.split(NUMBERS, test)
    groups = [{GROUPS[index] for index in part} for part in parts_as_sets(parts)]
    assert all(groups[one].isdisjoint(groups[two]) for one, two in ((0, 1), (0, 2), (1, 2)))
    assert sum(map(len, parts_as_sets(parts))) == 100
    share = test if test < 1 else test / 100
    assert len(groups[2]) == round(share * 34)


def test_all_of_one_group_cannot_be_divided() -> None:
    splitter = Splitter(order=order_of(groups=[7] * 100))
    with pytest.raises(ConfigError, match=r"dataset\.test: 0\.2: only 1 groups"):
        splitter.split(NUMBERS, 0.2)


@given(st.lists(st.integers(0, 40), min_size=100, max_size=100), st.integers(1, 40))
def test_the_future_is_tested_on_and_no_time_is_in_two_parts(times: list[int], count: int) -> None:
    splitter = Splitter(validation=10, order=order_of(times=times))
    try:
        parts = splitter.split(NUMBERS, count)
    except ConfigError as error:
        assert "no example is earlier" in str(error)
        return
    train, held, tested = ({times[index] for index in part} for part in parts_as_sets(parts))
    assert max(train) < min(held) <= max(held) < min(tested)
    assert len(parts.test) >= count


def test_of_examples_with_times_the_latest_are_trained_on() -> None:
    splitter = Splitter(num_train=5, order=order_of(times=list(range(99, -1, -1))))
    parts = splitter.split(NUMBERS, 10)
    assert parts.train.tolist() == [10, 11, 12, 13, 14]
    assert parts.test.tolist() == list(range(10))


def test_strata_keep_their_proportions_in_place_of_the_classes() -> None:
    strata = [int(row < 20) for row in range(200)]
    parts = Splitter(validation=20, order=order_of(strata=strata)).split(CLASSES, 40)
    assert sum(strata[index] for index in parts.test.tolist()) == 4
    assert parts.validation is not None
    assert sum(strata[index] for index in parts.validation.tolist()) == 2


def test_a_test_of_zero_leaves_no_test_set() -> None:
    parts = Splitter(validation=10).split(NUMBERS, 0)
    assert (len(parts.train), len(parts.test)) == (90, 0)
    assert parts.description.startswith("test: none; validation: 10 of 100")
    with pytest.raises(ConfigError, match=r"dataset\.num_test: 5: there is no test set"):
        Splitter(num_test=5).split(NUMBERS, 0)
