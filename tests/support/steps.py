"""A config for everything that acts in a training step."""

from __future__ import annotations

from typing import Any

BASE: dict[str, Any] = {
    "dataset": {"name": "digits", "num_train": 50, "num_test": 20},
    "model": {"name": "mlp", "hidden": [8]},
    "optimizer": {"name": "sgd", "lr": 0.1},
    "training": {"epochs": 4, "batch_size": 16},
}
IMAGES = {"dataset": BASE["dataset"], "model": {"name": "cnn", "channels": [2]}}
CASES: dict[str, dict[str, Any]] = {
    "sgd": {},
    "momentum": {"optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.9, "nesterov": True}},
    "adam": {"optimizer": {"name": "adam", "lr": 0.01, "weight_decay": 0.1}},
    "adamw": {"optimizer": {"name": "adamw", "lr": 0.01, "weight_decay": 0.1, "amsgrad": True}},
    "rmsprop": {"optimizer": {"name": "rmsprop", "lr": 0.01}},
    "adagrad": {"optimizer": {"name": "adagrad", "lr": 0.01, "lr_decay": 0.1}},
    "cosine": {"schedule": "cosine"},
    "warmup": {"schedule": {"type": "step", "step_size": 2, "gamma": 0.5, "warmup_epochs": 1.0}},
    "sam": {"optimizer": {"name": "sgd", "lr": 0.1, "sam": 0.05}},
    "sam, batch norm": {
        "model": {"name": "mlp", "hidden": [8], "norm": "batch"},
        "optimizer": {"name": "sgd", "lr": 0.1, "sam": 0.05},
    },
    "clipping": {"training": {**BASE["training"], "clip_norm": 1.0, "clip_value": 0.5}},
    "ema": {"training": {**BASE["training"], "ema": 0.9}},
    "swa": {"training": {**BASE["training"], "swa": {"start": 2}}},
    "lookahead": {"optimizer": {"name": "sgd", "lr": 0.1, "lookahead": {"k": 2, "alpha": 0.5}}},
    "elastic net": {"penalty": {"type": "elastic_net", "strength": 0.01, "l1_ratio": 0.5}},
    "proximal": {"penalty": {"type": "l1", "strength": 0.01, "method": "proximal"}},
    "max-norm": {"constraints": [{"type": "max_norm", "limit": 1.0}]},
    "smoothing": {"augment": {"label_smoothing": 0.1}},
    "mixup": {"augment": {"mixup": 0.4}},
    "crop": {**IMAGES, "augment": {"crop": 1, "flip": 0.5, "cutout": 2}},
    "dropout": {"model": {"name": "mlp", "hidden": [8], "dropout": 0.5}},
    "batch norm": {"model": {"name": "mlp", "hidden": [8], "norm": "batch"}},
    "layer norm": {"model": {"name": "mlp", "hidden": [8], "norm": "layer"}},
    "r-drop": {
        "model": {"name": "mlp", "hidden": [8], "dropout": 0.5},
        "training": {**BASE["training"], "r_drop": {"alpha": 1.0}},
    },
    "images": IMAGES,
    "float64": {"training": {**BASE["training"], "precision": "float64"}},
    "full batches": {"training": {**BASE["training"], "batch_size": "full"}},
}
