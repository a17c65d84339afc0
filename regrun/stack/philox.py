"""Philox4x32-10: random numbers that are a function of a key and a counter.

Salmon, Moraes, Dror & Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3", section 3.3. Every
number can be computed alone, so one kernel draws for all members, and nothing has to be stored but
how far a run has come.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch import Tensor

_MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
_KEY_STEPS = 0x9E3779B9, 0xBB67AE85
_ROUNDS = 10
_LOW = 0xFFFFFFFF


def philox(keys: Tensor, counters: Sequence[Tensor]) -> list[Tensor]:
    """Four random 32-bit words, each as int64, for each key and counter.

    keys: int64, of which all 64 bits count. counters: four tensors of 32-bit words, as int64. All
    broadcast against each other.

    >>> zero = torch.zeros((), dtype=torch.int64)
    >>> [f"{word.item():08x}" for word in philox(zero, [zero] * 4)]
    ['6627e8d5', 'e169c58d', 'bc57ac4c', '9b00dbd8']
    """
    low, high = keys & _LOW, (keys >> 32) & _LOW
    a, b, c, d = counters
    for _ in range(_ROUNDS):
        # The products of 32-bit words overflow a signed integer, but their bits are right.
        first, second = a * _MULTIPLIERS[0], c * _MULTIPLIERS[1]
        a, c = ((second >> 32) & _LOW) ^ b ^ low, ((first >> 32) & _LOW) ^ d ^ high
        b, d = second & _LOW, first & _LOW
        low, high = (low + _KEY_STEPS[0]) & _LOW, (high + _KEY_STEPS[1]) & _LOW
    shape = (a + b + c + d).shape
    return [each.expand(shape) for each in (a, b, c, d)]


def uniform_words(keys: Tensor, time: Tensor, call: int, count: int) -> Tensor:
    """(S, count) float32 from [0, 1), a row for each key.

    The counter of a number is its place in the row, the time, and the call.

    Args:
        keys: (S,) int64.
        time: int64, with one element.
        call: Which drawing of this time it is.
        count: Numbers of each row.
    """
    fill = fused_fill() if keys.device.type == "cuda" else None
    if fill is not None:
        return fill(keys, time, call, count)
    blocks = torch.arange(-(-count // 4), device=keys.device)
    moment = time.reshape(())
    counters = [blocks & _LOW, torch.full_like(blocks, call), moment & _LOW, (moment >> 32) & _LOW]
    words = torch.stack(philox(keys.unsqueeze(1), counters), -1)
    return (words.flatten(1)[:, :count] >> 8).float() * 2.0**-24


def normal_of(uniform: Tensor) -> Tensor:
    """N(0, 1) numbers, half as many as there are in the last axis, which is even.

    Box & Muller 1958: √(−2 ln u₁) cos 2πu₂, where u₁ is from (0, 1].
    """
    first, second = uniform.view(*uniform.shape[:-1], -1, 2).unbind(-1)
    radius: Tensor = (-2 * (1 - first).log()).sqrt()
    return radius * (2 * torch.pi * second).cos()


@cache
def fused_fill() -> Callable[[Tensor, Tensor, int, int], Tensor] | None:
    """`uniform_words` as one kernel; None where there is no compiler for it."""
    try:
        from regrun.stack.philox_kernel import fill
    except ImportError:
        return None
    return fill
