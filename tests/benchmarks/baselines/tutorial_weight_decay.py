"""The weight_decay experiment as tutorials write it: DataLoader, curves in TensorBoard.

After Zhang et al., Dive into Deep Learning, version 0, §4.5 (concise form).

Usage: python tutorial_weight_decay.py RUNS
"""

from __future__ import annotations

import json
import sys
import time

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.tensorboard import SummaryWriter

NUM_TRAIN, NUM_TEST, NUM_INPUTS, BATCH_SIZE = 20, 100, 200, 5
TRUE_W, TRUE_B = torch.ones((NUM_INPUTS, 1)) * 0.01, 0.05
WEIGHT_DECAYS = [0, 0.1, 0.3, 1, 3, 10, 30]


def synthetic_data(w, b, num_examples):
    """y = Xw + b + noise."""
    X = torch.normal(0, 1, (num_examples, len(w)))
    y = torch.matmul(X, w) + b
    y += torch.normal(0, 0.01, y.shape)
    return X, y


def load_array(data_arrays, batch_size, is_train=True):
    """A PyTorch data iterator."""
    return DataLoader(TensorDataset(*data_arrays), batch_size, shuffle=is_train)


def evaluate_loss(net, data_iter, loss):
    """The mean loss over all examples."""
    total, count = 0.0, 0
    with torch.no_grad():
        for X, y in data_iter:
            total += loss(net(X), y).item() * len(y)
            count += len(y)
    return total / count


def train(train_iter, test_iter, wd, directory):
    """Train for 100 epochs with weight decay on the weight only."""
    net = nn.Sequential(nn.Linear(NUM_INPUTS, 1))
    net[0].weight.data.normal_()
    net[0].bias.data.zero_()
    loss = nn.MSELoss()
    trainer = torch.optim.SGD(
        [{"params": net[0].weight, "weight_decay": wd}, {"params": net[0].bias}], lr=0.003
    )
    with SummaryWriter(directory) as writer:
        for epoch in range(100):
            for X, y in train_iter:
                trainer.zero_grad()
                l = loss(net(X), y)  # noqa: E741
                l.backward()
                trainer.step()
            losses = {
                "train": evaluate_loss(net, train_iter, loss),
                "test": evaluate_loss(net, test_iter, loss),
            }
            writer.add_scalars("loss", losses, epoch + 1)
    return net


def main():
    """Train RUNS times and say how long one took, the first left out."""
    runs = int(sys.argv[1])
    train_iter = load_array(synthetic_data(TRUE_W, TRUE_B, NUM_TRAIN), BATCH_SIZE)
    test_iter = load_array(synthetic_data(TRUE_W, TRUE_B, NUM_TEST), BATCH_SIZE, is_train=False)
    finished = []
    for run in range(runs):
        torch.manual_seed(run // 7)
        train(train_iter, test_iter, WEIGHT_DECAYS[run % 7], f"runs/{run}")
        finished.append(time.perf_counter())
    each = (finished[-1] - finished[0]) / (runs - 1)
    print(json.dumps({"runs": runs, "seconds_per_run": each}))


if __name__ == "__main__":
    main()
