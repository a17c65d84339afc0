"""Which pictures a dataset has, and their labels: by folders, or by a table of files."""

from __future__ import annotations

import os
import re
import tarfile
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
        parts = {part: [label for _, label in found] for part, found in self.parts.items()}
        belongs = [part for part, labels in parts.items() for _ in labels]
        labels = [label for part in parts.values() for label in part]
        kept: dict[Part, list[int]] = {part: [] for part in parts}
        for at, position in enumerate(reading.kept):
            kept[belongs[position]].append(at)
        names = sorted(set(parts["train"]))
        index = {name: i for i, name in enumerate(names)}
        splits = {}
        for part, chosen in kept.items():
            here = [labels[reading.kept[at]] for at in chosen]
            for lost in sorted(set(parts[part]) - set(here) if part == "train" else set()):
                raise CorruptInputError(f"every training picture of class {lost!r} is damaged")
            if not here:
                raise CorruptInputError(f"every {part} picture is damaged")
            for unknown in sorted(set(here) - index.keys()):
                hint = did_you_mean(unknown, names)
                raise CorruptInputError(
                    f"class {unknown!r} is in the {part} part only{hint}; the training part has "
                    f"{first_of(names, 20)}"
                )
            targets = torch.tensor([index[label] for label in here])
            splits[part] = Split(reading.images[torch.tensor(chosen)], targets)
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
    """Looks into folders and counts what it passes over."""

    extensions: frozenset[str] = field(default_factory=readable_extensions)
    hidden: list[str] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    loose: list[str] = field(default_factory=list)
    """Pictures outside the class folders."""
    empty: list[str] = field(default_factory=list)
    """Folders without pictures."""

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

    def branch(self, path: Path) -> Branch:
        """List a folder and those in it."""
        folder = self.look(path)
        below = [self.look(path / name) for name in folder.folders]
        deep = [each for each in below if self._is_deep(each)]
        filled = [each for each in below if each.pictures or each in deep]
        return Branch(folder, filled, deep, [each for each in below if each not in filled])

    def _is_deep(self, folder: Folder) -> bool:
        """Whether its folders hold a picture; links to folders further down are not followed."""
        for name in folder.folders:
            for _, folders, files in os.walk(folder.path / name):
                folders[:] = [each for each in folders if not is_clutter(each)]
                visible = (Path(each) for each in files if not is_clutter(each))
                if any(each.suffix.lower() in self.extensions for each in visible):
                    return True
        return False

    def _sort_in(self, entry: os.DirEntry[str], found: Folder) -> None:
        if is_clutter(entry.name):
            self.hidden.append(shown(entry.name))
        elif _is_folder(entry):
            found.folders.append(entry.name)
        elif Path(entry.name).suffix.lower() in self.extensions and _is_file(entry):
            found.pictures.append(entry.name)
        else:
            found.others[Path(entry.name).suffix.lower() or "without extension"] += 1

    def found(self, parts: Mapping[Part, list[tuple[Path, str]]]) -> Found:
        """These parts, and what was passed over."""
        hidden = _line(len(self.hidden), "hidden entr", "y", "ies", sorted(set(self.hidden)))
        lines = [
            *_line(
                self.others.total(),
                "file",
                " that Pillow does not read",
                "s that Pillow does not read",
                extensions(self.others),
            ),
            *_line(
                len(self.loose),
                "picture",
                " outside the class folders",
                "s outside the class folders",
                self.loose,
            ),
            *_line(
                len(self.empty), "folder", " without pictures", "s without pictures", self.empty
            ),
        ]
        return Found(parts, [*hidden, *lines], [f"skipped {line}" for line in lines])


def _line(count: int, stem: str, one: str, several: str, names: Sequence[str]) -> list[str]:
    """``["2 files that Pillow does not read: 1 .heic, 1 .svg"]``; none for 0."""
    return [f"{count:,} {stem}{one if count == 1 else several}: {first_of(names)}"] * (count > 0)


def extensions(others: Counter[str]) -> list[str]:
    """``["2 .heic", "1 .txt"]``."""
    return [f"{count:,} {extension}" for extension, count in others.most_common()]


