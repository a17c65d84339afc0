"""Random numbers for the layers of a stack, from each member's own streams."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any, Literal

import torch
from jaxtyping import Float32
from torch import Tensor

from regrun.errors import CorruptInputError
from regrun.kinds.noise import NoiseKind
from regrun.seeding import derive
from regrun.stack.philox import normal_of, uniform_words
from regrun.stack.state import check_tensors

Distribution = Literal["uniform", "normal"]


class Noise(ABC):
    """Draws per layer and member.

    A stream depends on (seed, layer) and on nothing else, so a member draws the same numbers
    whatever the other members and layers draw. Members with the same seed share a stream.
    """

    def __init__(self, seeds: Sequence[int], device: torch.device) -> None:
        self._device = device
        self._set_members(seeds)

    def _set_members(self, seeds: Sequence[int]) -> None:
        self._seeds = list(dict.fromkeys(seeds))
        position = {seed: index for index, seed in enumerate(self._seeds)}
        self._member_seeds = list(seeds)
        self._row_of = [position[seed] for seed in seeds]
        self._rows = torch.tensor(self._row_of, device=self._device)

    def uniform(self, layer: str, shape: Sequence[int]) -> Float32[Tensor, " K *shape"]:
        """(K, *shape) float32 numbers from [0, 1), each member's the next of its own stream."""
        return self._of_members(self._uniform(layer, shape))

    def normal(self, layer: str, shape: Sequence[int]) -> Float32[Tensor, " K *shape"]:
        """(K, *shape) float32 numbers from N(0, 1), each member's the next of its own stream."""
        return self._of_members(self._normal(layer, shape))

    def draw(self, kind: type[NoiseKind], layer: str, shape: Sequence[int]) -> Tensor:
        """(K, *shape) numbers of the distribution that a kind of noise needs."""
        return self.normal(layer, shape) if kind.normal else self.uniform(layer, shape)

    def seeds(self, layer: str) -> list[int]:
        """A number to seed a generator with for each member, the next of its own stream."""
        drawn = self._integers(layer)
        return [drawn[row] for row in self._row_of]

    def _of_members(self, draws: Tensor) -> Tensor:
        """(distinct seeds, …) → (K, …)."""
        return draws if len(self._seeds) == len(self._row_of) else draws[self._rows]

    @abstractmethod
    def _uniform(self, layer: str, shape: Sequence[int]) -> Tensor: ...

    @abstractmethod
    def _normal(self, layer: str, shape: Sequence[int]) -> Tensor: ...

    @abstractmethod
    def _integers(self, layer: str) -> list[int]: ...

    @abstractmethod
    def draw_into(self, out: Tensor, layer: str, kind: Distribution) -> None:
        """Overwrite (distinct seeds, …) with the numbers that `uniform` or `normal` would give."""

    @abstractmethod
    def next_step(self) -> None:
        """Begin with the numbers of another step."""

    @abstractmethod
    def position(self) -> Any:
        """Where all streams are, for `return_to`."""

    @abstractmethod
    def return_to(self, position: Any) -> None:
        """Draw from there once more."""

    @abstractmethod
    def shrink_to(self, rows: Sequence[int]) -> None:
        """Shrink to these members; the streams of the others end."""

    @abstractmethod
    def state_dict(self) -> dict[str, Tensor]:
        """All that is needed to go on, between two steps."""

    @abstractmethod
    def restore(self, state: Mapping[str, Tensor], steps: int) -> None:
        """Continue every stream where the `state_dict` of a checkpoint left it after these steps.

        Raises CorruptInputError for what no such streams leave.
        """


def make_noise(seeds: Sequence[int], device: torch.device) -> Noise:
    """The kind of noise that suits the device."""
    return StreamNoise(seeds, device) if device.type == "cpu" else CounterNoise(seeds, device)


