"""Random numbers that are a function of a key and a counter."""

from __future__ import annotations

import importlib.util

import pytest
import torch

from regrun.stack.philox import normal_of, philox, uniform_words
from tests.support.program import run_python

WORD = 2**32 - 1

KNOWN = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000",
     "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff",
     "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0",
     "d16cfe09 94fdcceb 5001e420 24126ea1"),
]  # fmt: skip
"""Counter, key and result, of the authors' own tests (Random123, kat_vectors)."""


def in_python(key: int, counter: list[int]) -> list[int]:
    """Philox4x32-10 as its paper writes it, with integers that have no end."""
    a, b, c, d = counter
    low, high = key & WORD, key >> 32 & WORD
    for _ in range(10):
        first, second = a * 0xD2511F53, c * 0xCD9E8D57
        a, b, c, d = (second >> 32) ^ b ^ low, second & WORD, (first >> 32) ^ d ^ high, first & WORD
        low, high = (low + 0x9E3779B9) & WORD, (high + 0xBB67AE85) & WORD
    return [a, b, c, d]


def numbers(text: str) -> list[int]:
    return [int(word, 16) for word in text.split()]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_the_words_are_those_of_the_authors(counter: str, key: str, expected: str) -> None:
    low, high = numbers(key)
    bits = low | high << 32
    signed = bits - (bits >> 63 << 64)
    found = philox(torch.tensor(signed), [torch.tensor(each) for each in numbers(counter)])
    assert [int(word) for word in found] == numbers(expected)
    assert in_python(bits, numbers(counter)) == numbers(expected)


@pytest.mark.parametrize("count", [1, 4, 7, 1000])
@pytest.mark.parametrize(("time", "call"), [(0, 0), (5, 1), (2**33 + 7, 3)])
def test_a_number_depends_on_key_place_time_and_call_alone(
    count: int, time: int, call: int
) -> None:
    keys = [3, 2**62 + 11]
    found = uniform_words(torch.tensor(keys), torch.tensor(time), call, count)
    assert found.shape == (2, count) and found.dtype == torch.float32
    for row, key in enumerate(keys):
        words = [
            word
            for block in range(-(-count // 4))
            for word in in_python(key, [block, call, time & WORD, time >> 32])
        ]
        assert found[row].tolist() == [(word >> 8) / 2**24 for word in words[:count]]


def test_normal_numbers_are_finite_at_the_ends() -> None:
    ends = torch.tensor([0.0, 0.0, 1 - 2.0**-24, 0.5, 0.5, 0.25])
    found = normal_of(ends)
    assert found.isfinite().all()
    assert found[0] == 0.0
    assert found[1] == pytest.approx(-((48 * 0.6931471805599453) ** 0.5))
    assert found[2] == pytest.approx(0.0, abs=1e-6)


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="there is no triton here")
def test_the_kernel_gives_the_same_numbers() -> None:
    code = """
import torch
from regrun.stack.philox import uniform_words
from regrun.stack.philox_kernel import fill
for count in (1, 6, 1024, 2049):
    for time, call in ((0, 0), (5, 1), (2**33 + 7, 3)):
        keys = torch.tensor([3, 2**62 + 11, 0])
        given = keys, torch.tensor(time), call, count
        assert torch.equal(fill(*given), uniform_words(*given)), (count, time, call)
print("equal")
"""
    found = run_python(code, env={"TRITON_INTERPRET": "1"})
    assert found.stdout.strip() == "equal", found.stderr
