"""What every model has in common, and how its module is built."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from regrun.errors import ConfigError, PluginError
from regrun.kinds.base import PER_MEMBER, Positive, Section, wrong

if TYPE_CHECKING:
    from torch import nn

Init = Annotated[Literal["default", "normal", "zeros", "xavier", "kaiming"], PER_MEMBER]


class ModelSection(Section):
    """A model: its keys, and the network that they describe.

    A subclass declares its `name` as a literal, its keys as fields, and defines `build`. It imports
    torch inside its methods, as listing the models must not load it.
    """

    is_linear: ClassVar[bool] = False
    """Whether the outputs are affine in the inputs, with no hidden layer between."""
    grouped_convolutions: ClassVar[bool] = False
    """Whether it may hold grouped convolutions: what a weight multiplies depends on its group."""

    takes_channels_last: ClassVar[bool] = False
    """Whether the network computes the same whatever the memory layout of its images, so that the
    fastest may be chosen."""

    gives: ClassVar[tuple[str, str]] = ("build", "gave a network that gives")
    """The method to blame for what the network gives, and what it did."""

    init: Init = "default"
    """Initial weights: torch's own default, N(0, init_std²), zeros, Xavier uniform or Kaiming
    normal; all but `default` set biases to 0."""
    init_std: Positive = 1.0
    """Standard deviation of `init: normal`."""

    @abstractmethod
    def build(self, input_shape: tuple[int, ...], num_outputs: int) -> nn.Module:
        """Return the network of one member, with its weights as torch draws them.

        `init` is applied afterwards. A stack runs layer by layer where it knows every layer, else
        through `torch.func.vmap`, and member by member where that cannot take it. Parameter names
        are those of the module's `state_dict`; they appear in `inspect`, in `weights.safetensors`
        and in name patterns.

        Args:
            input_shape: Shape of one example, without the batch axis: ``(features,)``, or
                ``(channels, height, width)`` for images.
            num_outputs: Number of classes, or of values to predict; 1 for two classes, unless the
                loss needs an output for each.

        Returns:
            A module that maps (B, *input_shape) to (B, num_outputs).

        Raises:
            ConfigError: When the network cannot take inputs of this shape.
        """

    @property
    def input_weight(self) -> str:
        """The parameter that has a column for each input; empty where there is none."""
        return ""

    @property
    def no_hidden_activations(self) -> str:
        """Why penalties on hidden activations cannot see them; empty where they can."""
        return "is a plug-in and hands over its outputs only"

    @property
    def hidden_layers(self) -> tuple[str, ...]:
        """The modules whose outputs manifold mixup may mix, in the order in which they run."""
        return ()

    @property
    def mixes_examples(self) -> bool:
        """Whether noise lets an example's outputs depend on the others of its batch."""
        return False

    def symbols(self) -> list[str]:
        """Return the network's own noise in training as `inspect` writes it, a line for each.

        Returns:
            Lines such as ``h ← h · m / (1−p),  m ~ Bernoulli(1−p)   (dropout, p = 0.5)``, in the
            order in which the noise acts.
        """
        return []

    def notes(self, input_shape: tuple[int, ...]) -> list[str]:
        """Return what a user should know about the network for these inputs.

        Args:
            input_shape: As in `build`.

        Returns:
            Sentences such as ``images are enlarged from 28×28 to 32×32``.
        """
        return []


def build_model(
    section: ModelSection, input_shape: tuple[int, ...], num_outputs: int, seed: int | None = None
) -> nn.Module:
    """Build the module of one member: input (B, *input_shape) → output (B, num_outputs).

    seed: draws the initial weights; None builds on the meta device, without memory or numbers.
    Raises ConfigError when the model cannot take this input.
    """
    try:
        return _build(section, input_shape, num_outputs, seed)
    except PluginError:
        if seed is not None:
            raise
    # A constructor may have read numbers, which the meta device does not have.
    return _build(section, input_shape, num_outputs, 0).to("meta")


def _build(
    section: ModelSection, input_shape: tuple[int, ...], num_outputs: int, seed: int | None
) -> nn.Module:
    from regrun.nn.modules import OnMeta, initialize, seeded

    with OnMeta() if seed is None else seeded(seed):
        try:
            module = section.build(input_shape, num_outputs)
        except RuntimeError as error:
            # Without memory only the product of a layer's sizes can be too large.
            if seed is not None or "overflow" not in str(error):
                raise
            message = f"a layer is larger than any memory: {error}"
            raise ConfigError.at("model", message) from error
        if seed is not None:
            initialize(module, section.init, section.init_std)
    return module


def wrong_outputs(section: ModelSection, what: str) -> PluginError:
    """The error for what the network gives: that, and what it has to give."""
    method, did = section.gives
    return wrong(section, method, f"{did} {what}")
