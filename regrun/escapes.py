"""Control characters from data, as they are shown: a name cannot move the cursor or forge a line.

>>> escaped("a\\x1b[31mb")
'a\\\\x1b[31mb'
"""

from __future__ import annotations

import re

# C0 without tab and line feed, DEL and C1, line and paragraph separators, the embeddings, overrides
# and isolates of bidirectional text, and the lone surrogates of undecodable file names.
_CONTROLS = "\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff"

_IN_TEXT = re.compile(f"[{_CONTROLS}]")
_IN_NAME = re.compile(f"[\t\n{_CONTROLS}]")


def escaped(text: str) -> str:
    """The text with ``\\x1b``, ``\\u202e``, … for its control characters; it keeps its lines."""
    return _IN_TEXT.sub(_escape, text)


def escaped_name(name: str) -> str:
    """The same on one line: the name of a file, a column or a class has no lines to keep."""
    return _IN_NAME.sub(_escape, name)


def escaped_json(document: str) -> str:
    """The same document, whose strings hold such characters only as JSON escapes them."""
    return _IN_TEXT.sub(lambda match: f"\\u{ord(match[0]):04x}", document)


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")
