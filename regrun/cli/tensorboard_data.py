"""Stored runs as TensorBoard asks for them, so that it reads no file itself."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from tensorboard import errors
from tensorboard.data import provider
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import metadata as layouts
from tensorboard.plugins.histogram.metadata import PLUGIN_NAME as HISTOGRAMS
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
from tensorboard.plugins.image.metadata import PLUGIN_NAME as IMAGES
from tensorboard.plugins.scalar.metadata import PLUGIN_NAME as SCALARS
from tensorboard.plugins.text.metadata import PLUGIN_NAME as TEXTS

from regrun.analysis.board import GAP, OWN, Curve, Shown
from regrun.analysis.cells import differing_keys
from regrun.analysis.overview import HIGH, LOW, View
from regrun.analysis.weight_histograms import Times, over_training
from regrun.escapes import escaped_name
from regrun.settings import short_keys
from regrun.store.atomic import read_bytes
from regrun.store.histogram_events import TAG

HPARAMS = metadata.PLUGIN_NAME
LAYOUTS = layouts.PLUGIN_NAME

EVERYTHING = "all"
"""Where each single run is, below the address."""

ByRun = dict[str, dict[str, Any]]
"""Run → tag → what TensorBoard asked for, in types of its own."""

_STATUS = {
    "completed": api_pb2.STATUS_SUCCESS,
    "pruned": api_pb2.STATUS_SUCCESS,
    "running": api_pb2.STATUS_RUNNING,
    "interrupted": api_pb2.STATUS_UNKNOWN,
}
"""TensorBoard's words; every other status is a failure."""

_NO_METRICS = ("lr",)
"""Curves that measure nothing."""


class Tensor(NamedTuple):
    """A record that is no curve: what TensorBoard stores with it, and what gives its value."""

    content: bytes
    value: Callable[[], bytes] = bytes


