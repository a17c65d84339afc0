"""The nearest known word to a misspelt one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

_SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "batch_size": ("batch",),
    "epochs": ("max_epochs", "n_epochs", "num_epochs"),
    "hidden": ("hidden_layers", "hidden_size", "hidden_sizes", "layers", "units", "widths"),
    "init": ("weight_init",),
    "l1": ("lasso",),
    "l2": ("ridge", "tikhonov"),
    "linear": ("softmax",),
    "lr": ("learning_rate", "rate"),
    "dropout": ("dropout_rate", "p", "rate"),
    "name": ("kind", "method", "type"),
    "penalty": ("regularization", "regularizer"),
    "root": ("root_dir",),
    "schedule": ("scheduler",),
    "seed": ("random_state",),
    "silu": ("swish",),
    "step": ("step_lr",),
    "strength": ("alpha", "coef", "coefficient", "l1_lambda", "l2_lambda", "lambda"),
    "test": ("test_size",),
    "type": ("kind", "method", "name"),
    "validation": ("val", "validation_split"),
    "weight_decay": ("lambda", "wd"),
}
"""Word → what the same thing is called elsewhere."""

_LONGEST = 60


def synonyms(word: str) -> list[str]:
    """The words for what is called ``word`` elsewhere."""
    return [each for each, elsewhere in _SYNONYMS.items() if word in elsewhere]


def nearest(word: object, known: Iterable[str]) -> str | None:
    """The known word that is meant: the same but for case, a synonym, or the closest one."""
    if not isinstance(word, str) or len(word) > _LONGEST:
        return None
    plain = {_plain(each): each for each in reversed(list(known))}
    wanted = _plain(word)
    for each in (wanted, *synonyms(wanted)):
        if each in plain:
            return plain[each]
    close = difflib.get_close_matches(wanted, plain, n=1, cutoff=0.5 if len(word) <= 3 else 0.6)
    return plain[close[0]] if close else None


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """``; did you mean "lr"?``, or nothing."""
    found = nearest(word, known)
    return f'; did you mean "{found}"?' if found else ""


def _plain(word: str) -> str:
    return word.lower().replace("-", "_").replace(" ", "_")
