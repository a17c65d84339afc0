"""What TensorBoard is given, compared with what it reads itself from the event files."""

from __future__ import annotations

import io
import os
import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tensorboard import errors
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.data.provider import RunTagFilter
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import metadata as layouts
from tensorboard.plugins.hparams import api_pb2, metadata

from regrun.analysis.board import Board, Series, Shown
from regrun.analysis.overview import View, every_run, overview
from regrun.cli.tensorboard_data import StoredRuns, thinned


@pytest.fixture
def runs(make_run: Any, tmp_path: Path) -> Path:
    """A finished run, one without a test set, one that diverged, one that has just begun."""
    make_run("a", test=1.0, decay=0.5)
    make_run("b", test=None)
    make_run("c", status="diverged")
    make_run("d", finished=False)
    return tmp_path / "runs"


def stored(runs: Path) -> Any:
    board = Board(runs)
    return StoredRuns(lambda: every_run(board), str(runs))


def reference(runs: Path) -> Any:
    """TensorBoard's own reader of event files."""
    multiplexer = EventMultiplexer()
    multiplexer.AddRunsFromDirectory(str(runs))
    multiplexer.Reload()
    return MultiplexerDataProvider(multiplexer, str(runs))


def of(plugin_name: str, **more: Any) -> dict[str, Any]:
    return {**ANY, "plugin_name": plugin_name, **more}


ANY = {"ctx": RequestContext(), "experiment_id": ""}


def test_curves_are_those_of_the_event_files(runs: Path) -> None:
    found, expected = (
        {
            run: {
                tag: [(point.step, np.float32(point.value)) for point in points]
                for tag, points in tags.items()
                if tag != "loss/gap"
            }
            for run, tags in provider.read_scalars(**of("scalars", downsample=1000)).items()
        }
        for provider in (stored(runs), reference(runs))
    )
    found = {run: tags for run, tags in found.items() if tags}
    np.testing.assert_equal(found, expected)  # which takes nan as equal to nan
    assert len(found) == 8


def test_the_same_runs_are_listed(runs: Path) -> None:
    found, expected = (
        {run.run_name for run in provider.list_runs(**ANY)}
        for provider in (stored(runs), reference(runs))
    )
    assert found == expected


@pytest.mark.parametrize(
    "chosen",
    [
        RunTagFilter(runs=["toy/a/train"]),
        RunTagFilter(tags=["loss"]),
        RunTagFilter(runs=["toy/a/test", "nowhere"], tags=["loss", "nothing"]),
        RunTagFilter(tags=[]),
    ],
)
def test_a_filter_of_runs_and_tags_means_the_same(runs: Path, chosen: Any) -> None:
    found, expected = (
        {
            run: {tag: (point.step, np.float32(point.value)) for tag, point in tags.items()}
            for run, tags in provider.read_last_scalars(
                **of("scalars", run_tag_filter=chosen)
            ).items()
        }
        for provider in (stored(runs), reference(runs))
    )
    np.testing.assert_equal(found, expected)
    listed = stored(runs).list_scalars(**of("scalars", run_tag_filter=chosen))
    assert {run: [*tags] for run, tags in listed.items()} == {
        run: [*tags] for run, tags in found.items()
    }


def started(provider: Any, run: str) -> Any:
    """The settings in the HParams tab."""
    tensors = provider.list_tensors(**of(metadata.PLUGIN_NAME))[run]
    content = tensors[metadata.SESSION_START_INFO_TAG].plugin_content
    return metadata.parse_session_start_info_plugin_data(content).hparams


def test_the_hparams_tab_has_what_differs_and_how_runs_ended(runs: Path) -> None:
    provider = stored(runs)
    found = provider.list_tensors(**of(metadata.PLUGIN_NAME))
    assert found.keys() == reference(runs).list_tensors(**of(metadata.PLUGIN_NAME)).keys()
    for run, decay in {"toy/a": 0.5, "toy/b": 0.0}.items():
        settings = started(provider, run)
        assert list(settings) == ["optimizer.weight_decay"]
        assert settings["optimizer.weight_decay"].number_value == decay
    outcomes = {
        run: metadata.parse_session_end_info_plugin_data(
            tags[metadata.SESSION_END_INFO_TAG].plugin_content
        ).status
        for run, tags in found.items()
    }
    assert outcomes == {"toy/a": 1, "toy/b": 1, "toy/c": 2, "toy/d": 0}  # success, failure, unknown


def test_columns_of_the_hparams_tab_are_named_as_in_tables_and_the_chosen_is_first(
    runs: Path,
) -> None:
    tensors = stored(runs).list_tensors(**of(metadata.PLUGIN_NAME))
    (content,) = (
        tags[metadata.EXPERIMENT_TAG].plugin_content
        for tags in tensors.values()
        if metadata.EXPERIMENT_TAG in tags
    )
    experiment = metadata.parse_experiment_plugin_data(content)
    (info,) = experiment.hparam_infos
    assert (info.name, info.display_name, info.differs) == (
        "optimizer.weight_decay", "weight_decay", True,
    )  # fmt: skip
    assert (info.domain_interval.min_value, info.domain_interval.max_value) == (0.0, 0.5)
    shown = {
        each.display_name: (each.name.group, each.name.tag) for each in experiment.metric_infos
    }
    assert shown == {
        "train/loss": ("train", "loss"),
        "test/loss": ("test", "loss"),
        "gap/loss": ("", "loss/gap"),
    }


