"""Which characters of data are shown escaped, and how."""

from __future__ import annotations

import json
import sys

import pytest

from regrun.escapes import escaped, escaped_json, escaped_name

SHOWN = [
    ("\x00", r"\x00"), ("\x07", r"\x07"), ("\x08", r"\x08"), ("\r", r"\r"),
    ("\x1b[31m", r"\x1b[31m"), ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
    ("\x7f", r"\x7f"), ("\x85", r"\x85"),
    ("\x9b31m", r"\x9b31m"), ("\u2028", r"\u2028"), ("\u2029", r"\u2029"), ("\u202a", r"\u202a"),
    ("\u202e", r"\u202e"), ("\u2066", r"\u2066"), ("\u2069", r"\u2069"), ("\udcff", r"\udcff"),
    ("\ud800", r"\ud800"),
]  # fmt: skip
"""What moves the cursor, changes the terminal or the order of what is read → how it is shown."""

KEPT = [
    "",
    "plain",
    "äöü λ ‖w‖₂ −1",
    "日本語",
    "עברית",
    "\N{FAMILY}",
    "\N{ZERO WIDTH JOINER}",
    "[red]",
    "\\x1b",
]


@pytest.mark.parametrize(("text", "shown"), SHOWN, ids=[shown for _, shown in SHOWN])
def test_control_characters_are_shown_escaped(text: str, shown: str) -> None:
    assert escaped(f"a{text}b") == escaped_name(f"a{text}b") == f"a{shown}b"
    assert json.loads(escaped_json(f'"a{text}b"')) == f"a{text}b"


@pytest.mark.parametrize("text", KEPT)
def test_all_other_text_stays_as_it_is(text: str) -> None:
    assert escaped(text) == escaped_name(text) == escaped_json(text) == text


def test_a_text_keeps_its_lines_and_a_name_has_none() -> None:
    assert escaped("a\n\tb") == "a\n\tb"
    assert escaped_name("a\n\tb") == r"a\n\tb"


def test_nothing_that_a_terminal_acts_on_is_left() -> None:
    """The no-break space and the soft hyphen of Latin-1 have no shape either, and do nothing."""
    left = {char for char in map(chr, range(256)) if escaped(char) == char}
    assert {char for char in left if not char.isprintable()} == {"\t", "\n", "\xa0", "\xad"}
    every = "".join(map(chr, range(sys.maxunicode + 1)))
    escaped(every).encode()  # no lone surrogate is left
