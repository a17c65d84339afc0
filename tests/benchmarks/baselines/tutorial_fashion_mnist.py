"""The dropout_fashion_mnist experiment as tutorials write it: DataLoader, torchvision transforms.

After Zhang et al., Dive into Deep Learning, version 0, §4.6 (concise form). Losses go to
TensorBoard.

Usage: python tutorial_fashion_mnist.py [EPOCHS] [--examples N]
"""

from __future__ import annotations

import argparse
import json
import os
import time

import torch
from torch import nn
from torch.utils.data import DataLoader, Subset
from torch.utils.tensorboard import SummaryWriter
from torchvision import datasets, transforms

BATCH_SIZE = 256


def load_data(examples):
    """Batches of the training and of the test set."""
    root = os.environ.get("REGRUN_DATA", "data")
    to_tensor = transforms.ToTensor()
    train = datasets.FashionMNIST(root, train=True, transform=to_tensor, download=True)
    test = datasets.FashionMNIST(root, train=False, transform=to_tensor, download=True)
    if examples is not None:
        train, test = Subset(train, range(examples)), Subset(test, range(examples // 6))
    # The tutorial's 4 worker processes, where there are cores for them.
    workers = min(4, len(os.sched_getaffinity(0)) - 1)
    return (
        DataLoader(train, BATCH_SIZE, shuffle=True, num_workers=workers),
        DataLoader(test, BATCH_SIZE, shuffle=False, num_workers=workers),
    )


def evaluate(net, data_iter, loss):
    """Mean loss and accuracy with dropout off."""
    net.eval()
    total, correct, count = 0.0, 0, 0
    with torch.no_grad():
        for X, y in data_iter:
            y_hat = net(X)
            total += loss(y_hat, y).item() * len(y)
            correct += (y_hat.argmax(1) == y).sum().item()
            count += len(y)
    return total / count, correct / count


def init_weights(module):
    """Small normal weights."""
    if type(module) is nn.Linear:
        nn.init.normal_(module.weight, std=0.01)


def main():
    """Train and say how long it took, with and without loading."""
    parser = argparse.ArgumentParser()
    parser.add_argument("epochs", type=int, nargs="?", default=10)
    parser.add_argument("--examples", type=int)
    options = parser.parse_args()

    torch.manual_seed(0)
    train_iter, test_iter = load_data(options.examples)
    net = nn.Sequential(
        nn.Flatten(),
        nn.Linear(784, 256),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(256, 256),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(256, 10),
    )
    net.apply(init_weights)
    loss = nn.CrossEntropyLoss()
    trainer = torch.optim.SGD(net.parameters(), lr=0.5)
    started = time.perf_counter()
    with SummaryWriter("runs/dropout") as writer:
        for epoch in range(options.epochs):
            net.train()
            total, correct, count = 0.0, 0, 0
            for X, y in train_iter:
                y_hat = net(X)
                l = loss(y_hat, y)  # noqa: E741
                trainer.zero_grad()
                l.backward()
                trainer.step()
                with torch.no_grad():
                    total += l.item() * len(y)
                    correct += (y_hat.argmax(1) == y).sum().item()
                    count += len(y)
            test_loss, test_accuracy = evaluate(net, test_iter, loss)
            writer.add_scalars("loss", {"train": total / count, "test": test_loss}, epoch + 1)
            writer.add_scalars(
                "accuracy", {"train": correct / count, "test": test_accuracy}, epoch + 1
            )
    seconds = time.perf_counter() - started
    print(json.dumps({"epochs": options.epochs, "seconds": seconds, "accuracy": test_accuracy}))


if __name__ == "__main__":
    main()
