"""The picture files of a dataset: found in its folder, with their parts and labels."""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import torch

from regrun.data.dataset import Split
from regrun.data.pictures import Reading, counted, first_of, readable_extensions, shown
from regrun.errors import ConfigError, CorruptInputError
from regrun.suggest import did_you_mean

Part = Literal["train", "validation", "test"]

_WORDS: Mapping[Part, str] = {
    "train": "train|training|trainval|trn",
    "validation": "val|valid|validation|validate|dev|devel|development",
    "test": "test|testing|tst",
}
_FILLER = "(set|data|split|image|images|img|imgs|picture|pictures|pic|pics|photo|photos|samples)*"

_CLUTTER = {"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir", "$recycle.bin"}
"""What systems leave in folders, apart from names that begin with a dot."""


def part_of(name: str) -> Part | None:
    """The part that a folder's name stands for: ``Training``, ``test_images``, ``val2017``."""
    letters = re.sub(r"[\W\d_]+", "", name).lower()
    matches = (part for part, words in _WORDS.items() if re.fullmatch(_pattern(words), letters))
    return next(matches, None)


def _pattern(words: str) -> str:
    return f"{_FILLER}({words}){_FILLER}"


@dataclass(frozen=True)
class Found:
    """The pictures of a dataset."""

    parts: Mapping[Part, list[tuple[Path, str]]]
    """Part → its pictures and their labels."""
    skipped: list[str]
    """What was passed over, a line for each reason."""
    notes: list[str]
    """Those of these lines that may matter."""

    @property
    def files(self) -> list[Path]:
        """The pictures of all parts, part after part."""
        return [path for pictures in self.parts.values() for path, _ in pictures]

    def splits(self, reading: Reading) -> tuple[dict[Part, Split], list[str]]:
        """The read pictures of each part with the indices of their classes; and their names.

        The classes are those of the training part. Raises CorruptInputError for a class that only
        another part has, and for a class or a part that has no undamaged pictures.
        """
        names = sorted({label for _, label in self.parts["train"]})
        index = {name: i for i, name in enumerate(names)}
        kept = set(reading.kept)
        splits: dict[Part, Split] = {}
        begin = 0
        for part, pictures in self.parts.items():
            labels = [label for at, (_, label) in enumerate(pictures, begin) if at in kept]
            begin += len(pictures)
            if not labels:
                raise CorruptInputError(f"every {part} picture is damaged")
            for name in sorted({*labels} ^ {*names}):
                if name not in index:
                    raise CorruptInputError(
                        f"class {name!r} is in the {part} part only{did_you_mean(name, names)}; "
                        f"the training part has {first_of(names, 20)}"
                    )
                if part == "train":
                    raise CorruptInputError(f"every training picture of class {name!r} is damaged")
            done = sum(map(len, splits.values()))
            images = reading.images[done : done + len(labels)]
            splits[part] = Split(images, torch.tensor([index[label] for label in labels]))
        return splits, names


@dataclass(frozen=True)
class Folder:
    """The visible entries of one folder, sorted."""

    path: Path
    folders: list[str]
    pictures: list[str]
    others: Counter[str]
    """Extension of files that Pillow does not read → their number."""


