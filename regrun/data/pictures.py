"""Picture files: decoded by Pillow, turned upright, composed, scaled to 8 bits and resized.

Pictures of 8 bits per channel keep their values; embedded colour profiles are not applied. One
range scales all deeper ones of a dataset, see `integer_range` and `float_range`; values outside it
are refused, never clipped.
"""

from __future__ import annotations

import re
import struct
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regrun.data.preprocessing import PictureInputs
from regrun.errors import ConfigError, CorruptInputError
from regrun.escapes import escaped_name
from regrun.regular_files import check_file
from regrun.results import InputCard

if TYPE_CHECKING:
    from PIL import Image
    from PIL.ImageFile import ImageFile

SHOWN = 20
"""Damaged files named in one message."""

BITS = (1, 8, 10, 12, 14, 16)
"""Depths that cameras and scanners have; 1: a mask of 0 and 1."""

DISTORTED = 1.25
"""Factor from which a change of the aspect ratio is noted."""

Range = tuple[float, float]

_DAMAGE = (
    ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, MemoryError, OSError,
    RuntimeError, SyntaxError, TypeError, ValueError, struct.error, zlib.error,
)  # fmt: skip
"""What Pillow's readers raise on files that are cut, altered or no pictures at all."""

_NO_PICTURE = (
    (rb"$", "the file is empty"),
    (rb"<", "it holds HTML or XML"),
    (rb"%PDF", "it is a PDF"),
    (rb"version https://git-lfs", "it is a Git LFS pointer; `git lfs pull` fetches the picture"),
    (rb"....ftyp(hei|hev|mif)", "it is HEIC, whatever its name; convert it"),
    (rb"II\*\0|MM\0\*", "it is a TIFF of a layout that Pillow does not read, such as 64 bits, or "
     "several channels of floating-point numbers; convert it"),
)  # fmt: skip
"""Beginnings of files that Pillow does not recognise, as patterns."""

_ONE_PICTURE = {"MPO", "PSD"}
"""Formats whose first frame is the picture: the others are previews, or its layers."""


def readable_extensions() -> frozenset[str]:
    """Return the extensions of the formats that Pillow decodes: ``.png`` and many more."""
    from PIL import Image, ImageFile
    from PIL.MpegImagePlugin import MpegImageFile

    def decodes(name: str) -> bool:
        factory = Image.OPEN[name][0] if name in Image.OPEN else ImageFile.StubImageFile
        only_identified = (ImageFile.StubImageFile, MpegImageFile)
        return not (isinstance(factory, type) and issubclass(factory, only_identified))

    extensions = Image.registered_extensions()  # loads the plug-ins that fill Image.OPEN
    return frozenset(each for each, name in extensions.items() if decodes(name)) | {".mpo"}


@dataclass(frozen=True)
class Facts:
    """What is known of a decoded picture apart from its pixels."""

    path: Path
    dtype: str
    """As stored: ``uint8``, ``uint16``, ``int32``, ``float32``."""
    deep: bool
    """Whether it has one channel of more than 8 bits, whose values have still to be scaled."""
    low: float
    """The lowest value as stored; of uint8 pictures, as resized."""
    high: float
    shape: tuple[int, int]
    """Height and width before resizing, upright."""
    turned: bool
    transparent: bool
    several: bool
    """Whether the file holds more frames or pages than the one that is read."""

    def within(self, bounds: Range) -> bool:
        """Whether all values are inside these bounds."""
        return bounds[0] <= self.low and self.high <= bounds[1]

    @property
    def values(self) -> str:
        """For messages: ``uint16 values from 0 to 4031``."""
        return f"{self.dtype} values from {self.low:.9g} to {self.high:.9g}"


class UnreadablePictureError(Exception):
    """Why a file cannot be decoded."""


