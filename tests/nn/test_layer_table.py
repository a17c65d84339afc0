"""The layers of a module as a table."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from regrun.errors import ConfigError
from regrun.nn.layer_table import LayerRow, activations, layer_table, widest

SMALL = nn.Sequential(
    nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 3)
)


def test_the_table_has_a_row_per_layer_in_the_order_they_run() -> None:
    assert layer_table(SMALL, (1, 8, 8)) == [
        LayerRow("0", "Conv2d", (4, 8, 8), 40, 4 * 64 * 9),
        LayerRow("1", "ReLU", (4, 8, 8), 0),
        LayerRow("2", "MaxPool2d", (4, 4, 4), 0),
        LayerRow("3", "Flatten", (64,), 0),
        LayerRow("4", "Linear", (3,), 195, 3 * 64),
    ]
    assert activations(layer_table(SMALL, (1, 8, 8))) == 2 * 4 * 64 + 64 + 3
    assert widest(layer_table(SMALL, (1, 8, 8)), (1, 8, 8)) == 4 * 64


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Linear(7, 5), (7,)),
        (nn.Linear(7, 5), (3, 7)),
        (nn.Conv1d(4, 6, 3), (4, 11)),
        (nn.Conv2d(4, 6, (3, 2), stride=2, groups=2), (4, 9, 8)),
        (nn.Conv2d(4, 4, 3, groups=4), (4, 9, 8)),
        (nn.BatchNorm1d(4), (4,)),
        (nn.LayerNorm((3, 4)), (3, 4)),
    ],
)
def test_multiplications_are_those_that_torch_counts(
    layer: nn.Module, shape: tuple[int, ...]
) -> None:
    (row,) = layer_table(nn.Sequential(layer), shape)
    with FlopCounterMode(display=False) as counted:
        layer.eval()(torch.zeros((1, *shape)))
    assert 2 * row.multiplications == counted.get_total_flops()


def test_the_table_leaves_the_module_as_it_was() -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout(0.5)).train()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    layer_table(module, (2,))
    assert module.training
    assert not any(layer._forward_hooks for layer in module.modules())
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_an_input_that_does_not_get_through_says_how_far_it_came() -> None:
    with pytest.raises(
        ConfigError, match=r"model\.name: inputs of shape \[1, 2, 2\] .* after layer 3"
    ):
        layer_table(SMALL, (1, 2, 2))


def test_a_lack_of_memory_says_nothing_of_the_inputs() -> None:
    class Large(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.empty(10**15)

    with pytest.raises(RuntimeError, match="can't allocate memory"):
        layer_table(nn.Sequential(Large()), (2,))
