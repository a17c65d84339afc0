"""The weight_decay experiment with Lightning's Trainer and its TensorBoard logger.

Usage: python lightning_weight_decay.py RUNS
"""

from __future__ import annotations

import json
import logging
import sys
import time
import warnings

import lightning
import torch
import torch.nn.functional as F
from lightning.pytorch.loggers import TensorBoardLogger
from plain_weight_decay import WEIGHT_DECAYS, make_data
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Regression(lightning.LightningModule):
    """A linear model with weight decay on its weight."""

    def __init__(self, weight_decay):
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Linear(200, 1)
        nn.init.normal_(self.net.weight)
        nn.init.zeros_(self.net.bias)

    def training_step(self, batch, batch_index):
        """The loss of a batch, logged as the epoch's mean."""
        x, y = batch
        loss = F.mse_loss(self.net(x), y)
        self.log("train/loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_index):
        """The test loss."""
        x, y = batch
        self.log("test/loss", F.mse_loss(self.net(x), y))

    def configure_optimizers(self):
        """SGD; the bias does not decay."""
        decayed = {"params": [self.net.weight], "weight_decay": self.hparams.weight_decay}
        return torch.optim.SGD([decayed, {"params": [self.net.bias]}], lr=0.003)


def main():
    """Train RUNS times and say how long one took, the first left out."""
    runs = int(sys.argv[1])
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    x_train, y_train, x_test, y_test = make_data()
    finished = []
    for run in range(runs):
        lightning.seed_everything(run // 7, verbose=False)
        trainer = lightning.Trainer(
            max_epochs=100,
            accelerator="cpu",
            logger=TensorBoardLogger("runs"),
            log_every_n_steps=4,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(
            Regression(WEIGHT_DECAYS[run % 7]),
            DataLoader(TensorDataset(x_train, y_train), batch_size=5, shuffle=True),
            DataLoader(TensorDataset(x_test, y_test), batch_size=100),
        )
        finished.append(time.perf_counter())
    each = (finished[-1] - finished[0]) / (runs - 1)
    print(json.dumps({"runs": runs, "seconds_per_run": each}))


if __name__ == "__main__":
    main()
