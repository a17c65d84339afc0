"""Arrays of the user's own: what becomes of shapes, types and damage."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from regrun.data.targets import Array
from regrun.errors import ConfigError, CorruptInputError, RegrunError
from regrun.kinds.datasets import Task
from tests.support.datasets import load

Save = Callable[..., str]

X = np.random.default_rng(0).normal(size=(40, 3))
Y = X.sum(1)
LABELS = np.arange(40) % 4 - 1


@pytest.fixture
def save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Save:
    """Write an archive in the working directory; return its name."""
    monkeypatch.chdir(tmp_path)

    def save(**arrays: Any) -> str:
        np.savez(tmp_path / "a.npz", **arrays)
        return "a.npz"

    return save


def parts(x: Array, y: Array, **others: Array) -> dict[str, Array]:
    return {"x_train": x[:30], "y_train": y[:30], "x_test": x[30:], "y_test": y[30:], **others}


def test_given_parts_are_used_as_they_are(save: Save) -> None:
    data = load(name="npz", path=save(**parts(X, Y)), standardize=False)
    assert (data.task, data.num_outputs, data.input_shape) == ("regression", 1, (3,))
    np.testing.assert_array_equal(data.train.inputs, X[:30])
    np.testing.assert_array_equal(data.test.targets[:, 0], Y[30:])


def test_one_array_is_split(save: Save) -> None:
    data = load(name="npz", path=save(x=X, y=Y), test=10, validation=5, standardize=False)
    assert data.validation is not None
    assert (len(data.train), len(data.validation), len(data.test)) == (25, 5, 10)
    found = torch.cat([data.train.targets, data.validation.targets, data.test.targets])
    np.testing.assert_array_equal(np.sort(found[:, 0]), np.sort(Y))


def test_a_validation_set_of_its_own_is_used_unless_one_is_held_out(save: Save) -> None:
    path = save(**parts(X, Y, x_val=X[:7], y_val=Y[:7]))
    own = load(name="npz", path=path, standardize=False)
    assert own.validation is not None
    np.testing.assert_array_equal(own.validation.inputs, X[:7])
    assert len(own.train) == 30
    held = load(name="npz", path=path, validation=4)
    assert held.validation is not None
    assert (len(held.train), len(held.validation)) == (26, 4)


def test_all_parts_are_standardised_by_the_training_examples(save: Save) -> None:
    data = load(name="npz", path=save(**parts(X, Y, x_val=X[:7], y_val=Y[:7])))
    for part, raw in ((data.train, X[:30]), (data.validation, X[:7]), (data.test, X[30:])):
        assert part is not None
        expected = (raw - X[:30].mean(0)) / X[:30].std(0)
        np.testing.assert_allclose(part.inputs, expected, atol=1e-12)


@pytest.mark.parametrize(
    ("y", "task", "names"),
    [
        (LABELS, "classification", ("-1", "0", "1", "2")),
        (LABELS[:, None].astype(np.uint8), "classification", ("0", "1", "2", "255")),
        (LABELS > 0, "classification", ("False", "True")),
        (np.array(["no", "yes"])[np.arange(40) % 2], "classification", ("no", "yes")),
        (LABELS.astype(float), "classification", ("-1", "0", "1", "2")),
        (LABELS + 0.5, "regression", ()),
        (np.eye(4)[LABELS + 1], "classification", ("0", "1", "2", "3")),
        (np.stack([LABELS, LABELS], 1), "regression", ()),
    ],
    ids=[
        "integers",
        "a column of bytes",
        "booleans",
        "text",
        "whole floats",
        "fractions",
        "one-hot",
        "two columns",
    ],
)
def test_the_task_is_inferred_from_the_targets(
    save: Save, y: Array, task: Task, names: tuple[str, ...]
) -> None:
    data = load(name="npz", path=save(**parts(X, y)))
    assert (data.task, data.class_names) == (task, names)
    if task == "classification":
        labels = y.argmax(1) if y.shape[1:] == (4,) else y.reshape(40)
        if labels.dtype.kind == "f":
            labels = labels.astype(int)
        values = np.array([str(value) for value in labels.tolist()])
        assert [names[i] for i in data.train.targets] == values[:30].tolist()
        assert [names[i] for i in data.test.targets] == values[30:].tolist()
    else:
        assert data.num_outputs == (1 if y.ndim == 1 else 2)


def test_whole_floats_can_be_made_classes_and_integers_numbers(save: Save) -> None:
    path = save(**parts(X, LABELS.astype(float)))
    assert load(name="npz", path=path, task="classification").num_outputs == 4
    path = save(**parts(X, LABELS))
    assert load(name="npz", path=path, task="regression").train.targets.dtype == torch.float64


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((40, 5, 6), (1, 5, 6)),
        ((40, 1, 5, 6), (1, 5, 6)),
        ((40, 3, 5, 6), (3, 5, 6)),
        ((40, 5, 6, 3), (3, 5, 6)),
        ((40, 5, 6, 1), (1, 5, 6)),
        ((40, 2, 5, 6), (2, 5, 6)),
    ],
)
def test_bytes_of_three_or_four_axes_are_images(
    save: Save, shape: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    x = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    data = load(name="npz", path=save(**parts(x, LABELS)))
    assert data.input_shape == expected
    assert data.train.inputs.dtype == torch.uint8
    assert data.pixel_mean is None
    channels_last = shape[1] == 5 and len(shape) == 4
    first = x[0].transpose(2, 0, 1) if channels_last else x[0].reshape(expected)
    np.testing.assert_array_equal(data.train.inputs[0], first)


def test_images_are_standardised_by_the_training_pixels_on_demand(save: Save) -> None:
    x = np.random.default_rng(0).integers(0, 256, (40, 3, 4, 4), dtype=np.uint8)
    data = load(name="npz", path=save(**parts(x, LABELS)), standardize=True)
    assert data.pixel_mean is not None
    np.testing.assert_allclose(data.pixel_mean, (x[:30] / 255).mean((0, 2, 3)))


def with_(array: Array, index: Any, value: float) -> Array:
    changed: Array = array.astype(np.result_type(array, type(value)))
    changed[index] = value
    return changed


@pytest.mark.parametrize(
    ("arrays", "keys", "error", "message"),
    [
        ({"a": X}, {}, ConfigError, "dataset.path: a.npz: holds a (40, 3) float64; needs x_train"),
        ({"x": X, "y_train": Y}, {}, ConfigError, "dataset.path: a.npz: holds x, y_train of what"),
        (
            {"x": X, "y": Y[:9]},
            {},
            CorruptInputError,
            "a.npz: x holds 40 examples, y has shape (9,)",
        ),
        ({"x": X, "y": np.float64(3)}, {}, CorruptInputError, "a.npz: x holds 40 examples, y has"),
        ({"x": X[:0], "y": Y[:0]}, {}, CorruptInputError, "a.npz: x is empty, of shape (0, 3)"),
        (
            {"x": X.astype(object), "y": Y},
            {},
            CorruptInputError,
            "a.npz: x cannot be read as numbers",
        ),
        (
            {"x": X, "y": Y.astype(object)},
            {},
            CorruptInputError,
            "a.npz: y cannot be read as numbers",
        ),
        ({"x": X.astype(str), "y": Y}, {}, CorruptInputError, "a.npz: x holds <U"),
        ({"x": X + 1j, "y": Y}, {}, CorruptInputError, "a.npz: x holds complex128, not numbers"),
        ({"x": with_(X, (7, 2), np.nan), "y": Y}, {}, CorruptInputError, "a.npz: x[7, 2] is nan"),
        ({"x": with_(X, (7, 2), np.inf), "y": Y}, {}, CorruptInputError, "a.npz: x[7, 2] is inf"),
        ({"x": X, "y": with_(Y, 5, -np.inf)}, {}, CorruptInputError, "a.npz: y[5] is -inf"),
        ({"x": X, "y": Y[:, None, None]}, {}, CorruptInputError, "a.npz: y has shape (40, 1, 1)"),
        (
            parts(X, Y) | {"x_test": X[30:, :2]},
            {},
            CorruptInputError,
            "a.npz: x_test holds examples of shape (2,), float64; x_train of (3,), float64",
        ),
        (
            parts(X, LABELS) | {"y_test": LABELS[30:] + 9},
            {},
            CorruptInputError,
            "a.npz: y_test[0] is 10, a class that y_train does not have",
        ),
        (
            {"x": X, "y": Y},
            {"task": "classification"},
            ConfigError,
            "dataset.task: classification: y[0] is ",
        ),
        (
            {"x": X, "y": np.stack([Y, Y], 1)},
            {"task": "classification"},
            ConfigError,
            "dataset.task: classification: y has shape (40, 2), not (N,)",
        ),
        (
            {"x": X, "y": np.array(["a", "b"] * 20)},
            {"task": "regression"},
            ConfigError,
            "dataset.task: regression: y holds <U1, not numbers",
        ),
        ({"x": X, "y": LABELS * 0}, {}, ConfigError, "dataset.path: a.npz: y is 0 everywhere"),
        (
            {"x": X, "y": Y},
            {"test": 40},
            ConfigError,
            "dataset.test: 40: only 40 training examples",
        ),
        ({"x": X, "y": Y}, {"path": "b.npz"}, ConfigError, "dataset.path: b.npz: no such file"),
    ],
)
def test_bad_arrays_and_keys_are_refused_by_name(
    save: Save,
    arrays: dict[str, Array],
    keys: dict[str, Any],
    error: type[RegrunError],
    message: str,
) -> None:
    with pytest.raises(error) as caught:
        load(**{"name": "npz", "path": save(**arrays), **keys})
    assert str(caught.value).startswith(message)


def archive_with(member: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("x.npy", member)
        archive.writestr("y.npy", member)
    return buffer.getvalue()


def huge() -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer, {"descr": "<f8", "fortran_order": False, "shape": (2**50, 3)}
    )
    return buffer.getvalue()


def single() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, X)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [b"", b"x", b"PK\x03\x04", single(), archive_with(b"text"), archive_with(huge())],
    ids=["empty", "a letter", "a zip's first bytes", "one array", "no arrays", "too large"],
)
def test_files_that_are_no_archive_of_arrays_are_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(CorruptInputError) as caught:
        load(name="npz", path=str(tmp_path / "a.npz"))
    assert str(caught.value).startswith(f"{tmp_path / 'a.npz'}: ")


def test_cut_and_altered_archives_never_end_in_a_traceback(save: Save, tmp_path: Path) -> None:
    whole = bytearray((tmp_path / save(x=X, y=LABELS)).read_bytes())
    generator = np.random.default_rng(0)
    refused = 0
    for trial in range(300):
        damaged = whole[: generator.integers(len(whole))] if trial % 2 else bytearray(whole)
        if not trial % 2:
            damaged[generator.integers(len(whole))] ^= 1 << generator.integers(8)
        (tmp_path / "a.npz").write_bytes(damaged)
        try:
            load(name="npz", path="a.npz")
        except RegrunError:
            refused += 1
    assert refused > 150


PIXELS = np.random.default_rng(1).integers(0, 256, (40, 3, 9, 12))


def images(x: Array, save: Save, **keys: Any) -> Any:
    return load(name="npz", path=save(**parts(x, LABELS)), **keys)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int64", "float32", "float64"])
def test_channels_last_are_turned_for_every_type(save: Save, dtype: str) -> None:
    first = images(PIXELS.astype(dtype), save)
    last = images(PIXELS.transpose(0, 2, 3, 1).astype(dtype), save)
    assert first.input_shape == last.input_shape == (3, 9, 12)
    assert torch.equal(first.train.inputs, last.train.inputs)
    assert not any("last" in note for note in first.notes)
    assert any("channels last" in note for note in last.notes)
    pixels = last.features(last.train.inputs, torch.float64)
    np.testing.assert_allclose(pixels, PIXELS[:30] / 255, atol=1e-7)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((40, 16, 16, 4), (4, 16, 16)),
        ((40, 16, 16, 2), (2, 16, 16)),
        ((40, 12, 16, 16), (12, 16, 16)),
        ((40, 16, 16, 12), (12, 16, 16)),
        ((40, 3, 4, 4), (3, 4, 4)),
        ((40, 4, 4, 3), (3, 4, 4)),
    ],
)
def test_the_channels_are_the_short_axis_or_leave_a_square(
    save: Save, shape: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    x = np.random.default_rng(0).random(shape)
    assert images(x, save).input_shape == expected


@pytest.mark.parametrize("shape", [(40, 3, 3, 3), (40, 16, 16, 16), (40, 7, 8, 9), (40, 3, 9, 4)])
def test_what_is_open_is_refused_and_decided_by_a_key(save: Save, shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).random(shape)
    with pytest.raises(ConfigError, match=r"dataset\.channels: .*it is open which axis"):
        images(x, save)
    assert images(x, save, channels="first").input_shape == shape[1:]
    turned = images(x, save, channels="last")
    np.testing.assert_array_equal(turned.train.inputs, x[:30].transpose(0, 3, 1, 2))


@pytest.mark.parametrize(
    ("x", "white"),
    [
        (PIXELS * 257, 65535),
        (PIXELS.astype(np.uint16) * 16, 4095),
        (PIXELS.astype(np.float32), 255),
        (PIXELS / 1.3, 255),
        (PIXELS.astype(np.int64), 255),
        (PIXELS / 255, 1),
        (PIXELS > 128, 1),
        (PIXELS / 127.5 - 1, 1),
    ],
    ids=["16 bits", "12 in 16", "float32", "fractions", "int64", "0..1", "bool", "-1..1"],
)
def test_pixels_are_scaled_from_their_range(save: Save, x: Array, white: float) -> None:
    data = images(x, save)
    np.testing.assert_allclose(data.train.inputs, x[:30] / white, rtol=1e-6)
    assert data.card.input.low == x.min()
    assert data.card.input.high == x.max()
    assert data.card.input.dtype == str(x.dtype)
    assert any(f"divided by {white:g}" in note for note in data.notes) == (white > 1)


def test_pixels_of_no_usual_range_are_refused_with_the_key(save: Save) -> None:
    x = PIXELS * 1000.0 - 3
    with pytest.raises(ConfigError, match=r"dataset\.value_range: .*\[-3, 254997\]"):
        images(x, save)
    data = images(x, save, value_range=[-3, 254997])
    assert data.train.inputs.min() >= 0
    assert data.train.inputs.max() <= 1
    assert abs(images(x, save, standardize=True).train.inputs.mean()) < 0.01


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_grey_pictures_without_an_axis_for_channels(save: Save, dtype: str) -> None:
    x = (PIXELS[:, 0] * (257 if dtype == "uint16" else 1)).astype(dtype)
    data = images(x, save)
    assert data.input_shape == (1, 9, 12)
    pixels = data.features(data.train.inputs, torch.float64)
    np.testing.assert_allclose(pixels[:, 0], PIXELS[:30, 0] / 255, atol=1e-6)


def test_sequences_of_numbers_stay_features_and_it_is_said(save: Save) -> None:
    x = np.random.default_rng(0).normal(size=(40, 20, 9))
    data = images(x, save)
    assert data.input_shape == (20, 9)
    assert any("channels: first" in note for note in data.notes)
    np.testing.assert_allclose(data.train.inputs.mean(0), 0, atol=1e-12)


@pytest.mark.parametrize(
    "names",
    [
        ("X", "Y"), ("data", "target"), ("features", "labels"), ("images", "label"),
        ("Inputs", "OUTPUTS"),
    ],
)  # fmt: skip
def test_usual_names_of_arrays_are_taken_and_said(save: Save, names: tuple[str, str]) -> None:
    data = load(name="npz", path=save(**dict(zip(names, (X, LABELS), strict=True))))
    assert len(data.train) + len(data.test) == 40
    assert f"{names[0]} as x" in data.notes[0]


@pytest.mark.parametrize(
    "names",
    [
        ("X_train", "y_train", "X_test", "y_test"),
        ("train_images", "train_labels", "test_images", "test_labels"),
        ("xtrain", "ytrain", "xtest", "ytest"),
        ("trainX", "trainY", "testX", "testY"),
    ],
)
def test_usual_names_of_parts_are_taken(save: Save, names: tuple[str, ...]) -> None:
    arrays = (X[:30], LABELS[:30], X[30:], LABELS[30:])
    data = load(name="npz", path=save(**dict(zip(names, arrays, strict=True))), standardize=False)
    np.testing.assert_array_equal(data.train.inputs, X[:30])
    np.testing.assert_array_equal(data.test.inputs, X[30:])


def test_names_that_say_nothing_are_listed_with_a_way_to_name_them(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", X, LABELS)
    with pytest.raises(ConfigError) as caught:
        load(name="npz", path=str(tmp_path / "a.npz"))
    message = str(caught.value)
    assert "arr_0 (40, 3) float64, arr_1 (40,) int64" in message
    assert "np.savez('named.npz', x=a['arr_0'], y=a['arr_1'])" in message


def test_an_own_validation_set_is_found_under_usual_names(save: Save) -> None:
    path = save(**parts(X, Y, X_valid=X[:7], y_valid=Y[:7]))
    data = load(name="npz", path=path)
    assert data.validation is not None
    assert len(data.validation) == 7


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"MATLAB 5.0 MAT-file, Platform: GLNXA64" + bytes(100), "a MATLAB file"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5 file (also MATLAB 7.3"),
        (b"\x80\x04\x95" + bytes(50), "a pickle"),
        (b"\x1f\x8b\x08" + bytes(50), "gzip"),
        (b"a,b,c\n1,2,3\n", "name: csv"),
        (single(), "one array (.npy)"),
    ],
    ids=["mat", "hdf5", "pickle", "gzip", "csv", "npy"],
)
def test_other_files_are_called_by_their_name(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(CorruptInputError) as caught:
        load(name="npz", path=str(tmp_path / "a.npz"))
    assert message in str(caught.value)


def test_a_file_of_torch_save_is_called_by_its_name(tmp_path: Path) -> None:
    torch.save({"x": torch.zeros(3)}, tmp_path / "a.npz")
    with pytest.raises(CorruptInputError, match=r"torch\.save"):
        load(name="npz", path=str(tmp_path / "a.npz"))


@pytest.mark.parametrize(
    ("y", "names"),
    [
        (np.array([b"no", b"yes"])[np.arange(40) % 2], ("no", "yes")),
        (np.array(["a", "a ", " b", "b"])[np.arange(40) % 4], ("a", "b")),
        (np.array([1e20, 2e20])[np.arange(40) % 2], (str(10**20), str(2 * 10**20))),
        (np.array([2**63, 2**63 + 1], np.uint64)[np.arange(40) % 2], (str(2**63), str(2**63 + 1))),
    ],
    ids=["bytes", "blanks around", "floats beyond int64", "uint64"],
)  # fmt: skip
def test_labels_of_every_kind_have_their_own_names(
    save: Save, y: Array, names: tuple[str, ...]
) -> None:
    assert load(name="npz", path=save(x=X, y=y)).class_names == names


def test_the_parts_of_the_targets_are_one_decision(save: Save) -> None:
    given = parts(X, LABELS) | {"y_test": LABELS[30:].astype(np.float32)}
    assert load(name="npz", path=save(**given)).task == "classification"
    given["y_test"] = given["y_test"] + 0.25
    assert load(name="npz", path=save(**given)).task == "regression"


def test_labels_that_are_no_text_are_named(save: Save) -> None:
    y = np.array([b"a", b"\xff"] * 20)
    with pytest.raises(CorruptInputError, match=r"a\.npz: y\[1\] is .*, which is not UTF-8"):
        load(name="npz", path=save(x=X, y=y))


@pytest.mark.parametrize("dtype", ["datetime64[D]", "complex64", "V8"])
def test_targets_of_other_types_are_refused(save: Save, dtype: str) -> None:
    with pytest.raises(CorruptInputError, match="neither numbers nor text"):
        load(name="npz", path=save(x=X, y=np.zeros(40, dtype)))