@pytest.mark.parametrize(
    ("values", "column", "kind"),
    [
        ([1, 2.5], "number_value", "FLOAT64"),
        ([True, False], "bool_value", "BOOL"),
        (["sgd", "adam"], "string_value", "STRING"),
        ([[64], [64, 64]], "string_value", "STRING"),
        ([1, "auto"], "string_value", "STRING"),
        ([True, 2], "string_value", "STRING"),
        ([None, 0.5], "number_value", "FLOAT64"),
    ],
)
def test_settings_of_every_type_have_a_column(values: list[Any], column: str, kind: str) -> None:
    runs = [
        Shown(str(number), 0.0, {}, partial(dict, key=value), "completed")
        for number, value in enumerate(values)
    ]
    provider = StoredRuns(lambda: View(runs, runs, "", [], None), "runs")
    tensors = provider.list_tensors(**of(metadata.PLUGIN_NAME))
    content = tensors["0"][metadata.EXPERIMENT_TAG].plugin_content
    (info,) = metadata.parse_experiment_plugin_data(content).hparam_infos
    assert api_pb2.DataType.Name(info.type) == f"DATA_TYPE_{kind}"
    assert started(provider, "1")["key"].WhichOneof("kind") == column


def test_control_characters_in_settings_are_shown_escaped() -> None:
    runs = [
        Shown(str(number), 0.0, {}, partial(dict, key=value), "completed")
        for number, value in enumerate(["plain", "a\x1b[31mb\u202e"])
    ]
    provider = StoredRuns(lambda: View(runs, runs, "", [], None), "runs")
    assert started(provider, "1")["key"].string_value == "a\\x1b[31mb\\u202e"


def test_one_run_has_no_hparams_tab(make_run: Any, tmp_path: Path) -> None:
    make_run("a")
    assert metadata.PLUGIN_NAME not in stored(tmp_path).list_plugins(**ANY)


def test_what_is_not_shown_has_its_row_in_the_hparams_tab() -> None:
    curve = Series(np.array([4]), np.array([1.0]), np.array([0.25]))
    first, second = (
        Shown(name, 0.0, {"test": {"loss": curve}}, partial(dict, lr=lr), "completed")
        for name, lr in (("a", 0.1), ("b", 0.2))
    )
    provider = StoredRuns(lambda: View([first], [first, second], "", ["lr"], "test/loss"), "runs")
    assert {run.run_name for run in provider.list_runs(**ANY)} == {"a", "a/test"}
    assert provider.list_scalars(**of("scalars")).keys() == {"a/test"}
    assert provider.list_tensors(**of(metadata.PLUGIN_NAME)).keys() == {"a", "b"}
    asked = RunTagFilter(runs=["b/test"], tags=["loss"])
    last = provider.read_last_scalars(**of("scalars", run_tag_filter=asked))
    assert last["b/test"]["loss"].value == 0.25


def test_the_config_is_a_card_of_text_that_markdown_leaves_as_it_is(runs: Path) -> None:
    points = stored(runs).read_tensors(**of("text"))["toy/a"]["config"]
    text = points[0].numpy.item().decode()
    config = (runs / "toy" / "a" / "config.yaml").read_text()
    assert text.splitlines() == [f"    {line}" for line in config.splitlines()]


def test_what_is_not_shown_is_a_link_away() -> None:
    cell = Shown("a", 0.0, {}, dict, "completed")
    provider = StoredRuns(lambda: View([cell], [cell], "1 of 2 is shown", [], None), "runs")
    points = provider.read_tensors(**of("text"))["a"]["all runs"]
    assert points[0].numpy.item() == b"1 of 2 is shown: [every run](all/)"


def test_the_layout_has_a_chart_for_each_quantity_with_its_interval_where_there_is_one() -> None:
    curve = Series(np.array([4]), np.array([1.0]), np.array([0.25]))
    parts = {"test": {"loss": curve, "loss/interval low": curve, "loss/interval high": curve}}
    cell = Shown("a", 0.0, {**parts, "train": {"accuracy": curve}}, dict, "completed")
    provider = StoredRuns(lambda: View([cell], [cell], "", [], None), "runs")
    points = provider.read_tensors(**of(layouts.PLUGIN_NAME))["a"][layouts.CONFIG_SUMMARY_TAG]
    (category,) = layout_pb2.Layout.FromString(points[0].numpy.item()).category
    charts = {chart.title: chart for chart in category.chart}
    (series,) = charts["loss: mean, 95% interval"].margin.series
    assert (series.value, series.lower, series.upper) == tuple(parts["test"])
    assert charts["accuracy"].multiline.tag == ["^accuracy$"]
    assert charts["loss: test − train"].multiline.tag == ["^loss/gap$"]


