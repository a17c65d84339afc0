"""Checksums, by which stored text files notice damage.

Each ends with the CRC-32C of all the bytes before the checksum, so that a file is checked alone:

    JSON             the last key of the document, `checksum`
    lines of JSON    the last key of each line, `checksum`: of the whole file up to there
    YAML             the last line, a comment: `# checksum: 1a2b3c4d`

Files of versions before 0.3 have none. safetensors files have their own, see `regrun.store.weights`
and `regrun.store.checkpoint`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from crc32c import crc32c

from regrun.errors import CorruptInputError
from regrun.store.place import Place

KEY = "checksum"

_DOCUMENT_END = re.compile(rb',\n  "checksum": "([0-9a-f]{8})"\n}\n\Z')
_YAML_END = re.compile(rb"# checksum: ([0-9a-f]{8})\n\Z")
_LINE_END = re.compile(rb',"checksum":"([0-9a-f]{8})"}\Z')


def checksum_of(data: bytes, before: int = 0) -> int:
    """The CRC-32C of bytes that follow others, whose checksum is ``before``."""
    return int(crc32c(data, before))


def as_text(checksum: int) -> str:
    """A checksum as files hold it: eight hexadecimal digits.

    >>> as_text(checksum_of(b"123456789"))
    'e3069283'
    """
    return f"{checksum:08x}"


def text_of(data: bytes) -> str:
    """The checksum of a whole file, as summaries list it."""
    return as_text(checksum_of(data))


def sealed_document(document: bytes) -> bytes:
    """A JSON document of `json_document`, a mapping with keys, with its checksum."""
    body = document.removesuffix(b"\n}\n")
    return b'%b,\n  "checksum": "%08x"\n}\n' % (body, crc32c(body))


def check_document(place: Place, data: bytes) -> bool:
    """Check a JSON document. Returns whether it has a checksum. Raises CorruptInputError."""
    return _check_end(place, data, _DOCUMENT_END)


def sealed_yaml(text: str) -> bytes:
    """A YAML file with its checksum."""
    body = text.encode()
    return b"%b# checksum: %08x\n" % (body, crc32c(body))


def check_yaml(place: Place, data: bytes, *, required: bool = False) -> None:
    """Check a YAML file. required: it has a checksum. Raises CorruptInputError."""
    if not _check_end(place, data, _YAML_END) and required:
        raise missing_checksum(place)


def sealed_lines(lines: Iterable[bytes], before: int = 0) -> tuple[bytes, int]:
    """Lines of `json_line` with their checksums, and that of the file with them.

    before: the checksum of the file that they are appended to.
    """
    parts: list[bytes] = []
    checksum = before
    for line in lines:
        body = line.removesuffix(b"}\n")
        end = b',"checksum":"%08x"}\n' % crc32c(body, checksum)
        parts += (body, end)
        checksum = crc32c(end, crc32c(body, checksum))
    return b"".join(parts), checksum


def check_lines(place: Place, lines: Iterable[bytes], *, required: bool = False) -> int:
    """Check all lines of a file, given without their newlines; returns the file's checksum.

    required: they have checksums; else either all or none. Raises CorruptInputError, with the line.
    """
    checksum, sealed = 0, required
    for number, line in enumerate(lines, 1):
        found = _LINE_END.search(line, max(0, len(line) - 24))
        if number == 1:
            sealed = sealed or found is not None
        if found is None and sealed:
            raise CorruptInputError(f"{place}:{number}: damaged: its checksum is missing")
        if found is not None:
            body = line[: found.start()]
            if not sealed or int(found[1], 16) != crc32c(body, checksum):
                raise CorruptInputError(
                    f"{place}:{number}: damaged, or lines before it are missing: "
                    "its checksum does not match"
                )
        checksum = crc32c(line + b"\n", checksum)
    return checksum


def missing_checksum(place: Place) -> CorruptInputError:
    """What is said of a file that must have a checksum, and has none."""
    return CorruptInputError(
        f"{place}: damaged, or written by a version before 0.3: its checksum is missing"
    )


def _check_end(place: Place, data: bytes, end: re.Pattern[bytes]) -> bool:
    found = end.search(data, max(0, len(data) - 40))
    if found is None:
        return False
    if int(found[1], 16) != crc32c(data[: found.start()]):
        raise CorruptInputError(f"{place}: damaged: its checksum does not match")
    return True
