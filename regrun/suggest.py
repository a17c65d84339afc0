"""The nearest known word to a misspelt one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

_SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "batch_size": ("batch", "batchsize", "bs", "per_device_train_batch_size", "train_batch_size"),
    "clip_norm": ("gradient_clip_val", "grad_clip", "max_grad_norm"),
    "class_weights": ("class_weight",),
    "epochs": ("max_epochs", "max_iter", "n_epochs", "num_epochs", "num_train_epochs"),
    "hidden": ("hidden_layers", "hidden_size", "hidden_sizes", "layers", "units", "widths"),
    "init": ("weight_init",),
    "l1": ("lasso",),
    "l2": ("ridge", "tikhonov"),
    "linear": ("softmax",),
    "lr": ("base_lr", "eta", "learning_rate", "learning_rate_init", "max_lr", "rate"),
    "dropout": ("dropout_rate", "p", "rate"),
    "name": ("kind", "method", "type"),
    "random": ("random_search",),
    "penalty": ("regularization", "regularizer"),
    "root": ("root_dir",),
    "schedule": ("scheduler",),
    "seed": ("manual_seed", "random_seed", "random_state", "seed_everything"),
    "silu": ("swish",),
    "step": ("step_lr",),
    "strength": ("alpha", "coef", "coefficient", "l1_lambda", "l2_lambda", "lambda"),
    "test": ("test_size",),
    "tpe": ("bayes", "bayesian", "bayesopt", "hyperopt", "optuna"),
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
    return plain[close[0]] if close and _starts_alike(wanted, close[0]) else None


def _starts_alike(word: str, found: str) -> bool:
    """Whether a match begins with the same letter, or shares most letters: iris is no digits."""
    if word[:1] == found[:1]:
        return True
    return difflib.SequenceMatcher(None, word, found).ratio() >= 0.85


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """``; did you mean "lr"?``, or nothing."""
    found = nearest(word, known)
    return f'; did you mean "{found}"?' if found else ""


def _plain(word: str) -> str:
    return word.lower().replace("-", "_").replace(" ", "_")
