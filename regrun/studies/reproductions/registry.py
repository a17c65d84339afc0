"""The reproductions by name. Imports no torch: `regrun list reproductions` reads them too."""

from __future__ import annotations

from collections.abc import Mapping

from regrun.errors import UsageError
from regrun.studies.reproductions import papers, tutorials
from regrun.studies.reproductions.spec import Reproduction
from regrun.suggest import did_you_mean

REPRODUCTIONS: Mapping[str, Reproduction] = {
    "weight_decay": tutorials.WEIGHT_DECAY,
    "weight_decay_from_scratch": tutorials.WEIGHT_DECAY_FROM_SCRATCH,
    "dropout_fashion_mnist": tutorials.DROPOUT_FASHION_MNIST,
    "l1_mnist": tutorials.L1_MNIST,
    "l2_mnist": tutorials.L2_MNIST,
    "elastic_net_mnist": tutorials.ELASTIC_NET_MNIST,
    "lasso_path_diabetes": papers.LASSO_PATH_DIABETES,
    "srivastava_2014_table_9": papers.SRIVASTAVA_2014_TABLE_9,
    "adamw_digits": papers.ADAMW_DIGITS,
}


def find(name: str) -> Reproduction:
    """The reproduction of that name; UsageError with a suggestion when there is none."""
    if name in REPRODUCTIONS:
        return REPRODUCTIONS[name]
    hint = did_you_mean(name, REPRODUCTIONS) or "; see `regrun list reproductions`"
    raise UsageError(f"{name}: not one of the reproductions{hint}")