def decode(
    path: Path, size: tuple[int, int], background: str
) -> tuple[NDArray[np.uint8 | np.float32], Facts]:
    """Decode the first frame of a file, resized by Pillow (bilinear, antialiased).

    size: height and width. background: the colour that transparent pictures are composed on.
    Returns uint8 (3, H, W) in RGB; of a deep picture float32 (H, W), on the scale of the file.
    """
    from PIL import ExifTags, Image, ImageOps

    try:
        check_file(path)
        with Image.open(path) as image:
            several = getattr(image, "is_animated", False) and image.format not in _ONE_PICTURE
            has_16_bits = any(";16" in str(tile[3]) for tile in image.tile)
            turned = image.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9)
            if turned:
                ImageOps.exif_transpose(image, in_place=True)
            else:
                image.load()
            deep = image.mode in ("I", "F") or image.mode.startswith("I;16")
            transparent = False
            if deep:
                pixels, dtype, low, high = _deep_pixels(image, size)
            else:
                rgb, transparent = _composed(image, background)
                resized = rgb.resize(size[::-1], Image.Resampling.BILINEAR)
                pixels = np.asarray(resized).transpose(2, 0, 1)
                dtype, low, high = "uint8", float(pixels.min()), float(pixels.max())
                if has_16_bits:
                    dtype, low, high = "uint16", *_range_of_colours(image)
            shape = (image.height, image.width)
    except Image.DecompressionBombError as error:
        raise UnreadablePictureError(str(error)) from error
    except _DAMAGE as error:
        raise UnreadablePictureError(_reason(path, error)) from error
    return pixels, Facts(path, dtype, deep, low, high, shape, turned, transparent, several)


def _deep_pixels(
    image: ImageFile, size: tuple[int, int]
) -> tuple[NDArray[np.float32], str, float, float]:
    """Pixels (H, W), dtype, lowest and highest value of a picture with one deep channel."""
    from PIL import ExifTags, Image

    if "transparency" in image.info:
        raise UnreadablePictureError("one of its values is transparent, which needs 8 bits")
    if getattr(image, "tag_v2", {}).get(ExifTags.Base.PhotometricInterpretation) == 0:
        raise UnreadablePictureError("0 is white in this TIFF, which needs 8 bits; convert it")
    values = np.asarray(image)
    if not np.isfinite(values).all():
        raise UnreadablePictureError("it holds NaN or infinite values")
    dtype = {"I": "int32", "F": "float32"}.get(image.mode, "uint16")
    resized = Image.fromarray(values.astype(np.float32)).resize(
        size[::-1], Image.Resampling.BILINEAR
    )
    return np.asarray(resized), dtype, float(values.min()), float(values.max())


def _range_of_colours(image: ImageFile) -> Range:
    """Bounds of 16-bit colours: Pillow has no mode for them and drops the lower 8 bits of each."""
    bands = [band for band in image.split() if band.mode == "L"]
    colours = bands[:-1] if image.mode in ("LA", "RGBA") else bands
    values = [np.asarray(band) for band in colours]
    low, high = min(each.min() for each in values), max(each.max() for each in values)
    return float(low) * 256, float(high) * 256 + 255


def _composed(image: Image.Image, background: str) -> tuple[Image.Image, bool]:
    """The picture in RGB, and whether any of it was transparent."""
    from PIL import Image, ImageCms

    if image.mode == "RGB" and "transparency" not in image.info:
        return image, False
    if image.mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
        if converted is not None:
            return converted, False
    if not image.has_transparency_data:
        return image.convert("RGB"), False
    rgba = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
    lowest = np.asarray(rgba.getchannel("A")).min()
    below = Image.new("RGBA", rgba.size, background)
    below.alpha_composite(rgba)
    return below.convert("RGB"), bool(lowest < 255)


