"""Networks trained in bfloat16: they end near float32, as plain PyTorch's do."""

from __future__ import annotations

import pytest

from tests.support.bfloat16 import NETWORKS, check_network
from tests.support.engines import CPU
from tests.support.small_networks import use_small_networks


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("network", NETWORKS)
def test_a_network_ends_near_float32(
    network: str, members: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_small_networks(monkeypatch)
    check_network(network, members, CPU)
