"""Decoding pictures: compared with arrays that the files were written from, and with Pillow."""

from __future__ import annotations

import io
import json
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from regrun.data.pictures import (
    Range,
    UnreadablePictureError,
    decode,
    read_dataset,
    read_pictures,
    readable_extensions,
)
from regrun.data.preprocessing import PictureInputs
from regrun.errors import ConfigError, CorruptInputError

RNG = np.random.default_rng(0)
SIZE = (6, 5)
"""Height and width."""


def random_grey(low: float, high: float, dtype: str) -> NDArray[np.generic]:
    values = RNG.uniform(low, high, SIZE)
    values.flat[:2] = low, high
    return values.astype(dtype)


def png(values: NDArray[np.generic], colour_type: int) -> bytes:
    """A PNG of 16 bits; Pillow writes none with several channels."""
    height, width = values.shape[:2]

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    )


def read(
    *paths: Path,
    value_range: Range | None = None,
    size: tuple[int, int] = SIZE,
    background: str = "white",
) -> tuple[NDArray[np.uint8], PictureInputs]:
    reading = read_dataset(paths, size, background, value_range, skip_damaged=False)
    return reading.images.numpy(), reading.inputs


@pytest.mark.parametrize(
    ("dtype", "highest", "white", "suffix"),
    [
        ("uint16", 65535, 65535, "png"),
        ("uint16", 40000, 65535, "tif"),
        ("uint16", 16383, 16383, "png"),
        ("uint16", 4095, 4095, "png"),
        ("uint16", 3900, 4095, "tif"),
        ("uint16", 1023, 1023, "tif"),
        ("uint16", 200, 255, "png"),
        (">u2", 65000, 65535, "tif"),
        ("int32", 60000, 65535, "tif"),
        ("int32", 255, 255, "tif"),
        ("int32", 1, 1, "tif"),
        ("float32", 1.0, 1.0, "tif"),
        ("float32", 0.7, 1.0, "tif"),
        ("float32", 250.5, 255.0, "tif"),
    ],
)
def test_deep_pictures_are_scaled_to_8_bits(
    tmp_path: Path, dtype: str, highest: float, white: float, suffix: str
) -> None:
    values = random_grey(0, highest, dtype)
    Image.fromarray(values).save(tmp_path / f"a.{suffix}")
    images, inputs = read(tmp_path / f"a.{suffix}")
    expected = np.rint(values.astype(np.float64) / white * 255)
    for channel in images[0]:
        np.testing.assert_array_equal(channel, expected)
    assert (inputs.floats if dtype == "float32" else inputs.integers) == (0, white)


def test_one_range_scales_all_pictures_of_a_dataset_and_later_ones(tmp_path: Path) -> None:
    dark, light = np.full(SIZE, 300, np.uint16), np.full(SIZE, 4000, np.uint16)
    Image.fromarray(dark).save(tmp_path / "dark.png")
    Image.fromarray(light).save(tmp_path / "light.tif")
    Image.new("L", SIZE[::-1], 77).save(tmp_path / "flat.png")
    images, inputs = read(tmp_path / "dark.png", tmp_path / "light.tif", tmp_path / "flat.png")
    assert images.max((1, 2, 3)).tolist() == [round(300 / 4095 * 255), round(4000 / 4095 * 255), 77]
    again = read_pictures([tmp_path / "dark.png"], inputs)
    np.testing.assert_array_equal(again[0], images[0])

    Image.fromarray(np.full(SIZE, 5000, np.uint16)).save(tmp_path / "new.png")
    with pytest.raises(CorruptInputError, match=r"new\.png: holds uint16 values from 5000.*4095"):
        read_pictures([tmp_path / "new.png"], inputs)
    Image.fromarray(np.zeros(SIZE, np.float32)).save(tmp_path / "new.tif")
    with pytest.raises(CorruptInputError, match=r"new\.tif: float32; no training picture was"):
        read_pictures([tmp_path / "new.tif"], inputs)


@pytest.mark.parametrize(
    ("low", "high", "dtype"),
    [
        (-1.0, 1.0, "float32"),
        (0.0, 65535.0, "float32"),
        (-1024, 3071, "int32"),
        (0, 100_000, "int32"),
        (-5, 20, "int16"),
        (-1.3, 2.7, "float32"),
        (0, 2**31 - 1, "int32"),
    ],
)
def test_values_without_a_usual_range_need_one(
    tmp_path: Path, low: float, high: float, dtype: str
) -> None:
    values = random_grey(low, high, dtype)
    Image.fromarray(values).save(tmp_path / "a.tif")
    with pytest.raises(ConfigError, match=r"dataset\.value_range: .*a\.tif") as caught:
        read(tmp_path / "a.tif")
    found = re.search(r"value_range: (\[.*\])", str(caught.value))
    assert found is not None
    assert json.loads(found[1]) == [values.min(), values.max()]
    low, high = json.loads(found[1])
    images, _ = read(tmp_path / "a.tif", value_range=(low, high))
    expected = np.rint((values.astype(np.float64) - low) / (high - low) * 255)
    np.testing.assert_array_equal(images[0, 1], expected)
    with pytest.raises(ConfigError, match=r"a\.tif holds .* values"):
        read(tmp_path / "a.tif", value_range=(low, high - 0.5))


