"""A real TensorBoard, started by a real `regrun view`, asked over HTTP."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import time
import urllib.request
from collections.abc import Iterator
from contextlib import nullcontext
from math import exp
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from regrun.cli.tensorboard_server import OnlyFrom, serving
from regrun.escapes import escaped_name
from tests.support.program import Process, Program


@pytest.fixture
def runs(make_run: Any, tmp_path: Path) -> Path:
    """Two runs with a train and a test curve, in a folder with a space and an umlaut."""
    for number in range(2):
        make_run(f"run {number} ä", test=float(number))
    return tmp_path / "runs"


def ask(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=20) as answer:
        return json.loads(answer.read())


def ask_until(url: str, enough: Any) -> Any:
    deadline = time.monotonic() + 30
    while True:
        answer = ask(url)
        if enough(answer) or time.monotonic() > deadline:
            return answer
        time.sleep(0.2)


def status(url: str, method: str = "GET", **headers: str) -> int:
    """The HTTP status of a request that has exactly these headers."""
    place = urlsplit(url)
    assert place.hostname is not None
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=20)
    try:
        connection.putrequest(method, place.path, skip_host=True, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        return connection.getresponse().status
    finally:
        connection.close()


def descendants(process: Process) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def viewing(program: Program, *arguments: object) -> tuple[Process, str]:
    """A `regrun view` that answers, and its address."""
    process = program.start("view", *arguments, fresh=True)
    process.wait_until(lambda: process.stdout.endswith("\n"))
    url = process.stdout.strip()
    assert url.startswith("http://"), process.stderr
    return process, url


def test_tensorboard_serves_both_curves_and_ends_with_control_c(
    program: Program, runs: Path
) -> None:
    process, url = viewing(program, runs)
    names = [f"toy/run {number} ä{part}" for number in range(2) for part in ("", "/train", "/test")]
    assert ask(f"{url}data/runs") == sorted(names)
    tags = ask(f"{url}data/plugin/scalars/tags")
    assert list(tags["toy/run 0 ä/train"]) == ["loss"]
    points = ask(f"{url}data/plugin/scalars/scalars?tag=loss&run=toy%2Frun+1+%C3%A4%2Ftest")
    assert [point[1] for point in points] == [4, 8, 12, 16, 20]
    assert [point[2] for point in points] == pytest.approx(
        [1 + exp(-epoch) for epoch in range(1, 6)]
    )
    process.send_signal(signal.SIGINT)
    assert process.wait() == 130
    assert process.stdout.strip() == url
    assert process.stderr == "Ctrl-C ends it\nTensorBoard ended\n"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP])
def test_nothing_goes_on_after_it(program: Program, runs: Path, number: int) -> None:
    process, url = viewing(program, runs)
    assert ask(f"{url}data/runs")
    assert descendants(process) == []
    process.send_signal(number)
    process.wait()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("localhost", urlsplit(url).port or 0), timeout=5)


def test_a_run_that_begins_later_appears(program: Program, runs: Path, make_run: Any) -> None:
    _, url = viewing(program, runs)
    assert "toy/later/train" not in ask(f"{url}data/runs")
    make_run("later", finished=False)
    found = ask_until(f"{url}data/runs", lambda names: "toy/later/train" in names)
    assert "toy/later/train" in found


def test_every_run_is_one_step_away_where_too_many_would_be_unticked(
    program: Program, make_run: Any, tmp_path: Path
) -> None:
    for number in range(15):
        make_run(f"run{number:02d}")
    process, url = viewing(program, tmp_path / "runs")
    assert len(ask(f"{url}data/runs")) == 39
    assert len(ask(f"{url}all/data/runs")) == 45
    assert status(f"{url}all/data/runs", Host="evil.example") == 403
    process.wait_until(lambda: process.stderr.endswith("ends it\n"))
    assert process.stderr.splitlines()[0] == (
        f"13 of 15 runs are shown, the newest first; every run: {url}all/"
    )


def test_a_damaged_run_is_named_and_left_out(program: Program, runs: Path) -> None:
    damaged = runs / "toy" / "run 0 ä" / "metrics.jsonl"
    damaged.write_text("{\n")
    process, url = viewing(program, runs)
    assert "toy/run 1 ä/train" in ask(f"{url}data/runs")
    process.wait_until(lambda: process.stderr.endswith("ends it\n"))
    line = process.stderr.splitlines()[0]
    assert str(damaged) in line
    assert line.endswith(f"; to check all files: regrun verify {runs}")


def test_as_json_it_prints_one_document_as_soon_as_it_answers(program: Program, runs: Path) -> None:
    process = program.start("view", runs, "--json", fresh=True)
    process.wait_until(lambda: process.stdout.endswith("}\n"))
    document = json.loads(process.stdout)
    assert document == {"url": document["url"], "runs_dir": str(runs), "runs": 2}
    assert "toy/run 0 ä/train" in ask(f"{document['url']}data/runs")
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 143
    assert json.loads(process.stdout) == document
    assert process.stderr.startswith("Ctrl-C ends it\n")


def test_a_directory_without_runs_is_answered_with_what_to_do(invoke: Any, tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "nowhere"):
        result = invoke("view", place)
        assert result.exit_code == 2
        assert "regrun train" in result.stderr
        assert result.stdout == ""


def test_a_taken_port_is_reported(invoke: Any, runs: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = invoke("view", runs, "--host", "127.0.0.1", "--port", port)
    assert result.exit_code == 2
    assert f"--port {port}" in result.stderr


NO_HOSTS = [
    "", " ", ".", "..", "nowhere.invalid", "999.1.1.1", "127.0.0.1:6006", "[::1]", "::1%nowhere",
    "192.0.2.1", "a" * 70 + ".com", "a" * 300, "http://localhost", "-x", "ä\x1b", "localhost/x",
]  # fmt: skip
NO_PORTS = ["0", "-1", "65536", "1e3", "http", "", "99999999999999999999"]


@pytest.mark.parametrize("host", NO_HOSTS)
def test_what_is_no_address_of_this_machine_is_refused_by_name(
    invoke: Any, runs: Path, host: str
) -> None:
    for port in ([], ["--port", "6123"]):
        result = invoke("view", runs, f"--host={host}", *port)
        assert result.exit_code == 2
        name = escaped_name(host)
        assert f"--host {name}" in result.stderr or f"on {name}" in result.stderr
        assert "Traceback" not in result.stderr


@pytest.mark.parametrize("port", NO_PORTS)
def test_what_is_no_port_is_refused(invoke: Any, runs: Path, port: str) -> None:
    result = invoke("view", runs, f"--port={port}")
    assert result.exit_code == 2
    assert "--port" in result.stderr


LOOPBACK, ANY, LAN = ("localhost", "127.0.0.1"), ("0.0.0.0", "0.0.0.0"), ("box.lan", "192.0.2.7")
OURS = [
    (LOOPBACK, "localhost:6006", None),
    (LOOPBACK, "LocalHost", None),
    (LOOPBACK, "localhost:8000", None),  # forwarded by ssh
    (LOOPBACK, "127.0.0.1:6006", None),
    (LOOPBACK, "127.8.8.8", None),
    (LOOPBACK, "[::1]:6006", None),
    (LOOPBACK, "localhost:6006", "http://localhost:6006"),
    (LOOPBACK, "localhost:6006", "https://127.0.0.1"),
    (("::1", "::1"), "[::1]:6006", "http://[::1]:6006"),
    (("mine", "127.0.0.1"), "mine:6006", "http://mine:6006"),
    (ANY, "localhost:6006", None),
    (ANY, "192.0.2.7:6006", "http://192.0.2.7:6006"),
    (ANY, "[2001:db8::1]:6006", None),
    (ANY, f"{socket.gethostname()}:6006", None),
    (LAN, "box.lan:6006", None),
    (LAN, "BOX.lan", "http://box.lan"),
]  # fmt: skip
FOREIGN = [
    (LOOPBACK, "evil.example", None),
    (LOOPBACK, "evil.example:6006", None),
    (LOOPBACK, "localhost.evil.example:6006", None),
    (LOOPBACK, "127.0.0.1.evil.example:6006", None),
    (LOOPBACK, "evil.example,localhost", None),
    (LOOPBACK, "localhost@evil.example", None),
    (LOOPBACK, "evil.example@localhost", None),
    (LOOPBACK, "evil.example#localhost", None),
    (LOOPBACK, "localhost/evil.example", None),
    (LOOPBACK, "localhost?", None),
    (LOOPBACK, "localhost:port", None),
    (LOOPBACK, "localhost.", None),
    (LOOPBACK, "", None),
    (LOOPBACK, None, None),
    (LOOPBACK, "192.0.2.7:6006", None),
    (LOOPBACK, "0.0.0.0:6006", None),
    (LOOPBACK, "[::ffff:192.0.2.7]", None),
    (LOOPBACK, "[localhost", None),
    (LOOPBACK, "2130706433", None),
    (LOOPBACK, "0x7f000001.evil.example", None),
    (LOOPBACK, "box.lan", None),
    (LOOPBACK, "localhost:6006", "http://evil.example"),
    (LOOPBACK, "localhost:6006", "http://localhost.evil.example:6006"),
    (LOOPBACK, "localhost:6006", "null"),
    (LOOPBACK, "localhost:6006", ""),
    (LOOPBACK, "localhost:6006", "http://192.0.2.7"),
    (LOOPBACK, "localhost:6006", "file://"),
    (ANY, "evil.example:6006", None),
    (ANY, "192.0.2.7:6006", "http://evil.example"),
    (LAN, "evil.example", None),
    (LAN, "lan", None),
]  # fmt: skip


@pytest.mark.parametrize(
    ("bound", "host", "origin", "expected"),
    [(*case, "200 OK") for case in OURS] + [(*case, "403 Forbidden") for case in FOREIGN],
)
def test_only_names_of_this_server_are_answered(
    bound: tuple[str, str], host: str | None, origin: str | None, expected: str
) -> None:
    answers: list[str] = []

    def secret(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b"secret"]

    given = {"HTTP_HOST": host, "HTTP_ORIGIN": origin}
    environ = {name: value for name, value in given.items() if value is not None}
    app = OnlyFrom(secret, bound[0], [bound[1]])
    body = app(environ, lambda line, headers: answers.append(line))
    assert answers == [expected]
    assert (b"".join(body) == b"secret") == (expected == "200 OK")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a TensorBoard in this process."""
    folder = tmp_path_factory.mktemp("served") / "run"
    folder.mkdir()
    (folder / "config.yaml").write_text("seed: 0\n")
    with serving(folder, "localhost", None) as server:
        yield server.url


