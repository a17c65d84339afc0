"""Train every case of a step on the CPU and on another device, and print what differs, as JSON.

python -m tests.support.another_device FOLDER
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from regrun.config.schema import Config
from regrun.stack.noise import CounterNoise
from regrun.training import step as step_module
from regrun.training.engine import Engine
from regrun.training.events import Evaluation, MemberEnd
from tests.support.another_device import Device, register
from tests.support.engines import CPU, config_of
from tests.support.steps import BASE, CASES


@dataclass(frozen=True)
class Found:
    """difference: the largest of metrics and weights to those of the CPU, relative to their size.

    resumed: the same after a resume. in_steps: events within steps but for the first of an epoch.
    reads: from the device, for an evaluation.
    """

    difference: float
    resumed: float
    in_steps: dict[str, int]
    reads: int


class Watched(Engine):
    """An engine that notes what happens on its device, and when."""

    device: Device

    def __init__(self, configs: Sequence[Config], device: torch.device) -> None:
        dataset = configs[0].dataset.load().to(device, torch.float64)
        super().__init__(configs, dataset, device)
        self.in_steps: Counter[str] = Counter()
        self.reads = 0

    def _take_step(self) -> None:
        before = Counter(self.device.events())
        first = self.step % self._step.per_epoch == 0
        super()._take_step()
        if not first:
            self.in_steps += Counter(self.device.events()) - before

    def _evaluate(self, epoch: int) -> Evaluation:
        before = Counter(self.device.events())
        evaluation = super()._evaluate(epoch)
        happened = Counter(self.device.events()) - before
        self.reads = max(self.reads, happened["from the device"] + happened["read by Python"])
        return evaluation


def main() -> None:
    """Compare all cases."""
    Watched.device = register(Path(sys.argv[1]))
    vars(step_module)["make_noise"] = CounterNoise  # as another device has
    print(json.dumps({case: asdict(compared(case)) for case in CASES}))


def compared(case: str) -> Found:
    """What becomes of three members, of which one leaves on the way."""
    configs = members(case)
    device = Watched.device.device
    here = Watched(configs, device)
    expected, found = numbers(Watched(configs, CPU)), numbers(here)
    first = Watched(configs, device)
    events = first.run()
    next(event for event in events if isinstance(event, Evaluation))
    again = Watched(configs, device)
    again.load_state_dict(*first.state_dict())
    skipped = len(found) - len(numbers(again))
    rest = Watched(configs, device)
    rest.load_state_dict(*first.state_dict())
    return Found(
        difference(found, expected),
        difference(numbers(rest), expected[skipped:]),
        dict(here.in_steps),
        here.reads,
    )


def members(case: str) -> list[Config]:
    """In float64."""
    one = config_of(BASE, CASES[case])
    training = one.training.model_copy(update={"precision": "float64", "epochs": 3})
    one = one.model_copy(update={"training": training})
    return [
        one.model_copy(
            update={"seed": seed, "optimizer": one.optimizer.model_copy(update={"lr": lr})}
        )
        for seed, lr in ((0, 0.01), (0, 0.02), (1, 0.03))
    ]


def numbers(engine: Engine) -> torch.Tensor:
    """All metrics, then all weights. The second member is ended after two epochs."""
    metrics: list[float] = []
    weights: list[torch.Tensor] = []
    for event in engine.run():
        if isinstance(event, Evaluation):
            metrics += [value for row in event.rows.values() for value in row.values()]
            if event.epoch == 2:
                engine.prune([1])
        elif isinstance(event, MemberEnd) and event.weights is not None:
            weights += [tensor.double().flatten() for tensor in event.weights.values()]
    return torch.cat([torch.tensor(metrics, dtype=torch.float64), *weights])


def difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest, relative to the size of what is compared."""
    return float(((found - expected).abs() / (expected.abs() + 1e-6)).max())


if __name__ == "__main__":
    main()
