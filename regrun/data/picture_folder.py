"""Folders of pictures: taken for classes, or for parts that hold the classes."""

from __future__ import annotations

import os
import re
import tarfile
import zipfile
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from regrun.data.picture_files import Folder, Found, Part, Scan, extensions, part_of
from regrun.data.pictures import counted, first_of, shown
from regrun.errors import ConfigError, CorruptInputError


def check_is_folder(path: Path) -> None:
    """Raise ConfigError for a file; say so where it is an archive of pictures."""
    if path.is_dir():
        return
    if not path.is_file():
        raise ConfigError.at("dataset.path", f"{shown(path)}: is no folder")
    if path.suffix in (".npz", ".csv"):
        advice = f"dataset.name: {path.suffix[1:]} reads it"
    elif os.access(path, os.R_OK) and (zipfile.is_zipfile(path) or tarfile.is_tarfile(path)):
        advice = "it is an archive: unpack it, and give the folder"
    else:
        advice = "give the folder that holds the pictures"
    raise ConfigError.at("dataset.path", f"{shown(path)}: is a file; {advice}")


def find_by_folders(root: Path) -> Found:
    """Take the folders for classes, or for parts that hold a folder for each class.

    Raises ConfigError for every other layout; it says what was seen, and what to write.
    """
    scan = Scan(root)
    top = scan.look(root)
    layout = _Layout(root, top, [Branch.at(root / name, scan) for name in top.folders])
    scan.loose += map(shown, top.pictures)
    parts = layout.parts()
    _check_distinct(root, parts)
    scan.empty += [branch.name for branch in layout.unused()]
    return scan.found(parts)


@dataclass(frozen=True)
class NewPictures:
    """Pictures to predict."""

    paths: list[Path]
    labels: list[str] | None
    """The class of each, where they lie in folders that are named after classes."""
    skipped: list[str]


def find_new(path: Path, classes: Collection[str]) -> NewPictures:
    """Take one picture, or all of a folder at any depth. classes: those of the training set.

    Raises CorruptInputError for a folder without pictures, ConfigError for one that cannot be read.
    """
    if not path.is_dir():
        return NewPictures([path], None, [])
    scan = Scan(path)
    found = scan.tree()
    if not found:
        there = f" ({first_of(extensions(scan.others))})" if scan.others else ""
        raise CorruptInputError(f"{shown(path)}: no pictures{there}")
    labelled = all(each.parent.parent == path and each.parent.name in classes for each in found)
    labels = [each.parent.name for each in found] if labelled else None
    return NewPictures(found, labels, scan.found({}).skipped)


@dataclass(frozen=True)
class Branch:
    """A folder in that of the dataset, and what is below."""

    folder: Folder
    nested: list[Folder]
    """Its folders that hold pictures, at any depth."""
    deep: list[Folder]
    """Those of them whose own folders hold pictures."""
    empty: list[Folder]
    """Its other folders."""

    @classmethod
    def at(cls, path: Path, scan: Scan) -> Branch:
        """List a folder and those in it."""
        folder = scan.look(path)
        below = [scan.look(path / name) for name in folder.folders]
        deep = [
            each
            for each in below
            if any(scan.holds_pictures(each.path / name) for name in each.folders)
        ]
        filled = [each for each in below if each.pictures or each in deep]
        return cls(folder, filled, deep, [each for each in below if each not in filled])

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
                f"a folder for each class, {self._by_table}"
            )
        seen = f": {self._seen(self.branches)}" if self.branches else ""
        files = f" ({first_of(extensions(self.top.others))})" if self.top.others else ""
        return self._error(f"no pictures{files}{seen}; it must hold a folder for each class")

    def _check_parts(self, filled: list[Branch], named: Mapping[str, Part | None]) -> None:
        parts = [branch for branch in filled if named[branch.name] is not None]
        others = [branch for branch in filled if named[branch.name] is None]
        flat = [branch for branch in parts if branch.folder.pictures]
        if others:
            names, rest = (" and ".join(each.name for each in these) for these in (parts, others))
            advice = (
                f"rename {rest} to train, validation or test, or take it out"
                if all(each.nested for each in others)
                else f"move the classes into a folder train, or rename or take out {names}"
            )
            raise self._refused(
                filled,
                f"{names} {'looks' if len(parts) == 1 else 'look'} like a part, the others do "
                f"not; {advice}",
            )
        if flat:
            raise self._refused(
                filled,
                f"each part needs a folder for each class, and {flat[0].name} has pictures of its "
                f"own; sort them into such folders, {self._by_table}; or take them out, since "
                "`regrun predict` takes pictures without labels",
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
                f"those of a class must lie directly in its folder, {self._by_table}"
            )
        if part == "train":
            for folder in branch.empty:
                holds = first_of(["no pictures", *extensions(folder.others)])
                raise self._error(
                    f"{branch.name}/{shown(folder.path.name)} holds {holds}; take it out, or "
                    "convert its files"
                )
            self._check_two([shown(folder.path.name) for folder in branch.nested])
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
                f"directly in its folder, {self._by_table}",
            )
        alike = _differ_by_part(filled)
        if alike:
            raise self._refused(
                filled,
                f"{alike[0].name} and {alike[1].name} look like parts; each part needs a folder "
                f"for each class (train/cat, test/cat, …), {self._by_table}",
            )
        for branch in self.unused():
            raise self._error(f"class folder {branch}; take it out, or convert its files")
        self._check_two([branch.name for branch in filled])

    def _check_two(self, classes: list[str]) -> None:
        if len(classes) == 1:
            raise self._error(
                f"one class, {classes[0]!r}; put the pictures into a folder for each class, "
                f"{self._by_table}"
            )

    @property
    def _by_table(self) -> str:
        table = next(iter(sorted(self.root.glob("*.csv"))), Path("labels.csv"))
        return f"or list them in a table: labels: {table.name}, with the columns file and label"

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


def _check_distinct(root: Path, parts: Mapping[Part, list[tuple[Path, str]]]) -> None:
    """Raise ConfigError where two of the folders are links to one."""
    folders = sorted({path.parent for pictures in parts.values() for path, _ in pictures})
    seen: dict[Path, Path] = {}
    for folder in folders:
        first = seen.setdefault(folder.resolve(), folder)
        if first != folder:
            one, other = (shown(each.relative_to(root)) for each in (first, folder))
            message = f"{shown(root)}: {one} and {other} are one folder; take one of them out"
            raise ConfigError.at("dataset.path", message)


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
