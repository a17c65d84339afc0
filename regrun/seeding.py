"""One number in, many independent random streams out."""

from __future__ import annotations

from hashlib import blake2b


def derive(seed: int, purpose: str, *counters: int) -> int:
    """The seed of one stream: 63 bits that depend on nothing but the arguments.

    Being a pure hash, it is the same on every platform and needs no state: the stream of epoch 7
    can be had without having walked through epochs 0 to 6, so a resumed run stores no generators.
    Different purposes and counters give unrelated streams, also for neighbouring seeds.

    PyTorch's CPU generator keeps only the lower 32 bits of what it is seeded with.
    """
    text = "\0".join((str(seed), purpose, *map(str, counters)))
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
