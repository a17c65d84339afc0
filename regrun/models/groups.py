"""Which parameters a rule applies to: chosen by role, by name pattern, or all.

`select` is the only place where this is decided; optimizer, penalties, constraints and
`regrun inspect` all ask it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import get_args

from regrun.errors import ConfigError
from regrun.kinds.base import WEIGHT_ONLY
from regrun.kinds.optimizers import Optimizer
from regrun.models.roles import Role
from regrun.suggest import did_you_mean

ROLES: tuple[str, ...] = get_args(Role)


def chooses(entry: str, name: str, role: str) -> bool:
    """Whether one entry of a selector chooses a parameter. A role's name is always the role."""
    if entry == "all":
        return True
    return role == entry if entry in ROLES else fnmatchcase(name, entry)


def select(selector: Sequence[str], roles: Mapping[str, Role], path: str) -> frozenset[str]:
    """Names of the parameters that at least one entry of the selector chooses.

    roles: parameter name → role, in the model's order. path: where the selector stands in the
    config, for the error. Raises ConfigError when an entry chooses nothing (a `weight` that
    the model does not have is none: it is the default everywhere).
    """
    chosen: set[str] = set()
    for entry in selector:
        matched = {name for name, role in roles.items() if chooses(entry, name, role)}
        if not matched and entry not in WEIGHT_ONLY:
            raise ConfigError.at(path, _nothing_chosen(entry, roles))
        chosen |= matched
    return frozenset(chosen)


def decayed_parameters(section: Optimizer, roles: Mapping[str, Role]) -> frozenset[str]:
    """Names of the parameters that `decay_on` chooses; whether λ is 0 does not matter here."""
    return select(section.decay_on, roles, "optimizer.decay_on")


def _nothing_chosen(entry: str, roles: Mapping[str, Role]) -> str:
    present = sorted(set(roles.values()), key=ROLES.index)
    if entry in ROLES:
        return f"{entry!r}: this model has no parameter of role {entry}; its roles: " + ", ".join(
            present
        )
    hint = did_you_mean(entry, [*present, "all", *roles])
    names = list(roles)
    shown = ", ".join(names[:12]) + (f", … ({len(names)} in all)" if len(names) > 12 else "")
    return (
        f"{entry!r} is no role and matches no parameter{hint or '.'} "
        f"Roles: {', '.join(present)}; parameters: {shown}"
    )