class StoredRuns(provider.DataProvider):  # type: ignore[misc] # it has no types
    """Answers TensorBoard.

    The metrics of a part of the data are a TensorBoard run of their own, with equal tags, because
    TensorBoard draws equal tags of several runs in one chart. What is shown is listed; what is
    known besides has its row in the HParams tab.
    """

    def __init__(self, view: Callable[[], View], location: str) -> None:
        """view: what is shown, as it is now. location: what it is shown of."""
        self._view, self._location = view, location

    def experiment_metadata(self, ctx: Any = None, *, experiment_id: str) -> Any:
        return provider.ExperimentMetadata(data_location=self._location)

    def list_plugins(self, ctx: Any = None, *, experiment_id: str) -> list[str]:
        view = self._view()
        pictures = any(each.pictures() for each in view.shown)
        histograms = any(each.counted() for each in view.shown)
        return [
            *(SCALARS, LAYOUTS, TEXTS),
            *([IMAGES] if pictures else []),
            *([HISTOGRAMS] if histograms else []),
            *([HPARAMS] if _differing(view)[0] else []),
        ]

    def list_runs(self, ctx: Any = None, *, experiment_id: str) -> list[Any]:
        return [
            provider.Run(name, name, each.started)
            for each in self._view().shown
            for name, _ in each.lines()
        ]

    def list_scalars(
        self, ctx: Any = None, *, experiment_id: str, plugin_name: str, run_tag_filter: Any = None
    ) -> ByRun:
        def described(curve: Curve) -> Any:
            return provider.ScalarTimeSeries(
                max_step=int(curve.steps[-1]),
                max_wall_time=float(curve.wall_times[-1]),
                plugin_content=b"",
                description="",
                display_name="",
            )

        return self._curves(plugin_name, run_tag_filter, described, self._view().shown)

    def read_scalars(
        self,
        ctx: Any = None,
        *,
        experiment_id: str,
        plugin_name: str,
        downsample: int | None = None,
        run_tag_filter: Any = None,
    ) -> ByRun:
        def points(curve: Curve) -> list[Any]:
            kept = thinned(len(curve.steps), downsample)
            columns = (curve.steps[kept], curve.wall_times[kept], curve.values[kept])
            lines = zip(*(column.tolist() for column in columns), strict=True)
            return [provider.ScalarDatum(*line) for line in lines]

        return self._curves(plugin_name, run_tag_filter, points, self._view().all)

    def read_last_scalars(
        self, ctx: Any = None, *, experiment_id: str, plugin_name: str, run_tag_filter: Any = None
    ) -> ByRun:
        def last(curve: Curve) -> Any:
            step, wall_time = int(curve.steps[-1]), float(curve.wall_times[-1])
            return provider.ScalarDatum(step, wall_time, curve.last)

        return self._curves(plugin_name, run_tag_filter, last, self._view().all)

    def list_tensors(
        self, ctx: Any = None, *, experiment_id: str, plugin_name: str, run_tag_filter: Any = None
    ) -> ByRun:
        def described(tensor: Tensor, started: float) -> Any:
            return provider.TensorTimeSeries(
                max_step=0,
                max_wall_time=started,
                plugin_content=tensor.content,
                description="",
                display_name="",
            )

        def summed_up(shown: Shown, times: Times) -> Any:
            step = times.steps[-1]
            return provider.TensorTimeSeries(
                max_step=step,
                max_wall_time=shown.time_of(step),
                plugin_content=b"",
                description="",
                display_name="",
            )

        if plugin_name == HISTOGRAMS:
            return self._histograms(run_tag_filter, summed_up)
        return self._tensors(plugin_name, run_tag_filter, described)

    def read_tensors(
        self,
        ctx: Any = None,
        *,
        experiment_id: str,
        plugin_name: str,
        downsample: int | None = None,
        run_tag_filter: Any = None,
    ) -> ByRun:
        def points(tensor: Tensor, started: float) -> list[Any]:
            return [provider.TensorDatum(0, started, np.array(tensor.value(), object))]

        def tables(shown: Shown, times: Times) -> list[Any]:
            kept = thinned(len(times.steps), downsample)
            pairs = list(zip(times.steps, times.pools, strict=True))
            return [
                provider.TensorDatum(step, shown.time_of(step), pool.table)
                for step, pool in (pairs[at] for at in np.arange(len(pairs))[kept])
                if pool is not None
            ]

        if plugin_name == HISTOGRAMS:
            return self._histograms(run_tag_filter, tables)
        return self._tensors(plugin_name, run_tag_filter, points)

    def list_blob_sequences(
        self, ctx: Any = None, *, experiment_id: str, plugin_name: str, run_tag_filter: Any = None
    ) -> ByRun:
        def described(keys: list[str], started: float) -> Any:
            return provider.BlobSequenceTimeSeries(
                max_step=0,
                max_wall_time=started,
                max_length=len(keys),
                plugin_content=b"",
                description="",
                display_name="",
            )

        return self._pictures(plugin_name, run_tag_filter, described)

    def read_blob_sequences(
        self,
        ctx: Any = None,
        *,
        experiment_id: str,
        plugin_name: str,
        downsample: int | None = None,
        run_tag_filter: Any = None,
    ) -> ByRun:
        def points(keys: list[str], started: float) -> list[Any]:
            references = tuple(provider.BlobReference(key) for key in keys)
            return [provider.BlobSequenceDatum(0, started, references)]

        return self._pictures(plugin_name, run_tag_filter, points)

    def read_blob(self, ctx: Any = None, *, blob_key: str) -> bytes:
        for each in self._view().shown:
            for title, place in each.pictures().items():
                keys = _keys(each, title)
                if blob_key in keys:
                    data = read_bytes(place)
                    width, height = (str(length).encode() for length in _size(data))
                    return (width, height, data)[keys.index(blob_key)]
        raise errors.NotFoundError(f"no picture {blob_key}")

    def _pictures(
        self, plugin_name: str, run_tag_filter: Any, answer: Callable[[list[str], float], Any]
    ) -> ByRun:
        if plugin_name != IMAGES:
            return {}
        passes = _Filter(run_tag_filter)
        found = {
            each.own_name: {
                title: answer(_keys(each, title), each.started)
                for title in each.pictures()
                if passes.tag(title)
            }
            for each in self._view().shown
            if passes.run(each.own_name)
        }
        return {name: tags for name, tags in found.items() if tags}

    def _curves(
        self,
        plugin_name: str,
        run_tag_filter: Any,
        answer: Callable[[Curve], Any],
        among: Sequence[Shown],
    ) -> ByRun:
        if plugin_name != SCALARS:
            return {}
        passes = _Filter(run_tag_filter)
        found = {
            name: {
                tag: answer(metrics[tag])
                for tag in metrics
                if passes.tag(tag) and len(metrics[tag].steps)
            }
            for each in among
            for name, metrics in each.lines()
            if passes.run(name)
        }
        return {name: tags for name, tags in found.items() if tags}

    def _histograms(self, run_tag_filter: Any, answer: Callable[[Shown, Times], Any]) -> ByRun:
        """Those of all seeds of a cell together; one with no finite entry is left out."""
        passes = _Filter(run_tag_filter)
        found = {
            each.own_name: {
                tag: answer(each, times)
                for name, times in over_training(each.counted()).items()
                if passes.tag(tag := TAG.format(escaped_name(name))) and not times.is_empty
            }
            for each in self._view().shown
            if passes.run(each.own_name)
        }
        return {name: tags for name, tags in found.items() if tags}

    def _tensors(
        self, plugin_name: str, run_tag_filter: Any, answer: Callable[[Tensor, float], Any]
    ) -> ByRun:
        passes = _Filter(run_tag_filter)
        records = {HPARAMS: _hparams, LAYOUTS: _layout, TEXTS: _texts}.get(plugin_name)
        found: ByRun = {}
        for each, tag, tensor in records(self._view()) if records else ():
            if passes.run(each.own_name) and passes.tag(tag):
                found.setdefault(each.own_name, {})[tag] = answer(tensor, each.started)
        return found


