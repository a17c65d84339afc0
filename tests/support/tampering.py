"""Changes to stored runs by somebody who can make any checksum right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from regrun.results import json_document, json_line
from regrun.store.checksums import (
    KEY,
    as_text,
    checksum_of,
    sealed_document,
    sealed_lines,
    sealed_yaml,
)


def relist(directory: Path) -> None:
    """Make the summary of a run or sweep list the files as they are now."""
    path = directory / "summary.json"
    summary = json.loads(path.read_bytes())
    files = {name: directory / name for name in summary.get("files", {})}
    write_document(
        path,
        {
            **summary,
            "files": {
                name: as_text(checksum_of(file.read_bytes()))
                for name, file in files.items()
                if file.exists()
            },
        },
    )


def age(directory: Path) -> None:
    """Make a finished run or sweep one of a version before 0.3, without checksums."""
    for name in ("summary.json", "data.json", "preprocessing.json"):
        path = directory / name
        if path.exists():
            content = json.loads(path.read_bytes())
            own = {key: value for key, value in content.items() if key not in (KEY, "files")}
            path.write_bytes(json_document(own))
    for name in ("config.yaml", "sweep.yaml"):
        path = directory / name
        if path.exists():
            path.write_text("".join(_without_checksum(path.read_text())))
    for name in ("metrics.jsonl", "plan.jsonl"):
        path = directory / name
        if path.exists():
            rows = map(json.loads, path.read_text().splitlines())
            own_rows = [{key: each for key, each in row.items() if key != KEY} for row in rows]
            path.write_bytes(b"".join(map(json_line, own_rows)))


def write_document(path: Path, content: dict[str, Any]) -> None:
    """Store a JSON document with a right checksum."""
    own = {key: value for key, value in content.items() if key != KEY}
    path.write_bytes(sealed_document(json_document(own)))


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    """Store lines of JSON with right checksums."""
    own = [{key: value for key, value in row.items() if key != KEY} for row in rows]
    path.write_bytes(sealed_lines(map(json_line, own))[0])


def write_yaml(path: Path, text: str) -> None:
    """Store a config with a right checksum, in place of the one that it has."""
    path.write_bytes(sealed_yaml("".join(_without_checksum(text))))


def _without_checksum(text: str) -> list[str]:
    return [line for line in text.splitlines(keepends=True) if "# checksum: " not in line]
