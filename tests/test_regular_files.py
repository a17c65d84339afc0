"""Nothing but regular files is opened, and what is refused is named."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from regrun.regular_files import NotAFileError, check_file, open_file, open_file_or_stream
from tests.support.special_files import SPECIAL, make_special

Opener = Callable[[Path], object]


@pytest.mark.parametrize("opener", [check_file, open_file, open_file_or_stream])
@pytest.mark.parametrize("kind", SPECIAL)
def test_special_files_are_refused_by_name(tmp_path: Path, kind: str, opener: Opener) -> None:
    path = make_special(tmp_path / "x", kind)
    for each in (path, _linked(path, tmp_path)):
        with pytest.raises(NotAFileError) as caught:
            opener(each)
        assert caught.value.strerror == f"it is {SPECIAL[kind]}, not a file"
        assert caught.value.filename == str(each)


@pytest.mark.parametrize("opener", [check_file, open_file, open_file_or_stream])
def test_other_reasons_stay_what_they_are(tmp_path: Path, opener: Opener) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(IsADirectoryError, match="it is a folder, not a file"):
        opener(tmp_path)
    with pytest.raises(FileNotFoundError):
        opener(tmp_path / "none")
    with pytest.raises(OSError, match="symbolic links"):
        opener(tmp_path / "loop")


def test_a_file_is_opened_also_behind_links(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    for path in (tmp_path / "file", _linked(tmp_path / "file", tmp_path)):
        with open_file(path) as file, open_file_or_stream(path) as same:
            assert file.read() == same.read() == b"content"


def test_what_becomes_a_pipe_after_the_first_look_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    pipe = make_special(tmp_path / "pipe", "pipe")
    before = len(list(Path("/proc/self/fd").iterdir()))
    real = os.open
    monkeypatch.setattr(os, "open", lambda path, *rest: real(pipe, *rest))
    with pytest.raises(NotAFileError, match="it is a pipe"):
        open_file(tmp_path / "file")
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_stream_of_this_process_is_read_where_it_may_be() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"content")
    os.close(writing)
    path = Path(f"/dev/fd/{reading}")
    try:
        with pytest.raises(NotAFileError, match="it is a pipe"):
            open_file(path)
        with open_file_or_stream(path) as file:
            assert file.read() == b"content"
    finally:
        os.close(reading)


def test_a_socket_of_this_process_is_no_stream() -> None:
    one, other = socket.socketpair()
    with one, other, pytest.raises(NotAFileError, match="it is a socket"):
        open_file_or_stream(Path(f"/dev/fd/{one.fileno()}"))


def _linked(path: Path, folder: Path) -> Path:
    link = folder / "link"
    if not link.is_symlink():
        link.symlink_to(path)
    return link