def test_a_range_for_pictures_of_8_bits_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", SIZE[::-1]).save(tmp_path / "a.png")
    with pytest.raises(ConfigError, match="no picture has more than 8 bits"):
        read(tmp_path / "a.png", value_range=(0, 4095))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinite_pixels_are_damage(tmp_path: Path, value: float) -> None:
    Image.fromarray(np.full(SIZE, value, np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(CorruptInputError, match="NaN or infinite"):
        read(tmp_path / "a.tif")


@pytest.mark.parametrize(("highest", "white"), [(4095, 4095), (1023, 1023), (65535, 65535)])
def test_pgm_pfm_and_jpeg_2000_are_scaled_likewise(
    tmp_path: Path, highest: int, white: int
) -> None:
    values = random_grey(0, highest, "uint16")
    header = f"P5 {SIZE[1]} {SIZE[0]} {highest}\n".encode()
    (tmp_path / "a.pgm").write_bytes(header + values.astype(">u2").tobytes())
    rgb = np.repeat(values[..., None], 3, 2).astype(">u2")
    (tmp_path / "a.ppm").write_bytes(header.replace(b"P5", b"P6") + rgb.tobytes())
    header = f"Pf\n{SIZE[1]} {SIZE[0]}\n-1.0\n".encode()
    (tmp_path / "a.pfm").write_bytes(header + (values.astype("<f4")[::-1] / white).tobytes())
    Image.fromarray(values).save(tmp_path / "a.jp2")
    for suffix in ("pgm", "ppm", "pfm", "jp2"):
        images, _ = read(tmp_path / f"a.{suffix}")
        expected = values.astype(float) / white * 255
        np.testing.assert_allclose(images[0, 0].astype(float), expected, atol=1)


def tiff(values: NDArray[np.generic], photometric: int, sample_format: int) -> bytes:
    """A TIFF of one strip and one channel."""
    (height, width), bits, data = values.shape, values.dtype.itemsize * 8, values.tobytes()
    tags = [(256, width), (257, height), (258, bits), (259, 1), (262, photometric),
            (273, 8), (277, 1), (278, height), (279, len(data)), (339, sample_format)]  # fmt: skip
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    end = struct.pack("<H", len(tags)) + directory + struct.pack("<I", 0)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + end


def test_tiffs_that_pillow_would_misread_are_refused(tmp_path: Path) -> None:
    values = random_grey(0, 65535, "uint16")
    (tmp_path / "a.tif").write_bytes(tiff(values, 1, 1))
    assert read(tmp_path / "a.tif")[0].max() == 255
    (tmp_path / "a.tif").write_bytes(tiff(values, 0, 1))
    with pytest.raises(CorruptInputError, match="0 is white in this TIFF"):
        read(tmp_path / "a.tif")
    (tmp_path / "a.tif").write_bytes(tiff(values.astype("float64"), 1, 3))
    with pytest.raises(CorruptInputError, match="TIFF of a layout that Pillow does not read"):
        read(tmp_path / "a.tif")


@pytest.mark.parametrize(("channels", "colour_type"), [(3, 2), (2, 4), (4, 6)])
def test_16_bit_colours_keep_their_upper_8_bits(
    tmp_path: Path, channels: int, colour_type: int
) -> None:
    values = RNG.integers(0, 65536, (*SIZE, channels))
    if channels in (2, 4):
        values[..., -1] = 65535
    (tmp_path / "a.png").write_bytes(png(values, colour_type))
    images, _ = read(tmp_path / "a.png")
    colours = values[..., :3] if channels > 2 else values[..., [0, 0, 0]]
    np.testing.assert_array_equal(images[0].transpose(1, 2, 0), colours >> 8)
    np.testing.assert_allclose(images[0].transpose(1, 2, 0), colours / 257, atol=1)


def test_12_bit_colours_in_16_bits_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(RNG.integers(0, 4096, (*SIZE, 3)), 2))
    with pytest.raises(ConfigError, match=r"a\.png: 16 bits per channel.*leaves 16 shades"):
        read(tmp_path / "a.png")
    images, _ = read(tmp_path / "a.png", value_range=(0, 65535))
    assert images.max() == 15
    with pytest.raises(ConfigError, match="scales such colours from"):
        read(tmp_path / "a.png", value_range=(0, 4095))


def test_deep_pictures_are_resized_on_their_own_scale(tmp_path: Path) -> None:
    grey = RNG.integers(0, 256, (40, 30), dtype=np.uint8)
    Image.fromarray(grey).save(tmp_path / "8.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "16.png")
    images, _ = read(tmp_path / "8.png", tmp_path / "16.png", size=(11, 7))
    np.testing.assert_allclose(images[0].astype(int), images[1].astype(int), atol=1)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "16.png"])