def _reason(path: Path, error: Exception) -> str:
    """Why a file could not be decoded, in words."""
    from PIL import UnidentifiedImageError

    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, UnidentifiedImageError):
        with path.open("rb") as file:
            beginning = file.read(100).lstrip(b"\xef\xbb\xbf \t\r\n")
        for pattern, what in _NO_PICTURE:
            if re.match(pattern, beginning, re.DOTALL):
                return what
        return "its content is of no format that Pillow reads"
    return str(error) or type(error).__name__


@dataclass(frozen=True)
class Decoded:
    """Pictures of one size."""

    images: Tensor
    """(N, 3, H, W) uint8 in RGB; `scaled` fills those of deep pictures."""
    deep: dict[int, NDArray[np.float32]]
    """Index of a deep picture → its values (H, W), on the scale of the file."""
    facts: list[Facts]
    """N, one for each picture."""
    damaged: dict[int, str]
    """Position of a file that cannot be decoded → why."""

    def scaled(self, inputs: PictureInputs) -> Tensor:
        """The images, with deep pictures scaled from the ranges of ``inputs``, which hold them."""
        for index, values in self.deep.items():
            low, high = inputs.range_of(self.facts[index].dtype) or (0, 1)
            pixels = np.rint((values.astype(np.float64) - low) * (255 / (high - low)))
            self.images[index] = torch.from_numpy(pixels.astype(np.uint8))
        return self.images


def decode_all(paths: Sequence[Path], size: tuple[int, int], background: str) -> Decoded:
    """Decode the files that can be, in their order."""
    images = torch.empty(len(paths), 3, *size, dtype=torch.uint8)
    deep: dict[int, NDArray[np.float32]] = {}
    facts: list[Facts] = []
    damaged: dict[int, str] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd metadata and of pictures of 100 megapixels
        for position, path in enumerate(paths):
            try:
                pixels, found = decode(path, size, background)
            except UnreadablePictureError as error:
                damaged[position] = str(error)
                continue
            if found.deep:
                deep[len(facts)] = pixels.astype(np.float32, copy=False)
            else:
                images[len(facts)] = torch.from_numpy(pixels)
            facts.append(found)
    return Decoded(images[: len(facts)], deep, facts, damaged)


def damage_report(paths: Sequence[Path], damaged: Mapping[int, str]) -> CorruptInputError:
    """Name the damaged files, the first of many."""
    lines = [f"{shown(paths[at])}: not a readable picture: {why}" for at, why in damaged.items()]
    more = f"\n… and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
    count = f"{len(lines)} of {len(paths)} pictures cannot be read:\n" if len(lines) > 1 else ""
    return CorruptInputError(f"{count}{chr(10).join(lines[:SHOWN])}{more}")


def shown(path: Path | str) -> str:
    """A path for messages, with `\\udcXX` for bytes that are not UTF-8."""
    return escaped_name(str(path))


def read_pictures(paths: Sequence[Path], inputs: PictureInputs) -> Tensor:
    """Read pictures as those of the training set were: uint8 (N, 3, H, W) in RGB.

    Raises CorruptInputError that names every file that cannot be decoded, or the first one whose
    values are outside the range of the training pictures.
    """
    decoded = decode_all(paths, inputs.size, inputs.background)
    if decoded.damaged:
        raise damage_report(paths, decoded.damaged)
    for found in decoded.facts:
        scale = inputs.range_of(found.dtype)
        if found.deep and scale is None:
            raise CorruptInputError(
                f"{shown(found.path)}: {found.dtype}; no training picture was, so that it is "
                "unknown what its values are scaled from"
            )
        if found.deep and scale is not None and not found.within(scale):
            raise CorruptInputError(
                f"{shown(found.path)}: holds {found.values}; those of the training pictures are "
                f"scaled from {scale[0]:.9g}..{scale[1]:.9g}"
            )
    return decoded.scaled(inputs)


@dataclass(frozen=True)
class Reading:
    """The pictures of a dataset, and what was done to them."""

    images: Tensor
    """(N, 3, H, W) uint8 in RGB."""
    kept: list[int]
    """Positions of the N pictures among the files; those of damaged files are missing."""
    inputs: PictureInputs
    card: InputCard
    skipped: list[str]
    notes: list[str]


