"""Loshchilov & Hutter 2019: weight decay decoupled from the gradient, against L2 in Adam."""

from __future__ import annotations

from regrun.studies.reproductions.claims import Of, Order, Reported
from regrun.studies.reproductions.parts import Method, Reproduction, Shift, Trained

_LR, _DECAY = "optimizer.lr", "optimizer.weight_decay"
_RATES = tuple(1e-3 * 2**step for step in range(6))


def _decays(strongest: float) -> tuple[float, ...]:
    """Nine, each √10 of the one before, up to the strongest."""
    return tuple(float(f"{strongest * 10 ** (step / 2):.3g}") for step in range(-8, 1))


ADAMW_DIGITS = Reproduction(
    title="Decoupled weight decay: AdamW against Adam with L2 over learning rate × decay",
    source="Loshchilov & Hutter 2019, Decoupled Weight Decay Regularization, §4.1-4.2, Fig. 1-2",
    parts=(
        Trained(
            "reproduce/adamw_digits.yaml",
            (
                Method(
                    "Adam",
                    {"optimizer.name": "adam", "optimizer.decay": "coupled"},
                    {_LR: _RATES, _DECAY: _decays(10**0.5)},
                ),
                Method("AdamW", {}, {_LR: _RATES, _DECAY: _decays(10**-0.5)}),
            ),
            seeds=20,
            tuning_seeds=8,
            tuned_by="val/accuracy",
            shifts=(
                Shift("shift by error", _DECAY, _LR, "val/accuracy"),
                Shift("shift by loss", _DECAY, _LR, "val/loss"),
            ),
        ),
    ),
    claims=(
        Order(
            "test error in %, best AdamW minus best Adam",
            Of("AdamW", "test/error"),
            Of("Adam", "test/error"),
            published="below 0",
        ),
        Order(
            "the best decay moves less with the rate: |d log decay / d log lr|, AdamW minus Adam",
            Of("AdamW", "shift by error"),
            Of("Adam", "shift by error"),
            published="below 0",
        ),
        Reported("|d log decay / d log lr| of AdamW, by error", Of("AdamW", "shift by error")),
        Reported("the same of Adam, by error", Of("Adam", "shift by error")),
        Reported("the same of AdamW, by validation loss", Of("AdamW", "shift by loss")),
        Reported("the same of Adam, by validation loss", Of("Adam", "shift by loss")),
    ),
    budget="300 digits of 8×8 pixels, MLP 64-64 with batch norm, 60 epochs; 6 rates × 9 decays × "
    "8 seeds each, the best on 700 validation digits again with 20 fresh seeds",
    published_budget="CIFAR-10, ResNet 26 2x64d, 100 epochs, one run a setting",
    takes="2 minutes",
    remark="The best decay is that of lowest validation error, as published. The loss, which "
    "punishes confidence too, has another best decay, and may move the other way. The network has "
    "batch norm, as there.",
)