def test_pictures_are_turned_as_exif_says(tmp_path: Path, orientation: int, suffix: str) -> None:
    upright = np.zeros((8, 8), np.uint8)
    upright[:4, :4], upright[:4, 4:] = 250, 120
    # What a camera stores is the inverse of what the orientation undoes.
    inverse = {6: 8, 8: 6}.get(orientation, orientation)
    stored = Image.fromarray(upright)
    stored.getexif()[0x0112] = inverse
    stored = ImageOps.exif_transpose(stored)
    if suffix == "16.png":
        stored = Image.fromarray(np.asarray(stored).astype(np.uint16) * 257)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{suffix}"
    stored.save(path, exif=exif, quality=100)
    images, _ = read(path, size=(8, 8))
    np.testing.assert_allclose(images[0, 0].astype(int), upright.astype(int), atol=12)
    facts = decode(path, (8, 8), "white")[1]
    assert facts.turned == (orientation > 1)


@pytest.mark.parametrize("background", ["white", "black", "#102030"])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "PA", "key", "webp"])
def test_transparent_pictures_are_composed(tmp_path: Path, background: str, mode: str) -> None:
    alpha = np.full((*SIZE, 1), 255)
    alpha[:3] = 0 if mode in ("P", "PA", "key") else 51
    colours = np.broadcast_to([200, 200, 200], (*SIZE, 3))
    rgba = np.concatenate([colours, alpha], 2).astype(np.uint8)
    image, path = Image.fromarray(rgba), tmp_path / "a.png"
    if mode == "key":
        image = Image.fromarray(np.where(alpha == 0, [1, 2, 3], colours).astype(np.uint8))
        image.save(path, transparency=(1, 2, 3))
    elif mode == "P":
        image = Image.fromarray(np.where(alpha[..., 0] == 0, 0, 1).astype(np.uint8), "P")
        image.putpalette([9, 9, 9, 200, 200, 200])
        image.save(path, transparency=0)
    elif mode == "PA":
        path = tmp_path / "a.gif"
        image.save(path)
    elif mode == "webp":
        path = tmp_path / "a.webp"
        image.save(path, lossless=True)
    else:
        image.convert(mode).save(path)
    images, _ = read(path, background=background)
    below = np.array(Image.new("RGB", (1, 1), background).getpixel((0, 0)))
    opacity = alpha / 255
    expected = np.rint(colours * opacity + below * (1 - opacity)).transpose(2, 0, 1)
    np.testing.assert_allclose(images[0].astype(int), expected, atol=2)


def colours_of(mode: str) -> Image.Image:
    gradient = np.stack(np.broadcast_arrays(*np.ogrid[0:250:8j, 0:250:8j], 128), 2)
    return Image.fromarray(gradient.astype(np.uint8)).convert(mode)


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [("1", "png"), ("1", "tif"), ("L", "jpg"), ("P", "png"), ("P", "gif"), ("RGB", "bmp"),
     ("RGB", "avif"), ("RGB", "jp2"), ("CMYK", "jpg"), ("CMYK", "tif"), ("YCbCr", "tif"),
     ("RGB", "tga"), ("RGB", "ppm"), ("RGB", "qoi"), ("RGB", "jfif"), ("L", "pgm")],
)  # fmt: skip
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str, suffix: str) -> None:
    source = colours_of(mode)
    path = tmp_path / f"a.{suffix}"
    source.save(path, quality=95)
    images, _ = read(path, size=(8, 8))
    expected = np.asarray(source.convert("RGB")).transpose(2, 0, 1)
    lossy = suffix in ("jpg", "jfif", "avif")
    difference = np.abs(images[0].astype(int) - expected).mean()
    assert difference < 6 if lossy else difference == 0


def test_an_adobe_cmyk_jpeg_is_not_inverted(tmp_path: Path) -> None:
    ink = Image.new("CMYK", (8, 8), (0, 255, 255, 0))  # red
    ink.save(tmp_path / "a.jpg", quality=95)
    assert b"Adobe" in (tmp_path / "a.jpg").read_bytes()[:200]
    images, _ = read(tmp_path / "a.jpg", size=(8, 8))
    np.testing.assert_allclose(images[0].mean((1, 2)), [255, 0, 0], atol=6)


