"""Event files as TensorBoard itself reads them."""

from __future__ import annotations

import errno
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from regrun.errors import StorageError
from regrun.results import RunSummary, Status
from regrun.store.curves import curves_of
from regrun.store.lines import LinesWriter
from regrun.store.metrics import read_metrics
from regrun.store.run_dir import RunDir
from regrun.store.tensorboard import EventFiles, add_curves, flat_hparams, rebuild
from regrun.store.writer import RunWriter
from tests.support.faults import failing
from tests.support.scripted_run import CONFIG, evaluate

HPARAMS = {"optimizer.lr": 0.1, "model.hidden": [256, 256], "optimizer.nesterov": True, "x": None}
ROWS = [
    {
        "epoch": n,
        "step": 37 * n,  # crosses the lengths of a varint
        "train/loss": 1 / n,
        "test/loss": 2 / n,
        "test/accuracy": n / 20,
        "objective": 3 / n,
        "penalty/l1": 1e-8 * n,
        "weights/l2": 1e8 * n,
        "lr": 0.1,
    }
    for n in range(1, 13)
]


def add(events: EventFiles, row: dict[str, Any], wall_time: float) -> None:
    (curves,) = curves_of([row], [wall_time])
    add_curves([events], curves)


def accumulated(directory: Path) -> Any:
    from tensorboard.backend.event_processing import event_accumulator

    return event_accumulator.EventAccumulator(
        str(directory), size_guidance={"scalars": 0, "tensors": 0}
    ).Reload()


def curve(directory: Path, tag: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in accumulated(directory).Scalars(tag)]


def event_paths(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("events.out*") if path.stat().st_size)


def expect(name: str, rows: list[dict[str, Any]] = ROWS) -> list[tuple[int, float]]:
    return [(row["step"], float(np.float32(row[name]))) for row in rows]


def hparams_of(directory: Path) -> dict[str, Any]:
    from tensorboard.plugins.hparams import plugin_data_pb2

    metadata = accumulated(directory).summary_metadata
    found = {}
    for tag, summary in metadata.items():
        if tag.startswith("_hparams_/"):
            assert summary.plugin_data.plugin_name == "hparams"
            found[tag.removeprefix("_hparams_/")] = plugin_data_pb2.HParamsPluginData.FromString(
                summary.plugin_data.content
            )
    return found


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    writer = RunWriter.create(tmp_path, "name: small\n", HPARAMS)
    for number, row in enumerate(ROWS):
        evaluate(writer, row)
        if number % 5 == 0:
            writer.flush()
    writer.flush()
    return RunDir(tmp_path)


def test_tensorboard_reads_every_point_that_metrics_jsonl_has(run: RunDir) -> None:
    assert read_metrics(run.metrics) == ROWS
    assert curve(run.path / "train", "loss") == expect("train/loss")
    assert curve(run.path / "test", "loss") == expect("test/loss")
    assert curve(run.path / "test", "accuracy") == expect("test/accuracy")
    for tag in ("objective", "penalty/l1", "weights/l2", "lr"):
        assert curve(run.path, tag) == expect(tag)
    assert set(accumulated(run.path).Tags()["scalars"]) == {
        "objective",
        "penalty/l1",
        "weights/l2",
        "lr",
    }
    assert not (run.path / "val").exists()
    assert len(event_paths(run.path)) == 3


def test_points_carry_the_time_they_were_taken_at(tmp_path: Path) -> None:
    before = time.time()
    writer = RunWriter.create(tmp_path, "", {})
    evaluate(writer, {"step": 1, "val/loss": 0.5})
    taken = time.time()
    time.sleep(0.01)
    writer.flush()
    (point,) = accumulated(tmp_path / "val").Scalars("loss")
    assert before <= point.wall_time <= taken


def test_rows_may_differ_in_their_metrics_and_null_is_nan(tmp_path: Path) -> None:
    events = EventFiles(tmp_path, {})
    add(events, {"step": 1, "train/loss": None, "lr": 1}, 1e9)
    add(events, {"step": 2, "train/loss": math.inf}, 1e9 + 1)
    add(events, {"step": 3, "train/loss": 1e300, "train/accuracy": 0.5}, 1e9 + 2)
    events.flush()
    (_, first), (_, second), (_, third) = curve(tmp_path / "train", "loss")
    assert math.isnan(first)
    assert second == third == math.inf
    assert curve(tmp_path / "train", "accuracy") == [(3, 0.5)]
    assert curve(tmp_path, "lr") == [(1, 1.0)]


