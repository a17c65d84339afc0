"""The table of reproductions. Loads no torch: `regrun list reproductions` reads it too."""

from __future__ import annotations

from collections.abc import Mapping

from regrun.errors import UsageError
from regrun.studies.reproductions import source_experiments as source
from regrun.studies.reproductions.adamw import ADAMW_DIGITS
from regrun.studies.reproductions.lasso import LASSO_PATH_DIABETES
from regrun.studies.reproductions.parts import Reproduction
from regrun.studies.reproductions.srivastava import SRIVASTAVA_2014_TABLE_9
from regrun.suggest import did_you_mean

REPRODUCTIONS: Mapping[str, Reproduction] = {
    "weight_decay": source.WEIGHT_DECAY,
    "weight_decay_from_scratch": source.WEIGHT_DECAY_FROM_SCRATCH,
    "dropout_fashion_mnist": source.DROPOUT_FASHION_MNIST,
    "l1_mnist": source.L1_MNIST,
    "l2_mnist": source.L2_MNIST,
    "elastic_net_mnist": source.ELASTIC_NET_MNIST,
    "lasso_path_diabetes": LASSO_PATH_DIABETES,
    "srivastava_2014_table_9": SRIVASTAVA_2014_TABLE_9,
    "adamw_digits": ADAMW_DIGITS,
}


def find(name: str) -> Reproduction:
    """The reproduction of that name; UsageError with a suggestion when there is none."""
    if name in REPRODUCTIONS:
        return REPRODUCTIONS[name]
    hint = did_you_mean(name, REPRODUCTIONS) or "; see `regrun list reproductions`"
    raise UsageError(f"{name}: not one of the reproductions{hint}")
