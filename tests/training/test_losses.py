"""Mixed and smoothed targets against plain torch."""

from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from regrun.kinds.losses import MSE, BinaryCrossEntropy, CrossEntropy
from regrun.nn.class_scores import class_scores
from regrun.training.losses import Targets, losses_of

K, B, CLASSES = 4, 6, 5
MEAN_SQUARES = partial(losses_of, MSE(type="mse"))
ENTROPY = partial(losses_of, CrossEntropy(type="cross_entropy"))


def outputs(members: int = K) -> Tensor:
    source = torch.Generator().manual_seed(0)
    shape = (members, B, CLASSES)
    return torch.randn(shape, dtype=torch.float64, generator=source).requires_grad_()


def labels(groups: int, seed: int) -> Tensor:
    return torch.randint(CLASSES, (groups, B), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_label_smoothing_is_torchs(groups: int) -> None:
    smoothing = torch.tensor([0.0, 0.1, 0.5, 1.0], dtype=torch.float64).unsqueeze(1)
    o, y = outputs(), labels(groups, 1)
    losses = Targets(y, smoothing=smoothing).losses(ENTROPY, o)
    for row in range(K):
        expected = F.cross_entropy(
            o[row],
            y[row * groups // K],
            label_smoothing=smoothing[row].item(),
            reduction="none",
        )
        torch.testing.assert_close(losses[row], expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("smoothing", [0.0, 0.3, 1.0])
def test_label_smoothing_with_class_weights_is_torchs(smoothing: float) -> None:
    """For every number of classes, those of one logit included."""
    weights = torch.tensor([3.0, 1.0, 0.2, 0.0, 5.0], dtype=torch.float64)
    level = torch.tensor([[smoothing]], dtype=torch.float64)
    o, y = outputs(1), labels(1, 1)
    for classes in (2, CLASSES):
        own = weights[:classes]
        scores, labelled = o[..., :classes], y % classes
        plain = ENTROPY(scores, labelled) * own[labelled]
        targets = Targets(labelled, smoothing=level, class_weights=own)
        losses = targets.losses(lambda *_, plain=plain: plain, scores)
        expected = F.cross_entropy(
            scores[0], labelled[0], own, reduction="none", label_smoothing=smoothing
        )
        torch.testing.assert_close(losses[0], expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_mixed_targets_are_the_weighted_losses_of_both(groups: int) -> None:
    share = torch.tensor([0.0, 0.25, 0.5, 1.0], dtype=torch.float64)[4 - groups :].unsqueeze(1)
    o, y, z = outputs(), labels(groups, 1), labels(groups, 2)
    losses = Targets(y, z, share).losses(ENTROPY, o)
    for row in range(K):
        group = row * groups // K
        w = share[group].item()
        expected = w * F.cross_entropy(o[row], y[group], reduction="none") + (
            1 - w
        ) * F.cross_entropy(o[row], z[group], reduction="none")
        torch.testing.assert_close(losses[row], expected, rtol=1e-13, atol=1e-13)


def test_mixed_and_smoothed_is_torchs_loss_of_class_probabilities() -> None:
    o, y, z = outputs(1), labels(1, 1), labels(1, 2)
    share, smoothing = torch.tensor([[0.3]]).double(), torch.tensor([[0.2]]).double()
    losses = Targets(y, z, share, smoothing).losses(ENTROPY, o)
    probabilities = 0.3 * F.one_hot(y[0], CLASSES) + 0.7 * F.one_hot(z[0], CLASSES)
    expected = F.cross_entropy(o[0], probabilities.double(), label_smoothing=0.2, reduction="none")
    torch.testing.assert_close(losses[0], expected, rtol=1e-7, atol=1e-7)


def test_mixing_numbers_has_the_gradient_of_the_mixed_number() -> None:
    o = outputs(1)
    y, z = torch.randn(2, 1, B, CLASSES, dtype=torch.float64).unbind(0)
    share = torch.tensor([[0.3]], dtype=torch.float64)
    (gradient,) = torch.autograd.grad(Targets(y, z, share).losses(MEAN_SQUARES, o).sum(), o)
    (expected,) = torch.autograd.grad(MEAN_SQUARES(o, 0.3 * y + 0.7 * z).sum(), o)
    torch.testing.assert_close(gradient, expected, rtol=1e-12, atol=1e-12)


def test_a_share_of_one_and_no_smoothing_change_no_bit_of_loss_or_gradient() -> None:
    o, y, z = outputs(), labels(4, 1), labels(4, 2)
    ones, zeros = torch.ones(K, 1, dtype=torch.float64), torch.zeros(K, 1, dtype=torch.float64)
    plain = Targets(y).losses(ENTROPY, o)
    mixed = Targets(y, z, ones, zeros).losses(ENTROPY, o)
    assert torch.equal(plain, mixed)
    (expected,) = torch.autograd.grad(plain.sum(), o)
    (gradient,) = torch.autograd.grad(mixed.sum(), o)
    assert torch.equal(gradient, expected)


BINARY = partial(losses_of, BinaryCrossEntropy(type="binary_cross_entropy"))


def logits(members: int = K) -> Tensor:
    source = torch.Generator().manual_seed(0)
    z = 8 * torch.randn((members, B, 1), dtype=torch.float64, generator=source)
    return z.requires_grad_()


def binary_labels(groups: int, seed: int) -> Tensor:
    return labels(groups, seed) % 2


def with_logits(z: Tensor, targets: Tensor) -> Tensor:
    """torch's loss of logits (K, B, 1) and targets (K, B) in [0, 1]."""
    return F.binary_cross_entropy_with_logits(z[..., 0], targets.double(), reduction="none")


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_the_loss_of_one_logit_is_torchs_and_so_is_its_gradient(groups: int) -> None:
    z, y = logits(), binary_labels(groups, 1)
    found = BINARY(class_scores(z), y)
    expected = with_logits(z, y.repeat_interleave(K // groups, 0))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-15)
    (mine,), (theirs,) = (torch.autograd.grad(each.sum(), z) for each in (found, expected))
    torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("size", [40.0, 800.0])
def test_a_large_logit_overflows_nowhere(size: float) -> None:
    z = torch.tensor([[[size], [-size]]], dtype=torch.float64, requires_grad=True)
    losses = BINARY(class_scores(z), torch.tensor([[0, 0]]))
    assert losses[0].tolist() == [size, pytest.approx(0.0, abs=1e-15)]
    (gradient,) = torch.autograd.grad(losses.sum(), z)
    assert gradient[0, :, 0].tolist() == [1.0, pytest.approx(0.0, abs=1e-15)]


def test_smoothed_and_mixed_classes_of_one_logit_are_torchs_with_soft_targets() -> None:
    z, y, other = logits(), binary_labels(4, 1), binary_labels(4, 2)
    share = torch.tensor([0.0, 0.25, 0.5, 1.0], dtype=torch.float64).unsqueeze(1)
    smoothing = torch.tensor([0.3, 0.0, 0.1, 1.0], dtype=torch.float64).unsqueeze(1)
    found = Targets(y, other, share, smoothing).losses(BINARY, class_scores(z))
    mixed = share * y + (1 - share) * other
    expected = with_logits(z, (1 - smoothing) * mixed + smoothing / 2)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


def test_scores_of_several_classes_stay_as_they_are() -> None:
    o = outputs()
    assert class_scores(o) is o
