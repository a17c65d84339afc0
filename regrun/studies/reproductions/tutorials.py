"""The experiments of textbooks and tutorials that regrun's first configs repeat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from regrun.studies.reproductions.claims import Bound, Of, Order, Ratio, Value
from regrun.studies.reproductions.spec import Method, Reproduction, Trained

LN10 = 2.302585
"""The cross-entropy of ten classes that are all equally likely."""

_NONE, _THREE, _OPTIMIZER = "λ = 0", "λ = 3", "λ = 3 as weight_decay"
_ONE_RUN = "one run on one draw of the data"
_TWENTY = "20 initial weights on one draw of the data, full length"

WEIGHT_DECAY = Reproduction(
    title="Weight decay against overfitting 20 examples of 200 inputs",
    reference="Zhang, Lipton, Li & Smola, Dive into Deep Learning, §3.7, concise implementation",
    parts=(
        Trained(
            "weight_decay.yaml",
            (
                Method(_NONE, {"optimizer.weight_decay": 0}),
                Method(_THREE, {"optimizer.weight_decay": 3}),
            ),
            seeds=20,
        ),
    ),
    claims=(
        Bound("λ = 0: the train loss vanishes", Of(_NONE, "train/loss"), below=1e-3),
        Bound("λ = 0: the test loss stays high", Of(_NONE, "test/loss"), above=10),
        Value("λ = 0: ‖w‖₂", Of(_NONE, "weights/l2"), 13, tolerance=1.5),
        Value("λ = 3: ‖w‖₂", Of(_THREE, "weights/l2"), 0.36, tolerance=0.05),
        Ratio(
            "test loss, λ = 0 over λ = 3",
            Of(_NONE, "test/loss"),
            Of(_THREE, "test/loss"),
            above=100,
        ),
    ),
    budget=_TWENTY,
    published_budget=_ONE_RUN,
    takes="2 s",
    remark="Tolerance of 13: two standard deviations of single runs, as the published one is.",
)

WEIGHT_DECAY_FROM_SCRATCH = Reproduction(
    title="The same with the penalty in the objective",
    reference="Zhang, Lipton, Li & Smola, Dive into Deep Learning, §3.7, from scratch",
    parts=(
        Trained(
            "weight_decay_from_scratch.yaml",
            (
                Method(_NONE, {"penalty.strength": 0}),
                Method(_THREE, {"penalty.strength": 3}),
                Method(_OPTIMIZER, {"penalty.strength": 0, "optimizer.weight_decay": 3}),
            ),
            seeds=20,
        ),
    ),
    claims=(
        Bound("λ = 0: the train loss vanishes", Of(_NONE, "train/loss"), below=1e-3),
        Value("λ = 0: ‖w‖₂", Of(_NONE, "weights/l2"), 13, tolerance=1.5),
        Value("λ = 3: ‖w‖₂", Of(_THREE, "weights/l2"), 0.34, tolerance=0.05),
        Ratio(
            "test loss, λ = 0 over λ = 3",
            Of(_NONE, "test/loss"),
            Of(_THREE, "test/loss"),
            above=100,
        ),
        Ratio(
            "‖w‖₂, penalty over weight_decay: the same under SGD",
            Of(_THREE, "weights/l2"),
            Of(_OPTIMIZER, "weights/l2"),
            above=1 - 1e-5,
            below=1 + 1e-5,
        ),
    ),
    budget=_TWENTY,
    published_budget=_ONE_RUN,
    takes="2 s",
    remark="Tolerance of 13: two standard deviations of single runs, as the published one is.",
)

_DROPOUT = "dropout 0.2 and 0.5"

DROPOUT_FASHION_MNIST = Reproduction(
    title="Dropout in an MLP on Fashion-MNIST",
    reference="Zhang, Lipton, Li & Smola, Dive into Deep Learning, §5.6",
    parts=(Trained("dropout_fashion_mnist.yaml", (Method(_DROPOUT),), seeds=10),),
    claims=(
        Bound("train loss", Of(_DROPOUT, "train/loss"), below=0.5),
        Bound("train accuracy", Of(_DROPOUT, "train/accuracy"), above=0.8),
        Bound("test accuracy", Of(_DROPOUT, "test/accuracy"), above=0.8),
    ),
    budget="10 seeds, full length",
    published_budget="one run",
    takes="2 minutes",
    remark="Here the train loss and accuracy are measured with dropout off, there with it on. The "
    "learning rate falls by a cosine here; held constant, accuracy is far lower at some epochs.",
)


def _penalised(kind: str, what: str, strength: str, config: str, takes: str) -> Reproduction:
    """A tutorial's penalty of strength 1, and a sensible strength compared with none."""
    collapsed, sane, plain = f"{what} 1", f"{what} {strength}", "no penalty"
    off: Mapping[str, Any] = {"penalty.strength": 0}
    return Reproduction(
        title=f"{kind} on weights and biases of an MLP on MNIST: too much of it, and enough",
        reference="a regularization tutorial's network (784-64-32-10, Adam 1e-4, batch 10, "
        "5 epochs)",
        parts=(
            Trained(f"{config}.yaml", (Method(collapsed),), seeds=3),
            Trained(f"{config}_sane.yaml", (Method(sane), Method(plain, off)), seeds=5),
        ),
        claims=(
            Value(f"{collapsed}: data loss, ln 10", Of(collapsed, "train/loss"), LN10, 0.001),
            Bound(f"{collapsed}: test accuracy, chance", Of(collapsed, "test/accuracy"), 0.15),
            Order(
                f"{sane}: test loss below that without penalty",
                Of(sane, "test/loss"),
                Of(plain, "test/loss"),
            ),
        ),
        budget="strength 1: 3 seeds, full length; else 5 seeds, 2,000 digits, 40 epochs",
        published_budget="one run at strength 1; the comparison with a smaller strength is ours",
        takes=takes,
    )


L1_MNIST = _penalised("L1", "λ Σ|w|, λ =", "1e-5", "l1_mnist", "3 minutes")
L2_MNIST = _penalised("L2", "λ Σw², λ =", "1e-4", "l2_mnist", "3 minutes")
ELASTIC_NET_MNIST = _penalised(
    "Elastic net", "λ (0.3 Σ|w| + 0.7 Σw²), λ =", "5e-5", "elastic_net_mnist", "3 minutes"
)
