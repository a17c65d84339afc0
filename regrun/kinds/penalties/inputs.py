"""The inputs of a network, and how a penalty names some of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from regrun.errors import ConfigError
from regrun.suggest import did_you_mean


@dataclass(frozen=True)
class NetworkInputs:
    """What a penalty on single inputs acts on.

    Attributes:
        parameter: Name of the parameter whose columns multiply the inputs.
        count: How many inputs there are; of images every pixel is one.
        names: Of each input, such as ``town=Rome``; empty where they have none.
        columns: Name of a table's column → the positions of its inputs.
    """

    parameter: str
    count: int
    names: tuple[str, ...]
    columns: Mapping[str, tuple[int, ...]]

    def positions(self, entry: int | str, path: str) -> tuple[int, ...]:
        """Return the positions of an input, or of all inputs of a column.

        Args:
            entry: A position from 0, the name of a column, or that of one input.
            path: Where the entry stands in the config.

        Raises:
            ConfigError: There is no such input.
        """
        if isinstance(entry, int):
            if 0 <= entry < self.count:
                return (entry,)
            raise ConfigError.at(
                path, f"{entry}: no such input; the {self.count:,} inputs are 0 to {self.count - 1}"
            )
        if entry in self.columns:
            return self.columns[entry]
        if entry in self.names:
            return (self.names.index(entry),)
        if not self.names:
            raise ConfigError.at(
                path,
                f"{entry!r}: the inputs of these data have no names; use positions from 0 to "
                f"{self.count - 1}",
            )
        shown = ", ".join([*self.columns][:12]) + (", …" if len(self.columns) > 12 else "")
        hint = did_you_mean(entry, [*self.columns, *self.names]) or "."
        raise ConfigError.at(path, f"{entry!r}: no such column or input{hint} Columns: {shown}")
