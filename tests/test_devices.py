"""What `--device` names, and what it cannot name."""

from __future__ import annotations

import pytest

from regrun.devices import Devices
from regrun.errors import UsageError

NAMED = [
    ("auto", Devices("auto"), {0: ["cpu"], 1: ["cuda:0"], 3: ["cuda:0", "cuda:1", "cuda:2"]}),
    ("cpu", Devices("cpu"), {0: ["cpu"], 2: ["cpu"]}),
    ("cuda", Devices("cuda"), {1: ["cuda:0"], 2: ["cuda:0", "cuda:1"]}),
    ("cuda:0", Devices("cuda", (0,)), {1: ["cuda:0"], 2: ["cuda:0"]}),
    ("cuda:1", Devices("cuda", (1,)), {2: ["cuda:1"]}),
    ("cuda:2,0", Devices("cuda", (2, 0)), {3: ["cuda:2", "cuda:0"]}),
]


@pytest.mark.parametrize(("text", "meant", "among"), NAMED)
def test_a_name_means_devices_of_the_machine(
    text: str, meant: Devices, among: dict[int, list[str]]
) -> None:
    found = Devices.named(text)
    assert found == meant
    assert str(found) == text
    assert {gpus: found.among(gpus) for gpus in among} == among


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cuda:", "cuda:0 for the first GPU, or cuda:0,1 for the first two"),
        ("cuda:1,", "cuda:0 for the first GPU"),
        ("cuda:,1", "cuda:0 for the first GPU"),
        ("cuda:1,,2", "cuda:0 for the first GPU"),
        ("cuda:0, 1", "cuda:0 for the first GPU"),
        ("cuda:0,cuda:1", "cuda:0 for the first GPU"),
        ("cuda:-1", "cuda:0 for the first GPU"),
        ("cuda:x", "cuda:0 for the first GPU"),
        ("cuda:1:2", "cuda:0 for the first GPU"),
        ("cuda:²", "cuda:0 for the first GPU"),
        ("cuda:٣", "cuda:0 for the first GPU"),
        ("cuda:1\n", "cuda:0 for the first GPU"),
        ("cuda:" + "9" * 5000, "cuda:0 for the first GPU"),
        ("cuda:0,0", "GPU 0 twice; write --device cuda:0"),
        ("cuda:1,0,2,01", "GPU 1 twice; write --device cuda:1,0,2"),
        ("cpu:0", "CPUs have no numbers; write --device cpu"),
        ("cpu:0,1", "CPUs have no numbers; write --device cpu"),
        ("mps", "does not train on Apple GPUs; use cpu"),
        ("mps:0", "does not train on Apple GPUs; use cpu"),
        ("", "not one of auto, cpu, cuda, cuda:N, cuda:N,M"),
        ("gpu", "not one of auto, cpu, cuda, cuda:N, cuda:N,M"),
        ("CUDA", "not one of"),
        ("auto:0", "not one of"),
        ("auto:", "not one of"),
        ("cpu,cuda", "not one of"),
        ("cuda,", "not one of"),
        (" cpu", "not one of"),
        ("meta", "not one of"),
    ],
)
def test_anything_else_is_refused_with_what_to_write_instead(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        Devices.named(text)
    assert str(caught.value).startswith(f"--device {text}: ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "gpus", "message"),
    [
        ("cuda", 0, "this machine has 0 CUDA device(s); write --device cpu"),
        ("cuda:0", 0, "this machine has 0 CUDA device(s); write --device cpu"),
        ("cuda:1", 1, "this machine has 1 CUDA device(s); write --device cuda"),
        ("cuda:0,2", 2, "this machine has 2 CUDA device(s); write --device cuda, or count from 0"),
        ("cuda:99999999999999999999", 2, "this machine has 2 CUDA device(s)"),
    ],
)
def test_a_gpu_that_is_not_there_is_refused(text: str, gpus: int, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        Devices.named(text).among(gpus)
    assert str(caught.value).startswith(f"--device {text}: {message}")


@pytest.mark.parametrize(
    ("text", "first", "two"),
    [("cuda:2,0,1", "cuda:2", "cuda:2,0"), ("cuda:1", "cuda:1", "cuda:1"), ("cpu", "cpu", "cpu")],
)
def test_the_first_gpus_of_a_list_are_a_name_of_their_own(text: str, first: str, two: str) -> None:
    assert (str(Devices.named(text).first()), str(Devices.named(text).first(2))) == (first, two)


def test_only_auto_is_stored_as_what_was_found() -> None:
    found = [Devices.named(text).as_found("cuda") for text in ("auto", "cuda", "cuda:1,0", "cpu")]
    assert found == ["cuda", "cuda", "cuda:1,0", "cpu"]


def test_where_one_device_is_used_a_list_is_refused() -> None:
    for single in ("auto", "cpu", "cuda", "cuda:1"):
        Devices.named(single).check_single()
    with pytest.raises(UsageError, match=r"--device cuda:1,0: .*; write --device cuda:1$"):
        Devices.named("cuda:1,0").check_single()
