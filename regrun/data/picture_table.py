"""Pictures whose classes are in a table, a file and its label in each row."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from regrun.data.picture_files import Found, Part, Scan, part_of
from regrun.data.pictures import SHOWN, first_of, shown
from regrun.data.sizes import check_fits
from regrun.errors import ConfigError, CorruptInputError
from regrun.regular_files import open_file

FILE_COLUMNS = (
    "file", "filename", "file_name", "filepath", "path", "image", "image_name", "image_path",
    "image_id", "img", "picture", "name", "id",
)  # fmt: skip
LABEL_COLUMNS = ("label", "labels", "class", "class_name", "category", "target")
PART_COLUMNS = ("split", "part", "subset", "partition")


@dataclass(frozen=True)
class Row:
    """A row of the table."""

    place: str
    """File and line, for messages."""
    file: str
    label: str
    part: Part


def find_by_table(root: Path, table: Path, *, skip_missing: bool) -> Found:
    """Take the pictures below ``root`` that a csv table lists.

    A file is given by its path below ``root``, or by its name where that is unique; with or
    without extension. Raises ConfigError at `labels` for a table without the columns,
    CorruptInputError for rows that are incomplete, contradict each other or, unless
    ``skip_missing``, name no file.
    """
    scan = Scan(root)
    pictures = _Pictures(root, scan.tree())
    if table.is_relative_to(root):
        scan.others.subtract([table.suffix.lower()])
    parts: dict[Part, list[tuple[Path, str]]] = defaultdict(list)
    listed: dict[Path, Row] = {}
    missing = []
    for row in read_rows(table):
        found = pictures.matching(row.file)
        if not found:
            missing.append(f"{row.place}: no picture {shown(row.file)}")
            continue
        if len(found) > 1:
            names = first_of([shown(path.relative_to(root)) for path in found])
            raise CorruptInputError(f"{row.place}: {row.file} may be {names}; write the whole path")
        if found[0] in listed:
            raise CorruptInputError(
                f"{row.place}: {row.file} is in {listed[found[0]].place} already"
            )
        listed[found[0]] = row
        parts[row.part].append((found[0], row.label))
    if missing and not skip_missing:
        more = f"\n… and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        raise CorruptInputError("\n".join(missing[:SHOWN]) + f"{more}\nbelow {shown(root)}")
    scan.missing += missing
    scan.loose += [shown(path.relative_to(root)) for path in pictures.paths if path not in listed]
    classes = {label for _, label in parts["train"]}
    if len(classes) < 2:
        named = f"one class, {classes.pop()!r}" if classes else "no training pictures"
        raise ConfigError.at(
            "dataset.labels", f"{shown(table)}: {named}; there must be two classes"
        )
    fraction = next((label for label in sorted(classes) if _is_fraction(label)), None)
    if fraction is not None:
        raise ConfigError.at(
            "dataset.labels",
            f"{shown(table)}: the label {fraction} is a number, and image_folder predicts classes",
        )
    return scan.found(parts)


def _is_fraction(label: str) -> bool:
    try:
        return not float(label).is_integer()
    except (ValueError, OverflowError):
        return False


class _Pictures:
    """Finds pictures by what a table calls them."""

    def __init__(self, root: Path, paths: Sequence[Path]) -> None:
        self.paths = paths
        self._by_path: dict[str, list[Path]] = defaultdict(list)
        self._by_name: dict[str, list[Path]] = defaultdict(list)
        for path in paths:
            below = PurePosixPath(path.relative_to(root))
            for key in (below, below.with_suffix("")):
                self._by_path[str(key)].append(path)
                self._by_name[key.name].append(path)

    def matching(self, file: str) -> list[Path]:
        """The pictures that may be meant; several where only folder or extension differ."""
        wanted = PurePosixPath(file.replace("\\", "/"))
        return self._by_path.get(str(wanted)) or self._by_name.get(wanted.name, [])


def read_rows(table: Path) -> Iterator[Row]:
    """Read a table with a header, separated by comma, semicolon or tab."""
    check_fits(table)
    try:
        with io.TextIOWrapper(open_file(table), "utf-8-sig") as lines:
            text = lines.read()
    except UnicodeDecodeError as error:
        raise CorruptInputError(f"{shown(table)}: is no UTF-8 text: {error}") from error
    except OSError as error:
        raise CorruptInputError(f"{shown(table)}: cannot be read: {error.strerror}") from error
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=max(",;\t", key=text.partition("\n")[0].count)
    )
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        file = _column(table, header, FILE_COLUMNS, "files")
        label = _column(table, header, LABEL_COLUMNS, "labels")
        part = next((at for at, name in enumerate(header) if name in PART_COLUMNS), None)
        for cells in reader:
            place, cells = f"{shown(table)}:{reader.line_num}", [cell.strip() for cell in cells]
            if not any(cells):
                continue
            if len(cells) != len(header):
                raise CorruptInputError(
                    f"{place}: {len(cells)} cells; the header has {len(header)}"
                )
            for at in (file, label):
                if not cells[at]:
                    raise CorruptInputError(f'{place}: "{header[at]}" is empty')
            which = "train" if part is None else part_of(cells[part])
            if which is None:
                raise CorruptInputError(
                    f"{place}: {header[part or 0]} is {cells[part or 0]!r}; write train, "
                    "validation or test"
                )
            yield Row(place, cells[file], cells[label], which)
    except csv.Error as error:
        raise CorruptInputError(f"{shown(table)}:{reader.line_num}: {error}") from error


def _column(table: Path, header: list[str], names: Sequence[str], what: str) -> int:
    """The position of the first of ``names`` that the header has."""
    for name in names:
        if name in header:
            return header.index(name)
    raise ConfigError.at(
        "dataset.labels",
        f"{shown(table)}: no column of {what}, which is called {names[0]}; its first line is: "
        f"{first_of([shown(each[:40]) for each in header], 10)}",
    )