class _Filter:
    """The runs and tags that TensorBoard asks for; all where it names none."""

    def __init__(self, run_tag_filter: Any) -> None:
        self._runs = None if run_tag_filter is None else run_tag_filter.runs
        self._tags = None if run_tag_filter is None else run_tag_filter.tags

    def run(self, name: str) -> bool:
        return self._runs is None or name in self._runs

    def tag(self, name: str) -> bool:
        return self._tags is None or name in self._tags


def thinned(count: int, limit: int | None) -> np.ndarray | slice:
    """The indices of at most ``limit`` points, evenly spaced, the first and last among them."""
    if limit is None or count <= limit:
        return slice(None)
    if limit == 1:
        return np.array([count - 1])
    return np.linspace(0, count - 1, limit).round().astype(int)


def _keys(shown: Shown, title: str) -> list[str]:
    """The keys of a picture as TensorBoard has it: its width, its height, and itself."""
    name = f"{shown.own_name}/{title}".encode().hex()
    return [f"{name}.{part}" for part in ("width", "height", "png")]


def _size(picture: bytes) -> tuple[int, int]:
    """Width and height, which stand at the beginning of a PNG file."""
    return int.from_bytes(picture[16:20], "big"), int.from_bytes(picture[20:24], "big")


Record = tuple[Shown, str, Tensor]
"""What has it, its tag, and itself."""


def _texts(view: View) -> Iterator[Record]:
    """The tab Text."""
    if view.note:
        link = f"{view.note}: [every run]({EVERYTHING}/)"
        yield view.shown[0], "all runs", Tensor(b"", link.encode)
    for each in view.shown:
        for title, card in each.cards.items():
            yield each, title, Tensor(b"", lambda card=card: card().encode())  # type: ignore[misc]


def _layout(view: View) -> Iterator[Record]:
    """The tab Custom Scalars: each quantity with the intervals of its means, and the gap."""
    if not view.shown:
        return
    quantities, bounds = _quantities(view.shown)
    charts = []
    for tag in quantities:
        low, high = LOW.format(tag), HIGH.format(tag)
        if low in bounds:
            series = layout_pb2.MarginChartContent.Series(value=tag, lower=low, upper=high)
            margin = layout_pb2.MarginChartContent(series=[series])
            charts.append(layout_pb2.Chart(title=f"{tag}: mean, 95% interval", margin=margin))
        else:
            lines = layout_pb2.MultilineChartContent(tag=[f"^{re.escape(tag)}$"])
            charts.append(layout_pb2.Chart(title=tag, multiline=lines))
        gap = layout_pb2.MultilineChartContent(tag=[f"^{re.escape(GAP.format(tag))}$"])
        charts.append(layout_pb2.Chart(title=f"{tag}: test − train", multiline=gap))
    layout = layout_pb2.Layout(category=[layout_pb2.Category(title="train and test", chart=charts)])
    yield view.shown[0], layouts.CONFIG_SUMMARY_TAG, Tensor(b"", layout.SerializeToString)