class StreamNoise(Noise):
    """A generator of torch for each layer and seed, one after another: fastest on a CPU."""

    def __init__(self, seeds: Sequence[int], device: torch.device) -> None:
        super().__init__(seeds, device)
        self._generators: dict[str, list[torch.Generator]] = {}

    def _uniform(self, layer: str, shape: Sequence[int]) -> Tensor:
        return self._fill(layer, shape, torch.Tensor.uniform_)

    def _normal(self, layer: str, shape: Sequence[int]) -> Tensor:
        return self._fill(layer, shape, torch.Tensor.normal_)

    def _integers(self, layer: str) -> list[int]:
        return [
            int(torch.randint(2**63 - 1, (), generator=generator, device=self._device))
            for generator in self._streams(layer)
        ]

    def _fill(self, layer: str, shape: Sequence[int], fill: Callable[..., Tensor]) -> Tensor:
        draws = torch.empty((len(self._seeds), *shape), device=self._device)
        self._overwrite(draws, layer, fill)
        return draws

    def _overwrite(self, draws: Tensor, layer: str, fill: Callable[..., Tensor]) -> None:
        for row, generator in zip(draws, self._streams(layer), strict=True):
            fill(row, generator=generator)

    def draw_into(self, out: Tensor, layer: str, kind: Distribution) -> None:
        normal = kind == "normal"
        self._overwrite(out, layer, torch.Tensor.normal_ if normal else torch.Tensor.uniform_)

    def next_step(self) -> None:
        """Generators go on by themselves."""

    def position(self) -> dict[str, Tensor]:
        return self.state_dict()

    def return_to(self, position: dict[str, Tensor]) -> None:
        self.load_state_dict(position)

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

    def restore(self, state: Mapping[str, Tensor], steps: int) -> None:
        """See `Noise`.

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


class CounterNoise(Noise):
    """Numbers that are a function of seed, layer, step and place; see `philox`.

    All members' numbers of a layer are one kernel, whatever the number of seeds.
    """

    def __init__(self, seeds: Sequence[int], device: torch.device) -> None:
        super().__init__(seeds, device)
        self._time = torch.zeros((), dtype=torch.int64, device=device)
        """Steps so far; on the device, so that a recorded step counts on."""
        self._keys: dict[str, Tensor] = {}
        """Layer → (distinct seeds,)."""
        self._calls: dict[str, int] = {}
        """Layer → how often it has drawn in this step."""

    def _uniform(self, layer: str, shape: Sequence[int]) -> Tensor:
        return self._words(layer, prod(shape)).view(-1, *shape)

    def _normal(self, layer: str, shape: Sequence[int]) -> Tensor:
        return normal_of(self._words(layer, 2 * prod(shape))).view(-1, *shape)

    def _integers(self, layer: str) -> list[int]:
        call = self._call(layer)
        time = int(self._time)
        return [derive(seed, f"noise/{layer}", time, call) for seed in self._seeds]

    def draw_into(self, out: Tensor, layer: str, kind: Distribution) -> None:
        shape = out.shape[1:]
        out.copy_(self._normal(layer, shape) if kind == "normal" else self._uniform(layer, shape))

    def _words(self, layer: str, count: int) -> Tensor:
        if layer not in self._keys:
            keys = [derive(seed, f"noise/{layer}") for seed in self._seeds]
            self._keys[layer] = torch.tensor(keys, device=self._device)
        return uniform_words(self._keys[layer], self._time, self._call(layer), count)

    def _call(self, layer: str) -> int:
        self._calls[layer] = self._calls.get(layer, -1) + 1
        return self._calls[layer]

    def next_step(self) -> None:
        self._time += 1
        self._calls.clear()

    def position(self) -> dict[str, int]:
        return dict(self._calls)

    def return_to(self, position: dict[str, int]) -> None:
        self._calls = dict(position)

    def shrink_to(self, rows: Sequence[int]) -> None:
        self._set_members([self._member_seeds[row] for row in rows])
        self._keys.clear()

    def state_dict(self) -> dict[str, Tensor]:
        return {"time": self._time}

    def restore(self, state: Mapping[str, Tensor], steps: int) -> None:
        check_tensors(self.state_dict(), state)
        if state["time"] != steps:
            raise CorruptInputError(f"time: {state['time'].item():,}, not {steps:,}")
        self._time.copy_(state["time"])
        self._calls.clear()


class DrawnNoise(Noise):
    """The numbers of other noise, drawn before a step instead of in it.

    So what a step computes can be compiled, while the numbers are those that it would have drawn.
    It draws the same in each step; what that is, shows in the first, which draws as it goes.
    """

    def __init__(self, noise: Noise) -> None:
        self._noise = noise
        self._device, self._seeds = noise._device, noise._seeds
        self._row_of, self._rows = noise._row_of, noise._rows
        self._draws: list[tuple[Distribution, str, Tensor]] = []
        """Distribution, layer, and numbers, (distinct seeds, …), in the order of a step."""
        self._place = 0
        self._first = True

    def draw_all(self) -> None:
        """Draw the numbers of the coming step."""
        for kind, layer, out in self._draws:
            self._noise.draw_into(out, layer, kind)

    def end_step(self) -> None:
        """Let the other noise begin with the numbers of another step."""
        self._noise.next_step()

    def _uniform(self, layer: str, shape: Sequence[int]) -> Tensor:
        return self._next("uniform", layer, shape)

    def _normal(self, layer: str, shape: Sequence[int]) -> Tensor:
        return self._next("normal", layer, shape)

    def _next(self, kind: Distribution, layer: str, shape: Sequence[int]) -> Tensor:
        whole = (len(self._seeds), *shape)
        if self._place == len(self._draws) and self._first:
            out = torch.empty(whole, device=self._device)
            self._noise.draw_into(out, layer, kind)
            self._draws.append((kind, layer, out))
        for *draw, out in self._draws[self._place : self._place + 1]:
            if (*draw, out.shape) == (kind, layer, whole):
                self._place += 1
                return out
        raise RuntimeError(f"{layer} draws other numbers than in another step")

    def _integers(self, layer: str) -> list[int]:
        if not self._first:
            raise RuntimeError("its layers draw random numbers by themselves")
        return self._noise._integers(layer)

    def draw_into(self, out: Tensor, layer: str, kind: Distribution) -> None:
        out.copy_(self._next(kind, layer, out.shape[1:]))

    def next_step(self) -> None:
        """Begin with the same numbers; see `end_step`."""
        self._place = 0
        self._first = False

    def position(self) -> int:
        return self._place

    def return_to(self, position: int) -> None:
        self._place = position

    def shrink_to(self, rows: Sequence[int]) -> None:
        raise NotImplementedError("its draws are those of a step of the whole stack")

    def state_dict(self) -> dict[str, Tensor]:
        return self._noise.state_dict()

    def restore(self, state: Mapping[str, Tensor], steps: int) -> None:
        self._noise.restore(state, steps)
