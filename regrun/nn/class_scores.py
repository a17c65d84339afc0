"""The outputs of a classifier as a score for each class."""

from __future__ import annotations

import torch
from torch import Tensor


def class_scores(outputs: Tensor) -> Tensor:
    """Return scores whose softmax are the probabilities of the classes.

    Args:
        outputs: (…, C) scores, or (…, 1) logits z of the second of two classes.

    Returns:
        (…, C): the scores as they are; (…, 2): [0, z], since softmax([0, z]) = (1 − σ(z), σ(z)).

    Example:
        >>> class_scores(torch.tensor([[2.0], [-1.0]])).tolist()
        [[0.0, 2.0], [0.0, -1.0]]
    """
    if outputs.shape[-1] > 1:
        return outputs
    return torch.cat([torch.zeros_like(outputs), outputs], -1)
