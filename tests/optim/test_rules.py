from typing import get_args

from regrun.kinds.registry import KINDS
from regrun.optim.rules import RULES


def test_the_table_holds_every_optimizer_of_the_schema():
    classes = KINDS["optimizers"]
    names = [get_args(cls.model_fields["name"].annotation)[0] for cls in classes]
    assert sorted(names) == sorted(RULES)
