"""A look at how a plug-in's network can be computed, before it is trained."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from regrun.kinds.base import running
from regrun.kinds.models import ModelSection
from regrun.kinds.models.base import wrong_outputs
from regrun.memory import is_shortage
from regrun.nn.modules import noise_level
from regrun.stack.layers import ForwardContext
from regrun.stack.noise import Noise, make_noise
from regrun.stack.whole import AtOnce, OneByOne, Way, check_outputs

UNTRANSFORMABLE = (
    AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError
)  # fmt: skip
"""What code that works raises where torch cannot transform it, as in vmap."""


@dataclass(frozen=True)
class Trial:
    """What a few examples showed of how a module can be computed."""

    unstackable: str = ""
    """Why vmap cannot take it; empty: it can."""
    draws: bool = False
    """Whether it draws random numbers in training."""
    way: type[Way] = AtOnce
    """How its members are computed."""


def try_out(module: nn.Module, model: ModelSection, inputs: Tensor) -> Trial:
    """Compute one member and then two, in training and in evaluation, as a run would.

    inputs: (2, examples, *input_shape). Raises PluginError where one member alone fails.
    """
    with running(model, "forward"):
        compute = OneByOne(module)
    found = []
    for training, seed in ((True, 0), (True, 1), (False, 0)):
        context = _context(
            module, 1, make_noise([seed], inputs.device) if training else None, inputs
        )
        with torch.set_grad_enabled(training), running(model, "forward"):
            outputs, _ = compute(inputs[:1], context)
        check_outputs(model, outputs[0], inputs.shape[1])
        if training and not outputs.requires_grad:
            raise wrong_outputs(model, "outputs without a gradient; they have to depend on weights")
        found.append(outputs.detach())
    draws = not torch.equal(found[0], found[1])
    why = _why_not_at_once(module, inputs)
    return Trial(why, draws, OneByOne if why else AtOnce)


def _why_not_at_once(module: nn.Module, inputs: Tensor) -> str:
    """The reason that vmap gives; empty where it takes shared inputs and each member's own."""
    compute = AtOnce(module)
    for training in (True, False):
        for groups in (1, 2):
            noise = make_noise([0, 1], inputs.device) if training else None
            context = _context(module, 2, noise, inputs)
            try:
                with redirect_stdout(io.StringIO()), torch.set_grad_enabled(training):
                    compute(inputs[:groups], context)
            except UNTRANSFORMABLE as error:
                if is_shortage(error):
                    raise
                text = " ".join(str(error).split()).removeprefix("vmap: ")
                return text.partition(". ")[0].rstrip(".") or type(error).__name__
    return ""


def _context(module: nn.Module, size: int, noise: Noise | None, inputs: Tensor) -> ForwardContext:
    """That of a stack of members that all are this module, for inputs of this type."""
    device, dtype = inputs.device, inputs.dtype

    def stacked(tensor: Tensor) -> Tensor:
        floats = tensor.is_floating_point()
        return torch.stack([tensor.detach()] * size).to(device, dtype if floats else tensor.dtype)

    levels = {name: noise_level(layer) for name, layer in module.named_modules()}
    return ForwardContext(
        size,
        {name: stacked(tensor).requires_grad_() for name, tensor in module.named_parameters()},
        {name: stacked(tensor) for name, tensor in module.named_buffers()},
        {
            name: torch.full((size,), level, device=device, dtype=dtype)
            for name, level in levels.items()
            if level is not None
        },
        noise,
    )
