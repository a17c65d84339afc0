"""The weight_decay experiment as a Hydra multirun; curves go to TensorBoard in each stack's folder.

Usage: python hydra_weight_decay.py --multirun weight_decay=0,0.1,0.3,1,3 seed=0,1,2,3
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from plain_weight_decay import train
from torch.utils.tensorboard import SummaryWriter

finished: list[float] = []


@dataclass
class Experiment:
    """The configuration of a stack."""

    weight_decay: float = 0.0
    seed: int = 0


ConfigStore.instance().store(name="experiment", node=Experiment)


@hydra.main(version_base=None, config_path=None, config_name="experiment")
def stack(config: Experiment) -> float:
    """One run."""
    with SummaryWriter(HydraConfig.get().runtime.output_dir) as writer:

        def log(epoch: int, train_loss: float, test_loss: float) -> None:
            writer.add_scalars("loss", {"train": train_loss, "test": test_loss}, epoch)

        test_loss = train(config.weight_decay, config.seed, log)
    finished.append(time.perf_counter())
    return test_loss


if __name__ == "__main__":
    stack()
    each = (finished[-1] - finished[0]) / (len(finished) - 1)
    print(json.dumps({"runs": len(finished), "seconds_per_run": each}))
