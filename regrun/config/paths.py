"""Where data lie: found when a config is loaded, and stored so that a project can be moved."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import dropwhile
from pathlib import Path
from typing import Any

from regrun.kinds.datasets import DatasetSection


def found(written: str, folders: Sequence[Path]) -> str:
    """The absolute path of a file in the first of the folders that holds it; these have no links.

    `../../data` is at last looked for as `data` in the last folder: the working directory may be
    the project that a run was moved out of. If there is none, it is that in the last folder; but of
    `../…` that in the first, since only one who knows the place of a file can have written it.

    Symbolic links stay as they are, since another machine may have them point elsewhere.
    """
    try:
        path = Path(written).expanduser()
        candidates = [folder / path for folder in folders]
        below = list(dropwhile(lambda part: part == "..", path.parts))
        fallback = candidates[-1]
        if len(below) < len(path.parts):
            fallback = candidates[0]
            candidates.append(Path(folders[-1], *below))
        chosen = next((each for each in candidates if each.exists()), fallback)
        # Behind a link, `..` is not the folder above, so that it cannot just be struck out.
        return str(chosen.resolve()) if ".." in below else os.path.normpath(chosen)
    except (OSError, RuntimeError, ValueError):  # an impossible name, or no home folder
        return written


def portable(path: str, directory: Path, projects: Iterable[Path]) -> str:
    """A path as a file in ``directory`` stores it.

    It is relative to the directory if one of the projects holds both, else as it is. The root of
    the file system is no project: nothing is moved together with it.
    """
    here = directory.resolve()
    for project in (each.resolve() for each in projects):
        if project == Path(project.anchor) or not here.is_relative_to(project):
            continue
        for each in (Path(path), Path(path).resolve()):
            if each.is_relative_to(project):
                return os.path.relpath(each, here)
    return path


def with_portable_paths(
    tree: Mapping[str, Any], directory: Path, projects: Iterable[Path]
) -> dict[str, Any]:
    """A config as it is stored in ``directory``."""
    folders = tuple(projects)
    return with_paths(tree, lambda _, path: portable(path, directory, folders))


def with_absolute_paths(tree: Mapping[str, Any], directory: Path) -> dict[str, Any]:
    """A config that was stored in ``directory``, with its paths as they were loaded."""
    here = directory.resolve()
    return with_paths(tree, lambda _, path: os.path.normpath(here / path))


def with_paths(tree: Mapping[str, Any], change: Callable[[str, str], str]) -> dict[str, Any]:
    """The config with each of its data paths replaced by ``change(key, path)``."""
    changed, dataset = dict(tree), tree.get("dataset")
    if isinstance(dataset, Mapping):
        given = {key: dataset.get(key) for key in DatasetSection.path_keys}
        paths = {key: path for key, path in given.items() if isinstance(path, str) and path}
        changed["dataset"] = {**dataset} | {key: change(key, paths[key]) for key in paths}
    return changed
