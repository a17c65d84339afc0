from typing import get_args

from regrun.config.optimizers import Optimizer
from regrun.optim.rules import RULES


def test_the_table_holds_every_optimizer_of_the_schema():
    classes = get_args(get_args(Optimizer)[0])
    names = [get_args(cls.model_fields["name"].annotation)[0] for cls in classes]
    assert sorted(names) == sorted(RULES)
