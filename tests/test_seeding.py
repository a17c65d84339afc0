"""Seeds derived for a purpose: stable across versions, and apart from each other."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from regrun.seeding import derive

SEED = st.integers(0, 2**63 - 1)
COUNTERS = st.lists(st.integers(0, 2**40), max_size=3)


def test_streams_stay_what_they_were_in_earlier_versions_and_on_other_machines() -> None:
    assert derive(0, "order", 0) == 7847784135914606429
    assert derive(2**63 - 1, "dropout", 3, 7) == 8958929183729932890


@given(SEED, st.text(max_size=9), COUNTERS)
def test_a_derived_seed_fits_in_63_bits(seed: int, purpose: str, counters: list[int]) -> None:
    assert 0 <= derive(seed, purpose, *counters) < 2**63


def test_seeds_purposes_and_counters_do_not_run_into_each_other() -> None:
    keys = [
        (s, p, *c) for s in range(20) for p in ("a", "b", "a1") for c in ((), (1,), (1, 1), (11,))
    ]
    assert len({derive(*key) for key in keys}) == len(keys)