@pytest.mark.parametrize("path", ["", "data/runs", "data/environment", "index.js", "nowhere"])
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "OPTIONS"])
def test_every_path_and_method_refuses_foreign_pages(served: str, path: str, method: str) -> None:
    port = urlsplit(served).port
    url = f"{served}{path}"
    assert status(url, method) == 403
    assert status(url, method, Host=f"evil.example:{port}") == 403
    assert status(url, method, Host=f"localhost:{port}", Origin="http://evil.example") == 403
    assert status(url, method, Host=f"localhost:{port}") != 403


def test_its_name_leads_to_no_other_server(program: Program, runs: Path) -> None:
    with socket.create_server(("127.0.0.1", 6006)) if _is_free(6006) else nullcontext():
        _, url = viewing(program, runs)
        for address in {found[4][0] for found in socket.getaddrinfo("localhost", 0)}:
            place = f"http://{f'[{address}]' if ':' in str(address) else address}"
            assert ask(f"{place}:{urlsplit(url).port}/data/runs")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_other_machines_are_let_in_only_with_a_warning(program: Program, runs: Path) -> None:
    process, url = viewing(program, runs, "--host", "0.0.0.0")
    assert url.startswith("http://localhost:")
    process.wait_until(lambda: process.stderr.endswith("ends it\n"))
    assert "--host 0.0.0.0: everybody who can reach this machine can read the runs" in (
        process.stderr
    )
    assert ask(f"{url}data/runs")


def test_sigterm_ends_it_with_143_even_while_starting(program: Program, runs: Path) -> None:
    process = program.start("view", runs, fresh=True)
    process.wait_until(lambda: psutil.Process(process.pid).net_connections(kind="tcp"))
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 143
    assert "Traceback" not in process.stderr


def test_signal_handlers_are_given_back(runs: Path) -> None:
    def mine(number: int, frame: object) -> None: ...

    before = signal.signal(signal.SIGTERM, mine)
    try:
        with serving(runs, "localhost", None):
            assert signal.getsignal(signal.SIGTERM) != mine
        assert signal.getsignal(signal.SIGTERM) == mine
    finally:
        signal.signal(signal.SIGTERM, before)