def test_hyper_parameters_are_in_the_runs_own_directory(run: RunDir) -> None:
    (kind, content), *others = hparams_of(run.path).items()
    assert kind == "session_start_info"
    assert others == []
    hparams = content.session_start_info.hparams
    assert set(hparams) == {"optimizer.lr", "model.hidden", "optimizer.nesterov"}
    assert hparams["optimizer.lr"].number_value == 0.1
    assert hparams["model.hidden"].string_value == "[256, 256]"
    assert hparams["optimizer.nesterov"].bool_value is True


def test_control_characters_of_settings_are_shown_escaped(tmp_path: Path) -> None:
    """A config may hold those that turn the order of what is read."""
    EventFiles(tmp_path, {"dataset.path": "a\u202eb", "dataset.target": ["\u2066"]}).flush()
    hparams = hparams_of(tmp_path)["session_start_info"].session_start_info.hparams
    assert hparams["dataset.path"].string_value == r"a\u202eb"
    assert hparams["dataset.target"].string_value == r'["\u2066"]'


@pytest.mark.parametrize(
    ("status", "shown"),
    [("completed", "STATUS_SUCCESS"), ("diverged", "STATUS_FAILURE"), ("failed", "STATUS_FAILURE")],
)
def test_the_end_of_a_run_is_shown(tmp_path: Path, status: Status, shown: str) -> None:
    from tensorboard.plugins.hparams import api_pb2

    writer = RunWriter.create(tmp_path, "", HPARAMS)
    writer.finish(RunSummary(run_dir="", status=status))
    end = hparams_of(tmp_path)["session_end_info"].session_end_info
    assert end.status == api_pb2.Status.Value(shown)
    assert abs(end.end_time_secs - time.time()) < 60


def test_the_hparams_tab_shows_runs_with_different_columns(tmp_path: Path) -> None:
    from tensorboard import context as request_context
    from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer
    from tensorboard.plugins import base_plugin
    from tensorboard.plugins.hparams import api_pb2, backend_context, list_session_groups

    for name, hparams in {"a": {"lr": 0.1}, "b": {"lr": 0.2, "penalty.0.strength": 3.0}}.items():
        writer = RunWriter.create(_made(tmp_path / name), "", hparams)
        evaluate(writer, {"step": 1, "train/loss": 0.5, "test/loss": 0.75, "objective": 1.0})
        writer.finish(RunSummary(run_dir="", status="completed"))
    multiplexer = plugin_event_multiplexer.EventMultiplexer()
    multiplexer.AddRunsFromDirectory(str(tmp_path))
    multiplexer.Reload()
    provider = data_provider.MultiplexerDataProvider(multiplexer, str(tmp_path))
    context = backend_context.Context(base_plugin.TBContext(data_provider=provider))
    asked = request_context.RequestContext()
    experiment = context.experiment_from_metadata(
        asked, "", True, context.hparams_metadata(asked, ""), []
    )
    assert {info.name for info in experiment.hparam_infos} == {"lr", "penalty.0.strength"}
    assert {(info.name.group, info.name.tag) for info in experiment.metric_infos} == {
        ("", "objective"),
        ("train", "loss"),
        ("test", "loss"),
    }
    request = api_pb2.ListSessionGroupsRequest(
        start_index=0, slice_size=10, allowed_statuses=[api_pb2.STATUS_SUCCESS]
    )
    request.col_params.add(metric=api_pb2.MetricName(group="test", tag="loss"))
    answer = list_session_groups.Handler(asked, context, "", request).run()
    assert sorted(group.name for group in answer.session_groups) == ["a", "b"]
    for group in answer.session_groups:
        values = {(value.name.group, value.name.tag): value.value for value in group.metric_values}
        assert values["test", "loss"] == 0.75
        assert values["train", "loss"] == 0.5


def _made(directory: Path) -> Path:
    directory.mkdir()
    return directory