def test_pictures_of_what_is_shown_are_in_the_images_tab(runs: Path) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (30, 20)).save(picture, "png")
    (runs / "toy" / "a" / "curves.png").write_bytes(picture.getvalue())
    (runs / "toy" / "b" / "elsewhere.png").symlink_to(runs / "toy" / "a" / "curves.png")
    os.mkfifo(runs / "toy" / "b" / "pipe.png")
    provider = stored(runs)
    assert "images" in provider.list_plugins(**ANY)
    listed = provider.list_blob_sequences(**of("images"))
    assert {run: [*tags] for run, tags in listed.items()} == {"toy/a": ["curves"]}
    assert listed["toy/a"]["curves"].max_length == 3
    (point,) = provider.read_blob_sequences(**of("images"))["toy/a"]["curves"]
    keys = [each.blob_key for each in point.values]
    assert all(re.fullmatch("[A-Za-z0-9._~-]+", key) for key in keys)
    assert [provider.read_blob(blob_key=key) for key in keys] == [b"30", b"20", picture.getvalue()]
    with pytest.raises(errors.NotFoundError):
        provider.read_blob(blob_key=b"toy/b/elsewhere".hex() + ".png")


def tables(provider: Any, **more: Any) -> dict[str, dict[str, list[tuple[int, Any]]]]:
    """The histograms of each run and tag: step and bins."""
    return {
        run: {tag: [(point.step, point.numpy) for point in points] for tag, points in tags.items()}
        for run, tags in provider.read_tensors(**of("histograms", downsample=100, **more)).items()
    }


def test_histograms_are_those_of_the_event_files(make_run: Any, tmp_path: Path) -> None:
    for seed in (0, 1):
        make_run(f"seed{seed}", seed=seed, histograms_every=2)
    make_run("without")
    ours, others = stored(tmp_path / "runs"), reference(tmp_path / "runs")
    assert "histograms" in ours.list_plugins(**ANY)
    found, expected = tables(ours), tables(others)
    assert found.keys() == expected.keys() == {"toy/seed0", "toy/seed1"}
    for run, tags in expected.items():
        assert found[run].keys() == tags.keys()
        for tag, points in tags.items():
            assert (
                [step for step, _ in found[run][tag]] == [step for step, _ in points] == [0, 8, 16]
            )
            for (_, own), (_, other) in zip(found[run][tag], points, strict=True):
                np.testing.assert_allclose(own, other, rtol=1e-6)
    listed = ours.list_tensors(**of("histograms"))
    assert {run: [*tags] for run, tags in listed.items()} == {
        run: [*tags] for run, tags in found.items()
    }
    assert listed["toy/seed0"]["parameters/output.weight"].max_step == 16


def test_a_filter_and_a_limit_hold_for_histograms(make_run: Any, tmp_path: Path) -> None:
    make_run("a", histograms_every=1)
    make_run("b", histograms_every=1)
    provider = stored(tmp_path / "runs")
    asked = RunTagFilter(runs=["toy/b", "nowhere"], tags=["parameters/output.bias"])
    found = provider.read_tensors(**of("histograms", run_tag_filter=asked, downsample=3))
    assert {run: [*tags] for run, tags in found.items()} == {"toy/b": ["parameters/output.bias"]}
    points = found["toy/b"]["parameters/output.bias"]
    assert [point.step for point in points] == [0, 8, 20]
    assert [point.numpy.tolist() for point in points] == [[[0, 0, 1]]] * 3
    assert sorted(point.wall_time for point in points) == [point.wall_time for point in points]


def test_a_cell_has_the_histograms_of_its_seeds_together(write_sweep: Any, tmp_path: Path) -> None:
    write_sweep(2, 3, histograms_every=2)
    board = Board(tmp_path / "runs")
    provider = StoredRuns(lambda: overview(board, str), "runs")
    found = tables(provider)
    assert found.keys() == {"weight_decay=0", "weight_decay=1"}
    points = found["weight_decay=0"]["parameters/output.weight"]
    assert [step for step, _ in points] == [0, 8, 16]
    assert all(table[:, 2].sum() == pytest.approx(3 * 40) for _, table in points)


def test_runs_without_histograms_have_no_such_tab(runs: Path) -> None:
    provider = stored(runs)
    assert "histograms" not in provider.list_plugins(**ANY)
    assert provider.list_tensors(**of("histograms")) == {}


@pytest.mark.parametrize(
    ("count", "limit", "kept"),
    [
        (5, None, [0, 1, 2, 3, 4]),
        (5, 5, [0, 1, 2, 3, 4]),
        (5, 3, [0, 2, 4]),
        (9, 3, [0, 4, 8]),
        (5, 1, [4]),
        (100, 2, [0, 99]),
    ],
)
def test_fewer_points_are_evenly_spaced_with_both_ends(
    count: int, limit: int | None, kept: list[int]
) -> None:
    assert np.arange(count)[thinned(count, limit)].tolist() == kept