def read_dataset(
    paths: Sequence[Path],
    size: tuple[int, int],
    background: str,
    value_range: Range | None,
    *,
    skip_damaged: bool,
) -> Reading:
    """Read the pictures of all parts of a dataset, whose values together decide their scale.

    value_range: what deep pictures are scaled from; None: see `integer_range` and `float_range`.
    Raises CorruptInputError that names the damaged files, ConfigError for values without a usual
    range.
    """
    decoded = decode_all(paths, size, background)
    facts, damaged = decoded.facts, decoded.damaged
    if damaged and not skip_damaged:
        raise damage_report(paths, damaged)
    skipped = []
    if damaged:
        named = [f"{shown(paths[at])} ({why})" for at, why in damaged.items()]
        skipped = [f"{counted(len(damaged), 'damaged picture')}: {first_of(named)}"]
    integers = [each for each in facts if each.deep and each.dtype != "float32"]
    floats = [each for each in facts if each.deep and each.dtype == "float32"]
    colours = [each for each in facts if each.dtype == "uint16" and not each.deep]
    _check_given_range(facts, colours, value_range)
    inputs = PictureInputs(
        size=size,
        background=background,
        integers=integer_range(integers, value_range),
        floats=float_range(floats, value_range),
    )
    notes = [
        *_scaling_notes(inputs, integers, floats, colours),
        *_conversion_notes(facts, background),
        *_resizing_notes(facts, size),
    ]
    images = decoded.scaled(inputs)
    card = InputCard(
        shape=[3, *size],
        dtype=", ".join(sorted({each.dtype for each in facts})),
        low=min((each.low for each in facts), default=None),
        high=max((each.high for each in facts), default=None),
        scaling=" and ".join(
            f"{bounds[0]:.9g}..{bounds[1]:.9g} scaled to 0..1"
            for bounds in (inputs.integers, inputs.floats)
            if bounds is not None
        )
        or "divided by 255",
    )
    kept = [at for at in range(len(paths)) if at not in damaged]
    return Reading(images, kept, inputs, card, skipped, notes)


def _check_given_range(
    facts: Sequence[Facts], colours: Sequence[Facts], value_range: Range | None
) -> None:
    """Refuse a `value_range` that does not fit, and 16-bit colours that need one."""
    if value_range is None:
        if colours and all(each.within((0, 2**14 - 1)) for each in colours):
            highest = max(colours, key=lambda each: each.high)
            raise ConfigError.at(
                "dataset.value_range",
                f"{shown(highest.path)}: 16 bits per channel, but no colour of these pictures is "
                f"above {highest.high:,.0f}; of such colours Pillow reads the upper 8 bits only, "
                f"which leaves {int(highest.high + 1) // 256} shades: convert the pictures to 8 "
                "bits, or write value_range: [0, 65535] to use them as they are",
            )
        return
    if not any(each.deep for each in facts) and not colours:
        raise ConfigError.at(
            "dataset.value_range", f"{list(value_range)}: no picture has more than 8 bits"
        )
    if colours and value_range != (0, 2**16 - 1):
        raise ConfigError.at(
            "dataset.value_range",
            f"{list(value_range)}: {shown(colours[0].path)} has 16 bits in each of several "
            "channels, and Pillow scales such colours from [0, 65535]",
        )
    for each in facts:
        if each.deep and not each.within(value_range):
            raise ConfigError.at(
                "dataset.value_range",
                f"{list(value_range)}: {shown(each.path)} holds {each.values}",
            )


