"""`uniform_words` as one kernel, for GPUs."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 256
"""Counters of one program, each of which gives four numbers."""


@triton.jit  # type: ignore[untyped-decorator]
def _fill(keys: Any, time: Any, numbers: Any, call: Any, count: Any, block: tl.constexpr) -> None:
    row = tl.program_id(1)
    key = tl.load(keys + row)
    moment = tl.load(time)
    place = tl.program_id(0) * block + tl.arange(0, block)
    zero = place.to(tl.uint32) * 0
    words = tl.philox(
        key,
        place.to(tl.uint32),
        zero + call,
        zero + (moment & 0xFFFFFFFF).to(tl.uint32),
        zero + ((moment >> 32) & 0xFFFFFFFF).to(tl.uint32),
    )
    start = numbers + row.to(tl.int64) * count + place * 4
    for j in tl.static_range(4):
        value = (words[j] >> 8).to(tl.float32) * 5.9604644775390625e-08  # 2⁻²⁴
        tl.store(start + j, value, mask=place * 4 + j < count)


def fill(keys: Tensor, time: Tensor, call: int, count: int) -> Tensor:
    """See `uniform_words`."""
    numbers = torch.empty((len(keys), count), device=keys.device)
    blocks = -(-count // (4 * BLOCK))
    if numbers.numel():
        _fill[(blocks, len(keys))](keys, time, numbers, call, count, BLOCK)
    return numbers
