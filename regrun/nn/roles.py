"""The role of every parameter, and the selection of parameters by role or name.

`select` is the only place where this is decided; optimizer, penalties, constraints and
`regrun inspect` all ask it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Literal, get_args

from torch import nn

from regrun.errors import ConfigError
from regrun.suggest import did_you_mean

Role = Literal["weight", "bias", "norm"]
ROLES: tuple[str, ...] = get_args(Role)

_NORM_LAYERS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def roles_of(module: nn.Module) -> dict[str, Role]:
    """Parameter name → role, in the order of `named_parameters`.

    Both parameters of a normalisation layer are `norm`; any other parameter whose name ends in
    `bias` is `bias`; all else is `weight`. A parameter with two names has the first alone.
    """
    names = dict(module.named_parameters())
    roles: dict[str, Role] = {}
    for prefix, layer in module.named_modules():
        for name, _ in layer.named_parameters(recurse=False):
            full = f"{prefix}.{name}" if prefix else name
            if full not in names:
                continue
            if isinstance(layer, _NORM_LAYERS):
                roles[full] = "norm"
            else:
                roles[full] = "bias" if name.endswith("bias") else "weight"
    return roles


def chooses(entry: str, name: str, role: str) -> bool:
    """Whether one entry of a selector chooses a parameter; the name of a role is always a role."""
    if entry == "all":
        return True
    return role == entry if entry in ROLES else fnmatchcase(name, entry)


def select(selector: Sequence[str], roles: Mapping[str, Role], path: str) -> frozenset[str]:
    """Names of the parameters that at least one entry of the selector chooses.

    roles: parameter name → role, in the model's order. path: the selector's dotted path in the
    config, for the error. Raises ConfigError when an entry chooses nothing; only `weight`, the
    default everywhere, may.
    """
    chosen: set[str] = set()
    for entry in selector:
        matched = {name for name, role in roles.items() if chooses(entry, name, role)}
        if not matched and entry != "weight":
            raise ConfigError.at(path, _nothing_chosen(entry, roles))
        chosen |= matched
    return frozenset(chosen)


def _nothing_chosen(entry: str, roles: Mapping[str, Role]) -> str:
    present = sorted(set(roles.values()), key=ROLES.index)
    if entry in ROLES:
        roles_here = ", ".join(present)
        return f"{entry!r}: this model has no parameter of role {entry}; its roles: {roles_here}"
    hint = did_you_mean(entry, [*present, "all", *roles])
    names = list(roles)
    shown = ", ".join(names[:12]) + (f", … ({len(names)} in all)" if len(names) > 12 else "")
    return (
        f"{entry!r} is neither a role nor a pattern that matches a parameter{hint or '.'} "
        f"Roles: {', '.join(present)}; parameters: {shown}"
    )