def integer_range(pictures: Sequence[Facts], given: Range | None) -> Range | None:
    """What integers deeper than 8 bits are scaled from: 0 to the largest number of a usual depth.

    The depth is the smallest of `BITS` that holds every value of every picture, so that uint16
    files with the 12 bits of a camera are scaled from 0 to 4,095. None without such pictures.
    """
    if not pictures or given is not None:
        return given if pictures else None
    for bits in BITS:
        if all(each.within((0, 2**bits - 1)) for each in pictures):
            return 0.0, 2.0**bits - 1
    raise _no_usual_range(pictures, "integers below 0 or above 65,535")


def float_range(pictures: Sequence[Facts], given: Range | None) -> Range | None:
    """What floating-point pictures are scaled from: 0 to 1 or 0 to 255, whichever holds all values.

    None without such pictures.
    """
    if not pictures or given is not None:
        return given if pictures else None
    for high in (1.0, 255.0):
        if all(each.within((0, high)) for each in pictures):
            return 0.0, high
    raise _no_usual_range(pictures, "floating-point values outside 0..1 and 0..255")


def _no_usual_range(pictures: Sequence[Facts], what: str) -> ConfigError:
    low, high = min(each.low for each in pictures), max(each.high for each in pictures)
    worst = next(each for each in pictures if each.low == low or each.high == high)
    return ConfigError.at(
        "dataset.value_range",
        f"{shown(worst.path)} holds {worst.values}; {what} have no usual range: write what is "
        f"black and what is white, e.g. value_range: [{_written(low)}, {_written(high)}] for all "
        "values of these pictures",
    )


def _written(value: float) -> str:
    """A number with all of its digits."""
    return str(int(value)) if value.is_integer() else repr(value)


def _scaling_notes(
    inputs: PictureInputs,
    integers: Sequence[Facts],
    floats: Sequence[Facts],
    colours: Sequence[Facts],
) -> Iterator[str]:
    for pictures, bounds in ((integers, inputs.integers), (floats, inputs.floats)):
        if pictures and bounds is not None:
            low, high = min(each.low for each in pictures), max(each.high for each in pictures)
            types = " and ".join(sorted({each.dtype for each in pictures}))
            yield (
                f"{counted(len(pictures), 'picture')} of {types}: scaled from {bounds[0]:.9g}.."
                f"{bounds[1]:.9g} to 8 bits; the values are {low:.9g} to {high:.9g} "
                "(dataset.value_range)"
            )
    if colours:
        yield (
            f"{counted(len(colours), 'picture')} with 16 bits in each of several channels: the "
            "upper 8 bits are used"
        )


def _conversion_notes(facts: Sequence[Facts], background: str) -> Iterator[str]:
    transparent = sum(each.transparent for each in facts)
    if transparent:
        yield (
            f"{counted(transparent, 'transparent picture')} composed on {background} "
            "(dataset.background)"
        )
    turned = sum(each.turned for each in facts)
    if turned:
        yield f"{counted(turned, 'picture')} turned upright, as the EXIF orientation says"
    several = sum(each.several for each in facts)
    if several:
        yield f"{counted(several, 'file')} with several frames or pages: the first is used"


def _resizing_notes(facts: Sequence[Facts], size: tuple[int, int]) -> Iterator[str]:
    height, width = size
    yield f"pictures resized to {height}×{width}, in RGB"
    enlarged = sum(each.shape[0] < height or each.shape[1] < width for each in facts)
    if enlarged:
        yield f"{counted(enlarged, 'picture')} smaller than that: enlarged"
    stretched = [
        max(r, 1 / r) for h, w in (each.shape for each in facts) for r in [h * width / (w * height)]
    ]
    many = sum(each > DISTORTED for each in stretched)
    if many:
        yield (
            f"resizing changes the ratio of height to width of {counted(many, 'picture')}, by a "
            f"factor of up to {max(stretched):.3g} (dataset.size: [height, width])"
        )


def counted(count: int, noun: str) -> str:
    """``1 picture``, ``2,000 pictures``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def first_of(names: Sequence[str], limit: int = 5) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - limit:,} more" if len(names) > limit else ""
    return f"{', '.join(names[:limit])}{more}"