def _quantities(shown: Sequence[Shown]) -> tuple[list[str], set[str]]:
    """What is measured on parts of the data, and the tags of the bounds of its means."""
    tags = dict.fromkeys(
        tag for each in shown for part in each.parts if part != OWN for tag in each.parts[part]
    )
    bounds = {form.format(tag) for tag in tags for form in (LOW, HIGH)} & tags.keys()
    return [tag for tag in tags if tag not in bounds], bounds


def _hparams(view: View) -> Iterator[Record]:
    """The tab HParams: what was swept or differs, and the metrics by the names of tables."""
    keys, settings = _differing(view)
    if not keys:
        return
    kinds = {key: _kind([own.get(key) for own in settings]) for key in keys}
    experiment = api_pb2.Experiment(
        hparam_infos=[
            _described(key, name, kinds[key], settings) for key, name in short_keys(keys).items()
        ],
        metric_infos=[
            api_pb2.MetricInfo(
                name=api_pb2.MetricName(group=part, tag=tag),
                display_name=name,
            )
            for name, (part, tag) in _metrics(view).items()
        ],
    )
    yield view.all[0], metadata.EXPERIMENT_TAG, _record(experiment=experiment)
    for each, own in zip(view.all, settings, strict=True):
        start = plugin_data_pb2.SessionStartInfo(start_time_secs=each.started)
        for key, kind in kinds.items():
            if key in own and (kind == "string" or own[key] is not None):
                setattr(start.hparams[key], f"{kind}_value", _as(kind, own[key]))
        yield each, metadata.SESSION_START_INFO_TAG, _record(session_start_info=start)
        end = plugin_data_pb2.SessionEndInfo(
            status=_STATUS.get(each.status, api_pb2.STATUS_FAILURE)
        )
        yield each, metadata.SESSION_END_INFO_TAG, _record(session_end_info=end)


def _differing(view: View) -> tuple[list[str], list[dict[str, Any]]]:
    """The keys in which settings differ, swept ones first, and their values of `view.all`."""
    settings = differing_keys([each.settings() for each in view.all])
    keys = dict.fromkeys(key for own in settings for key in own)
    return sorted(keys, key=lambda key: key not in view.swept), settings


def _metrics(view: View) -> dict[str, tuple[str, str]]:
    """The curves that measure something, by the names of tables: (part, tag).

    What the best is chosen by comes first, then what is measured on parts of the data.
    """
    quantities, bounds = _quantities(view.all)
    gaps = {GAP.format(quantity): f"gap/{quantity}" for quantity in quantities}
    found = {
        gaps.get(tag, f"{part}/{tag}" if part else tag): (part, tag)
        for each in view.all
        for part, tags in each.parts.items()
        for tag in tags
        if tag not in bounds and tag not in _NO_METRICS
    }
    order = sorted(found, key=lambda name: (name != view.metric, not _on_a_part(found[name])))
    return {name: found[name] for name in order}


def _on_a_part(line: tuple[str, str]) -> bool:
    part, tag = line
    return part != OWN or tag.endswith(GAP.format(""))


def _kind(values: Sequence[Any]) -> str:
    """How TensorBoard is to take the values of a setting."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return "bool"
    return "number" if kinds and kinds <= {int, float} else "string"


def _as(kind: str, value: Any) -> Any:
    if kind == "string":
        return escaped_name(value if isinstance(value, str) else json.dumps(value, default=str))
    return value


def _described(key: str, name: str, kind: str, settings: Sequence[Mapping[str, Any]]) -> Any:
    values = [own[key] for own in settings if key in own]
    numbers = [value for value in values if value is not None]
    info = api_pb2.HParamInfo(name=key, display_name=name, differs=True)
    if kind == "number":
        info.type = api_pb2.DATA_TYPE_FLOAT64
        info.domain_interval.min_value, info.domain_interval.max_value = min(numbers), max(numbers)
    else:
        info.type = api_pb2.DATA_TYPE_BOOL if kind == "bool" else api_pb2.DATA_TYPE_STRING
        given = values if kind == "string" else numbers
        info.domain_discrete.extend(sorted({_as(kind, value) for value in given}))
    return info


def _record(**kind: Any) -> Tensor:
    data = plugin_data_pb2.HParamsPluginData(version=metadata.PLUGIN_DATA_VERSION, **kind)
    return Tensor(data.SerializeToString())
