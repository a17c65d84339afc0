"""What `--device` names. Imports no torch: commands look at it before that."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from regrun.errors import UsageError

_NUMBERS = re.compile(r"[0-9]{1,30}(,[0-9]{1,30})*")


@dataclass(frozen=True)
class Devices:
    """One device, or the GPUs of a sweep.

    kind: ``auto`` is the GPUs where there are any, else the CPU. numbers: of GPUs, in the order in
    which they are used; empty: all of them, and of one run or path the first.
    """

    kind: Literal["auto", "cpu", "cuda"]
    numbers: tuple[int, ...] = ()

    @classmethod
    def named(cls, text: str) -> Devices:
        """What a text names, such as ``cuda:0,1``. Raises UsageError for anything else."""
        kind, colon, numbers = str(text).partition(":")
        if kind == "mps":  # which has no float64, and no generator per member
            raise UsageError(f"--device {text}: regrun does not train on Apple GPUs; use cpu")
        if kind == "cpu" and colon:
            raise UsageError(f"--device {text}: CPUs have no numbers; write --device cpu")
        if kind == "cuda" and colon:
            if not _NUMBERS.fullmatch(numbers):
                raise UsageError(
                    f"--device {text}: write cuda:0 for the first GPU, or cuda:0,1 for the first "
                    "two"
                )
            found = tuple(map(int, numbers.split(",")))
            for number in found:
                if found.count(number) > 1:
                    once = cls("cuda", tuple(dict.fromkeys(found)))
                    raise UsageError(f"--device {text}: GPU {number} twice; write --device {once}")
            return cls("cuda", found)
        for known in ("auto", "cpu", "cuda"):
            if kind == known and not colon:
                return cls(known)
        raise UsageError(f"--device {text}: not one of auto, cpu, cuda, cuda:N, cuda:N,M")

    def __str__(self) -> str:
        """As `named` takes it."""
        numbers = ",".join(map(str, self.numbers))
        return f"{self.kind}:{numbers}" if numbers else self.kind

    @property
    def several(self) -> bool:
        """Whether it is a list of GPUs."""
        return len(self.numbers) > 1

    def first(self, count: int = 1) -> Devices:
        """The first GPUs of a list; anything else as it is."""
        return Devices(self.kind, self.numbers[:count])

    def as_found(self, kind: str) -> str:
        """As it is stored. kind: of the devices that were found, which `auto` leaves open."""
        return kind if self.kind == "auto" else str(self)

    def check_single(self) -> None:
        """Raise UsageError for a list of GPUs, where only one can be used."""
        if self.several:
            raise UsageError(
                f"--device {self}: only sweeps are spread over GPUs; write --device {self.first()}"
            )

    def among(self, gpus: int) -> list[str]:
        """The names of the devices, each a single one. gpus: how many this machine has.

        Raises UsageError where one is not there.
        """
        if self.kind == "cpu" or (self.kind == "auto" and not gpus):
            return ["cpu"]
        if max(self.numbers, default=0) >= gpus:
            instead = "cuda, or count from 0" if gpus else "cpu"
            raise UsageError(
                f"--device {self}: this machine has {gpus} CUDA device(s); write --device {instead}"
            )
        return [f"cuda:{number}" for number in self.numbers or range(gpus)]
