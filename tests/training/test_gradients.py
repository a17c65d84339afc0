"""Clipping as a map of gradients: torch's, member by member."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

from regrun.config.training import Training
from regrun.training.gradients import Clipping, member_norms

CPU = torch.device("cpu")
Limit = st.none() | st.floats(1e-3, 1e3)


def gradients(scale: float = 1.0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((3, 4, 5), (3, 4), (3, 1, 2, 2))
    return [scale * torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes]


@given(st.lists(st.tuples(Limit, Limit), min_size=3, max_size=3), st.floats(1e-3, 1e3))
def test_every_member_is_clipped_as_torch_clips_it(
    limits: list[tuple[float | None, float | None]], scale: float
) -> None:
    sections = [Training(clip_value=value, clip_norm=norm) for value, norm in limits]
    given_ = gradients(scale)
    clipped = Clipping(sections, CPU)(given_)
    for member, (value, norm) in enumerate(limits):
        parameters = [torch.zeros_like(g[member]).requires_grad_() for g in given_]
        for parameter, g in zip(parameters, given_, strict=True):
            parameter.grad = g[member].clone()
        if value is not None:
            clip_grad_value_(parameters, value)
        if norm is not None:
            clip_grad_norm_(parameters, norm)
        for parameter, mine in zip(parameters, clipped, strict=True):
            assert parameter.grad is not None
            torch.testing.assert_close(mine[member], parameter.grad, rtol=1e-13, atol=0)


def test_a_member_without_a_limit_is_untouched_whatever_its_neighbour_does() -> None:
    given_ = gradients()
    given_[0][1] = torch.inf
    given_[1][2, 0] = torch.nan
    clipped = Clipping([Training(), Training(clip_norm=0.1), Training(clip_value=0.1)], CPU)(given_)
    for before, after in zip(given_, clipped, strict=True):
        assert torch.equal(before[0], after[0])
    assert member_norms([g[2:] for g in clipped]).isnan().all()
    unlimited = Clipping([Training(), Training(), Training(clip_norm=0.1)], CPU)(given_)
    assert torch.equal(unlimited[0][1], given_[0][1])


def test_without_limits_there_is_nothing_to_do() -> None:
    assert not Clipping([Training()] * 3, CPU)
    given_ = gradients()
    assert Clipping([Training()] * 3, CPU)(given_) is given_


@pytest.mark.parametrize("key", ["clip_norm", "clip_value"])
def test_the_gradients_given_are_left_as_they_are(key: str) -> None:
    given_ = gradients()
    Clipping([Training.model_validate({key: 0.01})] * 3, CPU)(given_)
    for mine, original in zip(given_, gradients(), strict=True):
        assert torch.equal(mine, original)


def test_norms_cover_parameters_that_are_single_numbers() -> None:
    tensors = [torch.tensor([3.0, 0.0]), torch.tensor([[4.0], [-5.0]])]
    assert member_norms(tensors).tolist() == [5.0, 5.0]