def is_clutter(name: str) -> bool:
    """Whether an entry is hidden, or a system's own."""
    return name.startswith(".") or name.lower() in _CLUTTER


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Whether it is a file, no pipe or device; also a broken link, for decoding to report."""
    try:
        return entry.is_file() or not Path(entry.path).exists()
    except OSError:
        return True


def check_is_folder(path: Path) -> None:
    """Raise ConfigError for a file; say so where it is an archive of pictures."""
    if path.is_dir():
        return
    if not path.is_file():
        raise ConfigError.at("dataset.path", f"{shown(path)}: is no folder")
    if path.suffix in (".npz", ".csv"):
        advice = f"dataset.name: {path.suffix[1:]} reads it"
    elif zipfile.is_zipfile(path) or tarfile.is_tarfile(path):
        advice = "it is an archive: unpack it, and give the folder"
    else:
        advice = "give the folder that holds the pictures"
    raise ConfigError.at("dataset.path", f"{shown(path)}: is a file; {advice}")


_BY_TABLE = "or list them in a table: labels: labels.csv, with the columns file and label"


def find_by_folders(root: Path) -> Found:
    """Take the folders for classes, or for parts that hold a folder for each class.

    Raises ConfigError for every other layout; it says what was seen, and what to write.
    """
    scan = Scan()
    top = scan.look(root)
    layout = _Layout(root, top, [scan.branch(root / name) for name in top.folders])
    scan.loose += map(shown, top.pictures)
    parts = layout.parts()
    scan.empty += [branch.name for branch in layout.unused()]
    return scan.found(parts)


@dataclass(frozen=True)
class Branch:
    """A folder of the second level, and what is below."""

    folder: Folder
    nested: list[Folder]
    """Its folders that hold pictures, at any depth."""
    deep: list[Folder]
    """Those of them whose own folders hold pictures."""
    empty: list[Folder]
    """Its other folders."""

    @property
    def name(self) -> str:
        """The name of the folder, for messages."""
        return shown(self.folder.path.name)

    @property
    def has_pictures(self) -> bool:
        """Whether there are any, at any depth."""
        return bool(self.folder.pictures or self.nested)

    def __str__(self) -> str:
        """What it holds, for messages: ``test/ (5 pictures)``, ``train/ (folders cat, dog)``."""
        holds = [counted(len(self.folder.pictures), "picture")] if self.folder.pictures else []
        if self.nested:
            noun = "folder" if len(self.nested) == 1 else "folders"
            holds.append(f"{noun} {first_of([shown(each.path.name) for each in self.nested])}")
        if not holds:
            holds += ["no pictures", *extensions(self.folder.others)]
        return f"{self.name}/ ({', '.join(holds)})"


@dataclass(frozen=True)
class _Layout:
    """The two upper levels of a dataset's folder."""

    root: Path
    top: Folder
    branches: list[Branch]

    def parts(self) -> dict[Part, list[tuple[Path, str]]]:
        """The labelled pictures of each part; a folder of classes alone is the training part."""
        filled = [each for each in self.branches if each.has_pictures]
        if not filled:
            raise self._no_classes()
        named = {branch.name: part_of(branch.name) for branch in filled}
        if any(named.values()):
            self._check_parts(filled, named)
            return {part: self._classes_of(b, part) for b in filled if (part := named[b.name])}
        self._check_classes(filled)
        return {"train": _labelled([each.folder for each in self.branches])}

    def unused(self) -> list[Branch]:
        """Folders without pictures, which `parts` allows only next to parts."""
        return [each for each in self.branches if not each.has_pictures]

    def _no_classes(self) -> ConfigError:
        if self.top.pictures:
            return self._error(
                f"{counted(len(self.top.pictures), 'picture')} and no class folders; put them into "
                f"a folder for each class, {_BY_TABLE}"
            )
        seen = f": {self._seen(self.branches)}" if self.branches else ""
        files = f" ({first_of(extensions(self.top.others))})" if self.top.others else ""
        return self._error(f"no pictures{files}{seen}; it must hold a folder for each class")

    def _check_parts(self, filled: list[Branch], named: Mapping[str, Part | None]) -> None:
        parts = [branch for branch in filled if named[branch.name] is not None]
        others = [branch for branch in filled if named[branch.name] is None]
        flat = [branch for branch in parts if branch.folder.pictures]
        if others:
            names = " and ".join(each.name for each in parts)
            raise self._refused(
                filled,
                f"{names} {'looks' if len(parts) == 1 else 'look'} like a part, the others do "
                f"not; move the classes into a folder train, or rename or take out {names}",
            )
        if flat:
            raise self._refused(
                filled,
                f"each part needs a folder for each class, and {flat[0].name} has pictures of its "
                f"own; sort them into such folders, or take {flat[0].name} out "
                f"(`regrun predict` takes pictures without labels), {_BY_TABLE}",
            )
        twice = [part for part, count in Counter(named.values()).items() if count > 1]
        if twice:
            raise self._refused(filled, f"two of them are a {twice[0]} part; merge them")
        if "train" not in named.values():
            raise self._refused(
                filled, "there is no train part; rename one, or give one as dataset.path"
            )

    def _classes_of(self, branch: Branch, part: Part) -> list[tuple[Path, str]]:
        """The labelled pictures of a part, whose folders without pictures are classes it lacks."""
        for folder in branch.deep:
            inner = first_of([shown(name) for name in folder.folders])
            raise self._error(
                f"{branch.name}/{shown(folder.path.name)} holds folders ({inner}) with pictures; "
                f"those of a class must lie directly in its folder, {_BY_TABLE}"
            )
        if part == "train":
            for folder in branch.empty:
                holds = first_of(["no pictures", *extensions(folder.others)])
                raise self._error(
                    f"{branch.name}/{shown(folder.path.name)} holds {holds}; take it out, or "
                    "convert its files"
                )
        return _labelled(branch.nested)

    def _check_classes(self, filled: list[Branch]) -> None:
        deep = [branch for branch in filled if branch.nested]
        if len(filled) == 1 and deep:
            raise self._refused(
                filled, f"did you mean dataset.path: {shown(self.root / deep[0].name)}?"
            )
        if deep:
            common = set.intersection(
                *({shown(each.path.name) for each in branch.nested} for branch in deep)
            )
            parts = "if they are parts, name them train, validation and test; "
            raise self._refused(
                filled,
                f"{parts if len(deep) > 1 and common else ''}the pictures of a class must lie "
                f"directly in its folder, {_BY_TABLE}",
            )
        alike = _differ_by_part(filled)
        if alike:
            raise self._refused(
                filled,
                f"{alike[0].name} and {alike[1].name} look like parts; each part needs a folder "
                f"for each class (train/cat, test/cat, …), {_BY_TABLE}",
            )
        for branch in self.unused():
            raise self._error(f"class folder {branch}; take it out, or convert its files")
        if len(filled) == 1:
            raise self._error(f"one class, {filled[0].name!r}; there must be two")

    def _seen(self, branches: list[Branch]) -> str:
        return first_of([str(branch) for branch in branches], 6)

    def _refused(self, branches: list[Branch], advice: str) -> ConfigError:
        return self._error(f"{self._seen(branches)}: {advice}")

    def _error(self, message: str) -> ConfigError:
        return ConfigError.at("dataset.path", f"{shown(self.root)}: {message}")


def _differ_by_part(branches: Sequence[Branch]) -> tuple[Branch, Branch] | None:
    """Two folders whose names differ only by part: ``dogs_train`` and ``dogs_test``."""
    seen: dict[str, Branch] = {}
    for branch in branches:
        words = re.findall(r"[a-z]+|[A-Z][a-z]*|\d+", branch.name)
        parts = [part_of(word) if word.isalpha() else None for word in words]
        rest = " ".join(word for word, part in zip(words, parts, strict=True) if part is None)
        if any(parts) and rest in seen:
            return seen[rest], branch
        if any(parts):
            seen[rest] = branch
    return None


def _labelled(folders: Sequence[Folder]) -> list[tuple[Path, str]]:
    for folder in folders:
        if shown(folder.path.name) != folder.path.name:
            raise ConfigError.at(
                "dataset.path",
                f"{shown(folder.path)}: the name of this class is not UTF-8; rename it",
            )
    return [
        (folder.path / name, folder.path.name) for folder in folders for name in folder.pictures
    ]
