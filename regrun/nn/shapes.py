"""What a model may ask of its input's shape."""

from __future__ import annotations

from regrun.errors import ConfigError


def as_image(input_shape: tuple[int, ...], model: str) -> tuple[int, int, int]:
    """(channels, height, width). Raises ConfigError for inputs that are no images."""
    if len(input_shape) != 3:
        raise ConfigError.at(
            "model.name",
            f"{model} needs images (channels, height, width), but this dataset's inputs have shape "
            f"{list(input_shape)}; use mlp or linear",
        )
    channels, height, width = input_shape
    return channels, height, width
