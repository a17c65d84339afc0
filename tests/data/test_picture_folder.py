"""Which folders are taken for classes, which for parts, and which layouts are refused."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from regrun.data.picture_files import part_of
from regrun.data.picture_folder import check_is_folder, find_by_folders, find_new
from regrun.data.picture_table import find_by_table
from regrun.errors import ConfigError, CorruptInputError


def make(root: Path, *files: str) -> Path:
    """Write these files below root: pictures by their extension, else empty ones."""
    for name in files:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".png":
            Image.new("RGB", (4, 4)).save(path)
        else:
            path.touch()
    return root


def found(root: Path) -> dict[str, list[str]]:
    """Part → the paths of its pictures, which hold their labels."""
    parts = find_by_folders(root).parts
    for pictures in parts.values():
        assert all(path.parent.name == label for path, label in pictures)
    return {
        part: [path.relative_to(root).as_posix() for path, _ in pictures]
        for part, pictures in parts.items()
    }


def refusal(root: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        find_by_folders(root)
    (problem,) = caught.value.problems
    assert problem.path == ("dataset", "path")
    return str(problem)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("train", "train"), ("Training", "train"), ("TRAIN", "train"), ("training_set", "train"),
        ("Training Set", "train"), ("trainset", "train"), ("train_images", "train"),
        ("images-train", "train"), ("train2017", "train"), ("trn", "train"),
        ("val", "validation"), ("valid", "validation"), ("Validation", "validation"),
        ("validation_set", "validation"), ("dev", "validation"), ("val_data", "validation"),
        ("test", "test"), ("Testing", "test"), ("test_set", "test"), ("TestSet", "test"),
        ("train_station", None), ("testimony", None), ("contest", None), ("invalid", None),
        ("device", None), ("cat", None), ("set", None), ("", None), ("seg_train", None),
    ],
)  # fmt: skip
def test_usual_names_are_parts(name: str, part: str | None) -> None:
    assert part_of(name) == part


def test_classes_and_files_are_sorted(tmp_path: Path) -> None:
    make(tmp_path, "dog/b.png", "dog/a.png", "cat/10.png", "cat/9.PNG", "Zebra/z.png")
    (tmp_path / "cat/9.PNG").write_bytes((tmp_path / "dog/a.png").read_bytes())
    assert found(tmp_path) == {
        "train": ["Zebra/z.png", "cat/10.png", "cat/9.PNG", "dog/a.png", "dog/b.png"]
    }


@pytest.mark.parametrize(
    ("train", "test", "validation"),
    [
        ("train", "test", "val"),
        ("Training", "Testing", "Validation"),
        ("training_set", "test_set", "validation_set"),
        ("Train", "Test", "valid"),
        ("trn", "tst", "dev"),
    ],
)
def test_parts_hold_class_folders(tmp_path: Path, train: str, test: str, validation: str) -> None:
    files = {"train": train, "test": test, "validation": validation}
    for folder in files.values():
        make(tmp_path, f"{folder}/cat/1.png", f"{folder}/dog/1.png")
    assert found(tmp_path) == {
        part: [f"{folder}/cat/1.png", f"{folder}/dog/1.png"] for part, folder in files.items()
    }


def test_a_part_may_lack_a_class_and_other_folders_may_hold_no_pictures(tmp_path: Path) -> None:
    make(tmp_path, "train/a/1.png", "train/b/1.png", "test/a/1.png", "annotations/a.xml")
    (tmp_path / "test" / "b").mkdir()
    assert found(tmp_path)["test"] == ["test/a/1.png"]
    assert "1 folder without pictures: annotations" in find_by_folders(tmp_path).skipped


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (["cat/1.png", "dog/1.png", "test/1.png"], ["test/ (1 picture)", "looks like a part"]),
        (["cat/1.png", "dog/1.png", "test/cat/1.png"], ["test/ (folder cat)", "folder train"]),
        (["bus/1.png", "train/1.png"], ["train looks like a part"]),
        (["train/a/1.png", "train/b/1.png", "test/1.png"], ["test has pictures of its own"]),
        (["train/1.png", "test/1.png"], ["each part needs a folder for each class"]),
        (["train/a/1.png", "training/a/1.png"], ["two of them are a train part"]),
        (["val/a/1.png", "test/a/1.png"], ["no train part"]),
        (["train/a/1.png", "unlabeled/1.png"], ["train/ (folder a), unlabeled/ (1 picture)"]),
        (["train/a/1.png", "train/b/x/1.png"], ["train/b holds folders (x)"]),
        (["train/a/1.png", "train/b/x.heic"], ["train/b holds no pictures, 1 .heic"]),
        (["part1/a/1.png", "part1/b/1.png", "part2/a/1.png", "part2/b/1.png"],
         ["part1/ (folders a, b), part2/ (folders a, b)", "name them train, validation and test"]),
        (["seg_train/a/1.png", "seg_test/a/1.png"], ["name them train, validation and test"]),
        (["cat/train/1.png", "dog/train/1.png"], ["cat/ (folder train)"]),
        (["cat/persian/1.png", "dog/1.png"], ["must lie directly in its folder", "labels.csv"]),
        (["a/1.png", "a/more/2.png", "b/1.png"], ["a/ (1 picture, folder more)"]),
        (["archive/a/1.png", "archive/b/1.png"], ["did you mean dataset.path: ", "archive?"]),
        (["dogs_train/1.png", "dogs_test/1.png"], ["dogs_test and dogs_train look like parts"]),
        (["trainSmall/1.png", "testSmall/1.png"], ["look like parts"]),
        (["1.png", "2.png", "t.csv"], ["2 pictures and no class folders", "labels: t.csv"]),
        (["images/1.png", "t.csv"], ["one class, 'images'", "labels: t.csv"]),
        (["train/a/1.png", "eval/a/1.png"], ["rename eval to train, validation or test"]),
        (["a/1.png", "b/1.heic", "b/2.heic"], ["b/ (no pictures, 2 .heic)"]),
        (["a/1.png"], ["one class, 'a'"]),
        (["train/a/1.png", "test/a/1.png"], ["one class, 'a'"]),
        (["readme.md"], ["no pictures (1 .md)"]),
        ([".git/a/1.png"], ["no pictures"]),
    ],
)  # fmt: skip
def test_other_layouts_are_refused(tmp_path: Path, files: list[str], said: list[str]) -> None:
    message = refusal(make(tmp_path, *files))
    assert str(tmp_path) in message
    for words in said:
        assert words in message


def test_hidden_files_and_those_of_the_system_are_skipped_and_counted(tmp_path: Path) -> None:
    make(
        tmp_path, ".ipynb_checkpoints/1.png", ".DS_Store", "__MACOSX/a/._1.png", "a/1.png",
        "a/._1.png", "a/Thumbs.db", "a/.ipynb_checkpoints/1-checkpoint.png", "b/1.png",
        "b/desktop.ini", "b/@eaDir/1.png",
    )  # fmt: skip
    assert found(tmp_path) == {"train": ["a/1.png", "b/1.png"]}
    assert find_by_folders(tmp_path).skipped == [
        "8 hidden entries: .DS_Store, ._1.png, .ipynb_checkpoints, @eaDir, Thumbs.db and 2 more"
    ]
    assert find_by_folders(tmp_path).notes == []


def test_what_pillow_does_not_read_is_counted_and_named(tmp_path: Path) -> None:
    make(tmp_path, "a/1.png", "a/2.heic", "a/3.heic", "b/1.png", "b/2.svg", "b/noname", "c.png")
    lines = [
        "4 files that Pillow does not read: 2 .heic, 1 .svg, 1 without extension",
        "1 picture without a class: c.png",
    ]
    result = find_by_folders(tmp_path)
    assert result.skipped == lines
    assert result.notes == [f"skipped {line}" for line in lines]


def test_links_that_lead_nowhere_are_kept_for_decoding_to_name(tmp_path: Path) -> None:
    make(tmp_path, "a/1.png", "b/1.png")
    (tmp_path / "b" / "2.png").symlink_to("missing.png")
    (tmp_path / "b" / "3.png").symlink_to("3.png")
    assert found(tmp_path)["train"][2:] == ["b/2.png", "b/3.png"]


UPWARD = {
    "the root": "{root}",
    "the root, from below": "..",
    "the folder itself": ".",
    "the folder above the root": "{root}/..",
    "the whole disk": "/",
    "a link to the whole disk": "{root}/../disk",
}


@pytest.mark.parametrize("target", UPWARD)
@pytest.mark.parametrize("place", ["more", "b/more", "b/deep/more"])
@pytest.mark.parametrize("reader", ["folders", "new", "table"])
def test_links_to_folders_above_are_passed_over(
    tmp_path: Path, target: str, place: str, reader: str
) -> None:
    root = make(tmp_path / "root", "a/1.png", "b/1.png", "b/deep/text.txt")
    (tmp_path / "disk").symlink_to("/")
    link = root / place
    link.symlink_to(UPWARD[target].format(root=root))
    (tmp_path / "t.csv").write_text("file,label\na/1,x\nb/1,y\n")
    if reader == "folders":
        read = find_by_folders(root)
        assert read.files == [root / "a/1.png", root / "b/1.png"]
        assert read.skipped[-1] == f"1 link to a folder above it: {place}"
    elif reader == "new":
        new = find_new(root, [])
        assert new.paths == [root / "a/1.png", root / "b/1.png"]
        assert new.skipped[-1] == f"1 link to a folder above it: {place}"
    else:
        read = find_by_table(root, tmp_path / "t.csv", skip_missing=False)
        assert read.files == [root / "a/1.png", root / "b/1.png"]
        assert read.skipped[-1] == f"1 link to a folder above it: {place}"


def test_a_class_may_be_a_link_to_a_folder_elsewhere(tmp_path: Path) -> None:
    make(tmp_path / "elsewhere", "cats/1.png", "cats/2.png")
    root = make(tmp_path / "root", "dog/1.png")
    (root / "cat").symlink_to(tmp_path / "elsewhere" / "cats")
    assert found(root) == {"train": ["cat/1.png", "cat/2.png", "dog/1.png"]}
    (tmp_path / "elsewhere" / "cats" / "back").symlink_to(tmp_path)
    assert found(root) == {"train": ["cat/1.png", "cat/2.png", "dog/1.png"]}
    assert find_by_folders(root).notes == ["skipped 1 link to a folder above it: cat/back"]


@pytest.mark.parametrize(
    ("link", "target", "said"),
    [
        ("root/cat", "../elsewhere", "cat and owl are one folder"),
        ("root/cat", "dog", "cat and dog are one folder"),
        ("parts/test/dog", "../train/dog", "test/dog and train/dog are one folder"),
        ("parts/test", "train", "test/cat and train/cat are one folder"),
    ],
)
def test_two_classes_or_parts_that_are_one_folder_are_refused(
    tmp_path: Path, link: str, target: str, said: str
) -> None:
    make(tmp_path, "root/dog/1.png", "elsewhere/1.png", "parts/train/cat/1.png")
    make(tmp_path, "parts/train/dog/1.png")
    (tmp_path / "root" / "owl").symlink_to(tmp_path / "elsewhere")
    path = tmp_path / link
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(target)
    assert f"{said}; take one of them out" in refusal(tmp_path / link.partition("/")[0])


def test_a_picture_that_is_linked_to_another_counts_again_and_is_named(tmp_path: Path) -> None:
    root = make(tmp_path / "root", "a/1.png", "a/2.png", "b/1.png")
    make(tmp_path, "elsewhere/3.png")
    (root / "b" / "2.png").symlink_to("../a/1.png")
    (root / "b" / "3.png").symlink_to(tmp_path / "elsewhere" / "3.png")
    assert found(root)["train"][2:] == ["b/1.png", "b/2.png", "b/3.png"]
    assert find_by_folders(root).notes == [
        "1 picture linked to others of this dataset, so that these count again: b/2.png"
    ]


def test_a_class_name_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    make(tmp_path, "a/1.png", "b/1.png")
    (tmp_path / "b").rename(tmp_path / os.fsdecode(b"b\xe9"))
    assert r"b\udce9: the name of this class is not UTF-8" in refusal(tmp_path)


def test_a_folder_that_cannot_be_listed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "a/1.png", "b/1.png")
    scandir = os.scandir

    def refuse(path: Path) -> object:
        if Path(path).name == "b":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert f"{tmp_path / 'b'}: cannot be read: Permission denied" in refusal(tmp_path)


def test_archives_and_other_files_are_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "pics.zip", "w") as archive:
        archive.writestr("a", "b")
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "a.npz").write_bytes(b"")
    for name, advice in (
        ("pics.zip", "is an archive: unpack it"),
        ("a.png", "give the folder"),
        ("a.npz", "dataset.name: npz reads it"),
    ):
        with pytest.raises(ConfigError, match=advice):
            check_is_folder(tmp_path / name)
    check_is_folder(tmp_path)


def test_new_pictures_are_labelled_where_all_lie_in_folders_of_classes(tmp_path: Path) -> None:
    make(tmp_path, "cat/2.png", "cat/1.png", "dog/1.png", "dog/note.txt", ".hidden/1.png")
    new = find_new(tmp_path, ["cat", "cow", "dog"])
    assert [path.relative_to(tmp_path).as_posix() for path in new.paths] == [
        "cat/1.png", "cat/2.png", "dog/1.png"
    ]  # fmt: skip
    assert new.labels == ["cat", "cat", "dog"]
    assert new.skipped == ["1 hidden entry: .hidden", "1 file that Pillow does not read: 1 .txt"]
    assert find_new(tmp_path, ["cat", "cow"]).labels is None
    make(tmp_path, "loose.png")
    assert find_new(tmp_path, ["cat", "cow", "dog"]).labels is None
    assert find_new(tmp_path / "cat" / "1.png", []).paths == [tmp_path / "cat" / "1.png"]
    (tmp_path / "none").mkdir()
    with pytest.raises(CorruptInputError, match="none: no pictures"):
        find_new(tmp_path / "none", [])


def test_links_in_a_tree_are_followed_once(tmp_path: Path) -> None:
    make(tmp_path / "real", "x/1.png")
    pics = make(tmp_path / "pics", "z/2.png")
    (pics / "linked").symlink_to(tmp_path / "real")
    (pics / "linked again").symlink_to(tmp_path / "real")
    (pics / "inside").symlink_to("z")
    (tmp_path / "real" / "back").symlink_to(pics)
    (tmp_path / "real" / "disk").symlink_to("/")
    new = find_new(pics, [])
    assert new.paths == [pics / "linked/x/1.png", pics / "z/2.png"]
    assert new.skipped == [
        "2 links to folders above them: linked/back, linked/disk",
        "2 links to folders that were read already: inside, linked again",
    ]
