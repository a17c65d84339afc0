"""Where the stacks of a sweep are trained: on this machine, or on a Ray cluster.

Imports neither torch nor ray: the command line reads its options here.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from regrun.errors import UsageError

Executor = Literal["local", "ray"]

OF_THIS_MACHINE = ("auto", "local")
"""Addresses that are words: the cluster that runs on this machine, and a new one for the sweep."""

_HOST_AND_PORT = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(\d{1,5})")

BUILT_IN = {
    "CPU": "a stack has one core",
    "GPU": "write --ray-gpus, ray_gpus in Python",
    "memory": "regrun asks for what a stack takes",
    "object_store_memory": "regrun asks for none of it",
}
"""Resources that Ray has of itself, and how they are asked for."""


@dataclass(frozen=True)
class OnRay:
    """How stacks are trained as tasks of a Ray cluster.

    address: of the cluster; None: what RAY_ADDRESS says, else a Ray of this machine alone, which
    ends with the sweep. gpus: how many a stack has on nodes with GPUs; None: one. resources: what
    else a stack takes of its node, by the names that the cluster's nodes were given.
    """

    address: str | None = None
    gpus: float | None = None
    resources: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def asked_for(
        cls,
        executor: str,
        address: str | None = None,
        gpus: float | None = None,
        resources: Mapping[str, float] | None = None,
    ) -> OnRay | None:
        """What the options of a command or the arguments of a function mean; None: no Ray.

        Raises UsageError for an unknown executor, options of Ray without it, an address, number or
        resource that cannot be, and where Ray is not installed.
        """
        if executor not in ("local", "ray"):
            raise UsageError(f"executor {executor}: it is local or ray")
        if executor == "local":
            for name, given in (("address", address), ("gpus", gpus), ("resource", resources)):
                if given:
                    raise UsageError(f"--ray-{name}: only with --executor ray")
            return None
        if address is not None:
            cls.check_address(address)
        if gpus is not None:
            _check_gpus(gpus)
        for name, amount in (resources or {}).items():
            _check_resource(name, amount)
        _check_installed()
        return cls(address, gpus, dict(resources or {}))

    @staticmethod
    def check_address(address: str) -> None:
        """Raise UsageError for one that cannot be."""
        if address in OF_THIS_MACHINE:
            return
        if address.startswith("ray://"):
            raise UsageError(
                f"--ray-address {address}: regrun takes no part in a cluster through Ray Client; "
                "run it on a node of the cluster, with --ray-address auto"
            )
        matched = _HOST_AND_PORT.fullmatch(address)
        if matched is None or not 0 < int(matched[2]) < 2**16:
            raise UsageError(
                f"--ray-address {address}: write HOST:PORT, as `ray start --head` prints it, or "
                "auto for the cluster that this machine belongs to"
            )

    @property
    def words(self) -> list[str]:
        """The options of a command that mean the same."""
        given = {"--ray-address": self.address, "--ray-gpus": self.gpus and f"{self.gpus:g}"}
        words = ["--executor", "ray"]
        for option, value in given.items():
            words += [option, value] if value else []
        for name, amount in self.resources.items():
            words += ["--ray-resource", f"{name}={amount:g}"]
        return words


def resume_command(directory: Path, ray: OnRay | None) -> str:
    """What carries on what is stored there, where it was."""
    return shlex.join(["regrun", "resume", str(directory), *(ray.words if ray else ())])


def amount_of(text: str) -> tuple[str, float]:
    """``big_memory=1`` as a name and an amount. Raises UsageError for anything else."""
    name, equals, amount = text.rpartition("=")
    try:
        if name and equals:
            return name, float(amount)
    except ValueError:
        pass
    raise UsageError(f"--ray-resource {text}: write NAME=AMOUNT, such as big_memory=1")


def _check_gpus(gpus: float) -> None:
    """Ray gives a task a part of one GPU, or whole ones; a stack is trained on one."""
    if not 0 < gpus <= 1:
        raise UsageError(f"--ray-gpus {gpus:g}: a stack has one GPU, or a part of one, such as 0.5")


def _check_resource(name: str, amount: float) -> None:
    if name in BUILT_IN:
        raise UsageError(f"--ray-resource {name}={amount:g}: {BUILT_IN[name]}")
    if not math.isfinite(amount) or amount <= 0 or (amount > 1 and amount != int(amount)):
        raise UsageError(
            f"--ray-resource {name}={amount:g}: the amount is a whole number, or a part of one"
        )


def _check_installed() -> None:
    found = find_spec("ray")
    if found is None or found.origin is None:  # or just a folder of this name
        raise UsageError(
            "--executor ray: there is no Ray here; install it: pip install 'regrun[ray]'"
        )
