"""The nearest known word to a misspelt one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "alpha": ("strength",),
    "batch": ("batch_size",),
    "coef": ("strength",),
    "coefficient": ("strength",),
    "dropout_rate": ("dropout",),
    "hidden_layers": ("hidden",),
    "hidden_size": ("hidden",),
    "hidden_sizes": ("hidden",),
    "kind": ("name", "type"),
    "l1_lambda": ("strength",),
    "l2_lambda": ("strength",),
    "lambda": ("strength", "weight_decay"),
    "lasso": ("l1",),
    "layers": ("hidden",),
    "learning_rate": ("lr",),
    "max_epochs": ("epochs",),
    "method": ("type", "name"),
    "n_epochs": ("epochs",),
    "name": ("type",),
    "num_epochs": ("epochs",),
    "p": ("dropout",),
    "random_state": ("seed",),
    "rate": ("lr", "dropout"),
    "regularization": ("penalty",),
    "regularizer": ("penalty",),
    "ridge": ("l2",),
    "root_dir": ("root",),
    "scheduler": ("schedule",),
    "softmax": ("linear",),
    "step_lr": ("step",),
    "swish": ("silu",),
    "test_size": ("test",),
    "tikhonov": ("l2",),
    "type": ("name",),
    "units": ("hidden",),
    "val": ("validation",),
    "validation_split": ("validation",),
    "wd": ("weight_decay",),
    "weight_init": ("init",),
    "widths": ("hidden",),
}
"""What the same thing is called elsewhere."""

_LONGEST = 60


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that is meant: the same but for case, a synonym, or near by difflib."""
    words = list(known)
    if len(word) > _LONGEST:
        return None
    plain = {_plain(each): each for each in reversed(words)}
    if _plain(word) in plain:
        return plain[_plain(word)]
    for synonym in SYNONYMS.get(_plain(word), ()):
        if synonym in words:
            return synonym
    cutoff = 0.5 if len(word) <= 3 else 0.6
    close = difflib.get_close_matches(_plain(word), plain, n=1, cutoff=cutoff)
    return plain[close[0]] if close else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``, did you mean "lr"?``, or nothing."""
    found = nearest(word, known)
    return f', did you mean "{found}"?' if found else ""


def _plain(word: str) -> str:
    return word.lower().replace("-", "_").replace(" ", "_")
