"""Options that other tools have, answered with what to write here."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

_SWEEP = {"-m", "--multirun"}
_CONFIG = {"-c", "--config", "--config-file", "--config_file", "--config-name", "--cfg"}
_KEYS = {"--gpus": "--device cuda", "--gpu": "--device cuda", "--accelerator": "--device cuda"}
_RAY = {"--executor", "--ray-address", "--ray-gpus", "--ray-resource"}


def advice(option: str, words: Sequence[str]) -> str | None:
    """What to write instead of an unknown option; None if it is not known what it means.

    words: everything after ``regrun``, the verb first.
    """
    verb, rest = words[0] if words else "", list(words[1:])
    at = next((i for i, word in enumerate(rest) if word.partition("=")[0] == option), None)
    given = "" if at is None else rest[at].partition("=")[2]
    following = "" if at is None or at + 1 >= len(rest) else rest[at + 1]
    if not given and following and not following.startswith("-"):
        given = following
    if option in _SWEEP:
        others = [word for word in rest if word not in _SWEEP]
        return f"many runs are trained by: regrun sweep {shlex.join(others)}"
    if option in _CONFIG:
        return f"the config is the first argument: regrun {verb} {shlex.quote(given or 'c.yaml')}"
    if option in _KEYS:
        return f"write {_KEYS[option]}"
    if option in _RAY and verb in ("train", "path"):
        return f"`{verb}` is trained in one process; sweep, ablate and reproduce can use a cluster"
    key = _dotted_key(option.lstrip("-"))
    return f"keys of the config are written without dashes: {key}={given or '…'}" if key else None


def _dotted_key(word: str) -> str | None:
    """The key of the config that is meant."""
    from regrun.config.schema_tree import dotted_keys
    from regrun.config.validate import path_in_other_section

    key = word.replace("-", "_")
    if key.partition(".")[0] in {known.partition(".")[0] for known in dotted_keys()}:
        return key
    return path_in_other_section(key.rpartition(".")[2])
