"""Metrics by name, and the one rule for the metric that nobody chose."""

from __future__ import annotations

from typing import get_args

import pytest

from regrun.metrics import METRICS, Metric, MetricName, default_metric


def test_the_names_of_a_config_are_all_metrics_in_their_order() -> None:
    assert list(METRICS) == list(get_args(MetricName))


@pytest.mark.parametrize("name", METRICS)
def test_a_name_and_its_metric_give_each_other(name: str) -> None:
    assert Metric.from_name(name).name == name


@pytest.mark.parametrize(
    ("name", "direction", "sign"),
    [
        ("val/loss", "minimize", 1),
        ("ema/test/accuracy", "maximize", -1),
        ("val/f1", "maximize", -1),
        ("test/rmse", "minimize", 1),
        ("test/r2", "maximize", -1),
    ],
)
def test_accuracies_rise_and_losses_fall(name: str, direction: str, sign: int) -> None:
    metric = Metric.from_name(name)
    assert (metric.direction, metric.sign) == (direction, sign)


def test_another_split_keeps_quantity_and_average() -> None:
    assert Metric.from_name("swa/val/accuracy").on("test").name == "swa/test/accuracy"


@pytest.mark.parametrize("name", ["", "loss", "val/", "val/loss/", "ema/loss", "dev/loss"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not a metric"):
        Metric.from_name(name)


def test_the_validation_loss_is_the_default_where_there_is_one() -> None:
    assert default_metric(has_validation=True) == Metric("val", "loss")
    assert default_metric(has_validation=False) == Metric("test", "loss")