def test_damaged_event_files_are_rebuilt_from_metrics_jsonl(run: RunDir) -> None:
    old = event_paths(run.path)
    for path in old:
        data = bytearray(path.read_bytes())
        data[len(data) // 3] ^= 0xFF
        path.write_bytes(data[: 2 * len(data) // 3])
    rebuild(run, HPARAMS)
    new = event_paths(run.path)
    assert not set(new) & set(old)
    assert len(new) == 3
    assert all(path.stat().st_size == 0 for path in old)
    assert curve(run.path / "train", "loss") == expect("train/loss")
    assert curve(run.path, "weights/l2") == expect("weights/l2")
    assert "session_start_info" in hparams_of(run.path)


def test_rebuilt_points_lie_in_time_between_the_start_and_the_last_row(run: RunDir) -> None:
    rebuild(run, HPARAMS)
    times = [point.wall_time for point in accumulated(run.path).Scalars("lr")]
    assert times == sorted(times)
    assert run.config.path.stat().st_mtime <= times[0] <= times[-1]
    assert times[-1] == pytest.approx(run.metrics.path.stat().st_mtime, abs=1e-3)


def test_two_resumes_within_a_second_overwrite_nothing(run: RunDir) -> None:
    cut = int(ROWS[5]["step"])
    for _ in range(2):
        writer = RunWriter.resume(run.path, cut, 6, CONFIG, HPARAMS)
        for row in ROWS[6:]:
            evaluate(writer, row)
        writer.flush()
        assert read_metrics(run.metrics) == ROWS
        assert curve(run.path / "train", "loss") == expect("train/loss")
        assert curve(run.path, "lr") == expect("lr")
        assert len(event_paths(run.path)) == 3
    assert len(list(run.path.rglob("events.out*"))) == 6  # each with its emptied predecessor


def test_two_writers_of_one_directory_never_share_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen = iter([10**18] * 3 + [10**18 + 1] * 3)
    monkeypatch.setattr(time, "time_ns", lambda: next(frozen))
    for value in (1.0, 2.0):
        events = EventFiles(tmp_path, {})
        add(events, {"step": 1, "lr": value}, 1e9)
        events.flush()
    assert len(event_paths(tmp_path)) == 2


def test_a_running_tensorboard_forgets_the_points_that_a_resume_takes_back(run: RunDir) -> None:
    from tensorboard.backend.event_processing import plugin_event_multiplexer

    multiplexer = plugin_event_multiplexer.EventMultiplexer({"train": str(run.path / "train")})

    def shown() -> list[tuple[int, float]]:
        multiplexer.Reload()
        points = multiplexer.Tensors("train", "loss")
        return [(point.step, point.tensor_proto.float_val[0]) for point in points]

    reader = accumulated(run.path / "train")
    assert shown() == expect("train/loss")
    expected = expect("train/loss", ROWS[:4])
    for value in (8.0, 9.0):
        writer = RunWriter.resume(run.path, int(ROWS[3]["step"]), 4, CONFIG, HPARAMS)
        for row in ROWS[4:7]:
            evaluate(writer, {**row, "train/loss": value})
        writer.flush()
        now = expected + [(row["step"], value) for row in ROWS[4:7]]
        assert shown() == now
        assert [(p.step, p.value) for p in reader.Reload().Scalars("loss")] == now
        assert curve(run.path / "train", "loss") == now


def test_names_of_later_files_sort_after_earlier_ones(tmp_path: Path) -> None:
    for _ in range(20):
        events = EventFiles(tmp_path, {})
        events.flush()
        names = [path.name for path in event_paths(tmp_path)]
        times = [(tmp_path / name).stat().st_mtime_ns for name in names]
        assert times == sorted(times)


@pytest.mark.parametrize("for_ever", [False, True])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EACCES])
def test_a_failing_flush_is_a_storage_error_and_later_points_are_still_readable(
    tmp_path: Path, error: int, for_ever: bool
) -> None:
    number = 0
    while True:
        number += 1
        directory = _made(tmp_path / str(number))
        events = EventFiles(directory, HPARAMS)
        add(events, ROWS[0], 1e9)
        with failing(number, error, for_ever=for_ever) as faults:
            try:
                events.flush()
            except StorageError as raised:
                assert str(directory) in str(raised)
            else:  # that the directory is there already is found out by failing to create it
                if not faults.reached:
                    break
        add(events, ROWS[1], 1e9 + 1)
        events.flush()
        assert curve(directory / "train", "loss")[-1:] == expect("train/loss", ROWS[1:2])
        assert curve(directory, "lr")[-1:] == expect("lr", ROWS[1:2])
    assert number > 9


def test_configs_are_flattened_as_overrides_name_them() -> None:
    config = {
        "name": "small",
        "seed": 1,
        "model": {"name": "mlp", "hidden": [256, 256]},
        "penalty": [{"type": "l1", "strength": 0.1}, {"type": "l2", "strength": 0.2}],
        "constraints": [],
        "sweep": {"grid": {}},
        "loss": None,
    }
    assert flat_hparams(config) == {
        "seed": 1,
        "model.name": "mlp",
        "model.hidden": [256, 256],
        "penalty.0.type": "l1",
        "penalty.0.strength": 0.1,
        "penalty.1.type": "l2",
        "penalty.1.strength": 0.2,
        "constraints": [],
        "loss": None,
    }


def test_an_empty_metrics_file_rebuilds_to_the_hyper_parameters_alone(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    run.config.path.write_text("")
    LinesWriter(run.metrics).flush()
    rebuild(run, HPARAMS)
    assert len(event_paths(tmp_path)) == 1
    assert "session_start_info" in hparams_of(tmp_path)