@dataclass
class Scan:
    """Looks into the folders below a root, also into linked ones, and counts what it passes over.

    A link to a folder that holds the link, or the root, is passed over: a walk would never end, or
    would leave for the whole disk.
    """

    root: Path
    extensions: frozenset[str] = field(default_factory=readable_extensions)
    hidden: list[str] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    special: list[str] = field(default_factory=list)
    """Pipes, sockets and devices."""
    upward: list[str] = field(default_factory=list)
    """Links to folders that hold them."""
    again: list[str] = field(default_factory=list)
    """Links to folders that were read already."""
    loose: list[str] = field(default_factory=list)
    """Pictures without a class."""
    empty: list[str] = field(default_factory=list)
    """Folders without pictures."""
    missing: list[str] = field(default_factory=list)
    """Pictures that a table lists and that do not exist."""
    links: set[Path] = field(default_factory=set)
    """Pictures that are links."""

    def look(self, path: Path) -> Folder:
        """List a folder. Raises ConfigError where it cannot be read."""
        found = Folder(path, [], [], Counter())
        try:
            with os.scandir(path) as entries:
                for entry in sorted(entries, key=lambda each: each.name):
                    self._sort_in(entry, found)
        except OSError as error:
            message = f"{shown(path)}: cannot be read: {error.strerror}"
            raise ConfigError.at("dataset.path", message) from error
        self.others.update(found.others)
        return found

    def tree(self) -> list[Path]:
        """The pictures at any depth; a folder that several links lead to is listed once.

        A folder of the tree is listed at its own place, even if a link leads to it, too.
        """
        seen = {self.root.resolve()}
        folders, linked, pictures = [self.root], list[Path](), []
        while folders or linked:
            path = folders.pop() if folders else linked.pop()
            real = path.resolve()
            if real in seen and path != self.root:
                self.again.append(self._shown(path))
                continue
            seen.add(real)
            here = self.look(path)
            pictures += [path / name for name in here.pictures]
            for name in reversed(here.folders):
                (linked if (path / name).is_symlink() else folders).append(path / name)
        return sorted(pictures)

    def holds_pictures(self, path: Path) -> bool:
        """Whether there is a picture at any depth; links to folders are not followed."""
        for _, folders, files in os.walk(path):
            folders[:] = [each for each in folders if not is_clutter(each)]
            visible = (Path(each) for each in files if not is_clutter(each))
            if any(each.suffix.lower() in self.extensions for each in visible):
                return True
        return False

    def _sort_in(self, entry: os.DirEntry[str], found: Folder) -> None:
        suffix, path = Path(entry.name).suffix.lower(), found.path / entry.name
        mode = _mode(entry)
        if is_clutter(entry.name):
            self.hidden.append(shown(entry.name))
        elif stat.S_ISDIR(mode) and entry.is_symlink() and self._leads_up(path):
            self.upward.append(self._shown(path))
        elif stat.S_ISDIR(mode):
            found.folders.append(entry.name)
        elif not stat.S_ISREG(mode):
            self.special.append(self._shown(path))
        elif suffix in self.extensions:
            found.pictures.append(entry.name)
            if entry.is_symlink():
                self.links.add(path)
        else:
            found.others[suffix or "without extension"] += 1

    def _leads_up(self, link: Path) -> bool:
        """Whether a link to a folder leads to one that holds the link itself, or the root."""
        target = link.resolve()
        return any(each.is_relative_to(target) for each in (link.parent.resolve(), self._real_root))

    @cached_property
    def _real_root(self) -> Path:
        return self.root.resolve()

    def _shown(self, path: Path) -> str:
        return shown(path.relative_to(self.root))

    def _doubled(self, files: Sequence[Path]) -> list[str]:
        """Links among the files to others of them."""
        if self.links.isdisjoint(files):
            return []
        folders = {path: path.resolve() for path in {path.parent for path in files}}
        real = {
            path: Path(os.path.realpath(path))
            if path in self.links
            else folders[path.parent] / path.name
            for path in files
        }
        count = Counter(real.values())
        return [self._shown(path) for path in files if path in self.links and count[real[path]] > 1]

    def found(self, parts: Mapping[Part, list[tuple[Path, str]]]) -> Found:
        """These parts, and what was passed over."""
        hidden = [("hidden entry", "hidden entries", len(self.hidden), sorted({*self.hidden}))]
        others = extensions(self.others)
        passed = [
            ("file that Pillow does not read", "files that Pillow does not read",
             self.others.total(), others),
            ("entry that is no file", "entries that are no files", len(self.special), self.special),
            ("link to a folder above it", "links to folders above them", len(self.upward),
             self.upward),
            ("link to a folder that was read already", "links to folders that were read already",
             len(self.again), self.again),
            ("picture without a class", "pictures without a class", len(self.loose), self.loose),
            ("folder without pictures", "folders without pictures", len(self.empty), self.empty),
            ("missing picture", "missing pictures", len(self.missing), self.missing),
        ]  # fmt: skip
        lines = [
            f"{count:,} {one if count == 1 else several}: {first_of(names)}"
            for one, several, count, names in hidden + passed
            if count
        ]
        notes = [f"skipped {line}" for line in lines[bool(self.hidden) :]]
        found = Found(parts, lines, notes)
        doubled = self._doubled(found.files)
        if doubled:
            notes.append(
                f"{counted(len(doubled), 'picture')} linked to others of this dataset, so that "
                f"these count again: {first_of(doubled)}"
            )
        return found


def extensions(others: Counter[str]) -> list[str]:
    """``["2 .heic", "1 .txt"]``."""
    return [f"{count:,} {extension}" for extension, count in others.most_common() if count]


def is_clutter(name: str) -> bool:
    """Whether an entry is hidden, or a system's own."""
    return name.startswith(".") or name.lower() in _CLUTTER


def _mode(entry: os.DirEntry[str]) -> int:
    """What kind of thing an entry is; a broken link is a file, for decoding to report."""
    try:
        return entry.stat().st_mode
    except OSError:
        return stat.S_IFREG
