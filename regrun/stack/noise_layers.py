"""Noise layers for K members at once: levels per member, draws from the members' own streams."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from regrun.nn.modules import (
    DropConnectLinear,
    GaussianDropout,
    GaussianNoise,
    StochasticDepth,
    add_noise,
    alpha_dropout,
    dropout,
    gaussian_dropout,
    noise_level,
)
from regrun.stack.layers import Handler, HandlerMaker, Pass, linear_map, make_linear, spread
from regrun.stack.noise import Noise


@dataclass(frozen=True)
class ActivationNoise:
    """One kind of noise on activations.

    formula: (x, draws, level) → x's shape. axes: how many leading axes of (B, C, …) have draws of
    their own, None for all; the others share them.
    """

    formula: Callable[[Tensor, Tensor, Tensor], Tensor]
    normal: bool = False
    axes: int | None = None

    def draws_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Of the draws for one member's activations (B, …)."""
        own = len(shape) if self.axes is None else self.axes
        return (*shape[:own], *[1] * (len(shape) - own))

    def draw(self, noise: Noise, layer: str, shape: Sequence[int]) -> Tensor:
        """(K, *shape); shape: as `draws_shape` gives it."""
        return noise.normal(layer, shape) if self.normal else noise.uniform(layer, shape)


ACTIVATION_NOISE: dict[type[nn.Module], ActivationNoise] = {
    nn.Dropout: ActivationNoise(dropout),
    nn.Dropout1d: ActivationNoise(dropout, axes=2),
    nn.Dropout2d: ActivationNoise(dropout, axes=2),
    nn.Dropout3d: ActivationNoise(dropout, axes=2),
    nn.AlphaDropout: ActivationNoise(alpha_dropout),
    GaussianDropout: ActivationNoise(gaussian_dropout, normal=True),
    GaussianNoise: ActivationNoise(add_noise, normal=True),
    StochasticDepth: ActivationNoise(dropout, axes=1),
}


def activation_noise(layer: nn.Module) -> ActivationNoise | None:
    """The kind of noise that a layer is; None for any other layer."""
    if type(layer).__name__ == "StochasticDepth":  # also torchvision's, which is not imported here
        return ACTIVATION_NOISE[StochasticDepth]
    return ACTIVATION_NOISE.get(type(layer))


def make_activation_noise(name: str, modules: Sequence[nn.Module]) -> Handler:
    """Noise at the level of each member; at level 0 a member's activations pass untouched."""
    kind = ACTIVATION_NOISE[type(modules[0])]
    if not any(noise_level(layer) for layer in modules):
        return lambda x, state: x

    def noisy(x: Tensor, state: Pass) -> Tensor:
        if state.noise is None:
            return x
        x = spread(x, state.size)
        draws = kind.draw(state.noise, name, kind.draws_shape(x.shape[1:]))
        return kind.formula(x, draws, _beside(state.levels[name], x))

    return noisy


def make_drop_connect(name: str, modules: Sequence[nn.Module]) -> Handler:
    """A linear layer with dropout of its weights: one mask per member and step."""
    plain = make_linear(name, modules)

    def drop_connect(x: Tensor, state: Pass) -> Tensor:
        if state.noise is None:
            return plain(x, state)
        weight = state.parameters[f"{name}.weight"]
        uniform = state.noise.uniform(name, weight.shape[1:])
        dropped = dropout(weight, uniform, _beside(state.levels[name], weight))
        return linear_map(x, dropped, state.parameters.get(f"{name}.bias"))

    return drop_connect


def _beside(levels: Tensor, x: Tensor) -> Tensor:
    """(K,) → (K, 1, …) against x."""
    return levels.view(-1, *[1] * (x.dim() - 1))


NOISE_HANDLERS: dict[type[nn.Module], HandlerMaker] = {
    **dict.fromkeys(ACTIVATION_NOISE, make_activation_noise),
    DropConnectLinear: make_drop_connect,
}
