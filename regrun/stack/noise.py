"""Random numbers for the layers of a stack, from each member's own streams."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Float32
from torch import Tensor

from regrun.errors import CorruptInputError
from regrun.kinds.noise import NoiseKind
from regrun.seeding import derive
from regrun.stack.state import check_tensors


class Noise:
    """Draws per layer and member.

    A stream depends on (seed, layer) and on nothing else, so a member draws the same numbers
    whatever the other members and layers draw. Members with the same seed share a stream.
    """

    def __init__(self, seeds: Sequence[int], device: torch.device) -> None:
        self._device = device
        self._set_members(seeds)
        self._generators: dict[str, list[torch.Generator]] = {}

    def _set_members(self, seeds: Sequence[int]) -> None:
        self._seeds = list(dict.fromkeys(seeds))
        position = {seed: index for index, seed in enumerate(self._seeds)}
        self._member_seeds = list(seeds)
        self._rows = torch.tensor([position[seed] for seed in seeds], device=self._device)

    def uniform(self, layer: str, shape: Sequence[int]) -> Float32[Tensor, " K *shape"]:
        """(K, *shape) float32 numbers from [0, 1), each member's the next of its own stream."""
        return self._fill(layer, shape, torch.Tensor.uniform_)

    def normal(self, layer: str, shape: Sequence[int]) -> Float32[Tensor, " K *shape"]:
        """(K, *shape) float32 numbers from N(0, 1), each member's the next of its own stream."""
        return self._fill(layer, shape, torch.Tensor.normal_)

    def draw(self, kind: type[NoiseKind], layer: str, shape: Sequence[int]) -> Tensor:
        """(K, *shape) numbers of the distribution that a kind of noise needs."""
        return self.normal(layer, shape) if kind.normal else self.uniform(layer, shape)

    def seeds(self, layer: str) -> list[int]:
        """A number to seed a generator with for each member, the next of its own stream."""
        drawn = [
            int(torch.randint(2**63 - 1, (), generator=generator, device=self._device))
            for generator in self._streams(layer)
        ]
        return [drawn[row] for row in self._rows.tolist()]

    def _fill(self, layer: str, shape: Sequence[int], fill: Callable[..., Tensor]) -> Tensor:
        draws = torch.empty((len(self._seeds), *shape), device=self._device)
        for row, generator in zip(draws, self._streams(layer), strict=True):
            fill(row, generator=generator)
        return draws if len(self._seeds) == len(self._rows) else draws[self._rows]

    def _streams(self, layer: str) -> list[torch.Generator]:
        if layer not in self._generators:
            self._generators[layer] = [
                torch.Generator(self._device).manual_seed(derive(seed, f"noise/{layer}"))
                for seed in self._seeds
            ]
        return self._generators[layer]

    def shrink_to(self, rows: Sequence[int]) -> None:
        """Shrink to these members; the streams of the others end."""
        old = {seed: index for index, seed in enumerate(self._seeds)}
        self._set_members([self._member_seeds[row] for row in rows])
        for layer, generators in self._generators.items():
            self._generators[layer] = [generators[old[seed]] for seed in self._seeds]

    def state_dict(self) -> dict[str, Tensor]:
        """Layer → (distinct seeds, state size) bytes."""
        return {
            layer: torch.stack([generator.get_state() for generator in generators])
            for layer, generators in self._generators.items()
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Continue every stream where the `state_dict` of a checkpoint left it.

        Raises CorruptInputError for other streams than are open here, and for those of other seeds.
        """
        check_tensors(self.state_dict(), state)
        for layer, states in state.items():
            for generator, saved in zip(self._generators[layer], states, strict=True):
                seed = generator.initial_seed()
                try:
                    generator.set_state(saved.clone())  # a view of a larger tensor crashes torch
                except RuntimeError as error:
                    raise CorruptInputError(f"{layer}: not the state of a generator") from error
                if not torch.equal(generator.get_state(), saved):
                    raise CorruptInputError(f"{layer}: not the state of a generator")
                if generator.initial_seed() != seed:
                    raise CorruptInputError(f"{layer}: the stream of another seed")

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue every stream where `state_dict` left it; other streams start anew."""
        self._generators = {layer: self._streams(layer) for layer in state}
        for layer, states in state.items():
            for generator, saved in zip(self._streams(layer), states, strict=True):
                generator.set_state(saved.clone())  # a view of a larger tensor crashes torch