def test_lab_is_converted_by_its_meaning(tmp_path: Path) -> None:
    Image.new("LAB", (8, 8), (137, 209, 198)).save(tmp_path / "a.tif")  # sRGB red: a 81, b 70
    images, _ = read(tmp_path / "a.tif", size=(8, 8))
    assert (images[0].mean((1, 2)) > 150).tolist() == [True, False, False]


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tif"])
def test_the_first_frame_is_read_and_noted(tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "lime")]
    path = tmp_path / f"a.{suffix}"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    reading = read_dataset([path], (8, 8), "white", None, skip_damaged=False)
    np.testing.assert_allclose(reading.images[0].double().mean((1, 2)), [255, 0, 0], atol=3)
    assert "1 file with several frames or pages: the first is used" in reading.notes


def test_rectangles_and_distortion_are_noted(tmp_path: Path) -> None:
    Image.new("RGB", (100, 50), "red").save(tmp_path / "wide.png")
    Image.new("RGB", (10, 10), "red").save(tmp_path / "small.png")
    paths = [tmp_path / "wide.png", tmp_path / "small.png"]
    reading = read_dataset(paths, (24, 32), "white", None, skip_damaged=False)
    assert reading.images.shape == (2, 3, 24, 32)
    assert reading.notes == [
        "pictures resized to 24×32, in RGB",
        "1 picture smaller than that: enlarged",
        "resizing changes the ratio of height to width of 2 pictures, by a factor of up to 1.5 "
        "(dataset.size: [height, width])",
    ]


def _html(_: bytes) -> bytes:
    return b"<!DOCTYPE html><html>"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda data: b"", "the file is empty"),
        (_html, "holds HTML"),
        (lambda data: data[: len(data) // 2], "."),
        (lambda data: b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (lambda data: data[:24] + bytes(50), "."),
        (lambda data: b"\0\0\0\x18ftypheic" + data, "it is HEIC"),
        (lambda data: b"%PDF-1.7", "it is a PDF"),
        (lambda data: RNG.bytes(len(data)), "no format that Pillow reads"),
    ],
)
@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "webp", "tif", "bmp"])
def test_damaged_files_say_why(
    tmp_path: Path, spoil: Callable[[bytes], bytes], why: str, suffix: str
) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(RNG.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(path)
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(UnreadablePictureError, match=why):
        decode(path, SIZE, "white")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "webp", "tif", "bmp", "avif", "jp2"])
def test_altered_bytes_never_raise_anything_else(tmp_path: Path, suffix: str) -> None:
    buffer = io.BytesIO()
    source = Image.fromarray(RNG.integers(0, 256, (12, 12, 3), dtype=np.uint8))
    formats = Image.registered_extensions()
    source.save(buffer, formats[f".{suffix}"], exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0")
    original, generator = buffer.getvalue(), np.random.default_rng(1)
    path, refused = tmp_path / f"a.{suffix}", 0
    for _ in range(120):
        data = bytearray(original)
        for position in generator.integers(0, min(len(data), 200), 3):
            data[position] = generator.integers(0, 256)
        path.write_bytes(data[: generator.integers(len(data) // 2, len(data) + 1)])
        try:
            assert decode(path, SIZE, "white")[0].shape[-2:] == SIZE
        except UnreadablePictureError as error:
            assert str(error)
            refused += 1
    assert refused > 10


def test_a_decompression_bomb_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    Image.new("RGB", (20, 20)).save(tmp_path / "a.png")
    with pytest.raises(CorruptInputError, match=r"a\.png: not a readable picture: .*bomb"):
        read(tmp_path / "a.png")


def test_all_damaged_files_are_named_at_once_or_skipped(tmp_path: Path) -> None:
    paths = [tmp_path / f"{i:02}.png" for i in range(30)]
    for i, path in enumerate(paths):
        Image.new("RGB", (8, 8), (i, 0, 0)).save(path)
        if i >= 5:
            path.write_bytes(b"")
    with pytest.raises(CorruptInputError) as caught:
        read(*paths)
    lines = str(caught.value).splitlines()
    assert lines[0] == "25 of 30 pictures cannot be read:"
    assert [line.split(": ")[0] for line in lines[1:21]] == [str(path) for path in paths[5:25]]
    assert lines[21:] == ["… and 5 more"]
    reading = read_dataset(paths, SIZE, "white", None, skip_damaged=True)
    assert reading.kept == [0, 1, 2, 3, 4]
    assert reading.images[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4]
    assert reading.skipped[0].startswith(f"25 damaged pictures: {paths[5]} (the file is empty)")


def test_the_extensions_are_those_of_formats_that_are_decoded() -> None:
    extensions = readable_extensions()
    assert {".jpg", ".jfif", ".png", ".gif", ".webp", ".avif", ".tif", ".bmp", ".mpo"} <= extensions
    assert extensions.isdisjoint({".pdf", ".mpg", ".h5", ".txt", ".heic"})
