"""Pictures listed in a table: which files are meant, and which tables are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from regrun.data.picture_table import find_by_table
from regrun.errors import ConfigError, CorruptInputError, RegrunError
from tests.support.datasets import dataset_section

FILES = ("a.png", "b.jpg", "0001.png", "sub/c.png", "sub/d.png", "d.d.png")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Six pictures, two of them in a folder."""
    for name in FILES:
        path = tmp_path / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(path)
    return tmp_path / "pictures"


def listed(pictures: Path, text: str, skip_missing: bool = False) -> dict[str, list[list[str]]]:
    """Part → file and label of each picture."""
    table = pictures.parent / "labels.csv"
    table.write_text(text)
    parts = find_by_table(pictures, table, skip_missing=skip_missing).parts
    return {
        part: [[path.relative_to(pictures).as_posix(), label] for path, label in found]
        for part, found in parts.items()
    }


@pytest.mark.parametrize(
    "text",
    [
        "file,label\na.png,cat\nsub/c.png,dog\n0001.png,cat\n",
        "filename,class\na,cat\nc,dog\n0001,cat\n",
        "id;label\na;cat\nsub/c;dog\n1;x\n".replace("1;x", "0001;cat"),
        "\ufeffImage\tLabel\na.png\tcat\nelsewhere/c.png\tdog\n0001\tcat",
        'label,extra,image_id\ncat,"1,\n2",a\ndog,2,sub\\c.png\n\ncat,3,./0001.png\n',
        "name,category\n a.png , cat \nc.png,dog\n0001.png,cat",
    ],
)
def test_files_are_found_by_path_or_name(pictures: Path, text: str) -> None:
    assert listed(pictures, text) == {
        "train": [["a.png", "cat"], ["sub/c.png", "dog"], ["0001.png", "cat"]]
    }


def test_a_column_may_name_the_parts(pictures: Path) -> None:
    text = "file,label,split\na,x,Train\nb,y,training\nc,x,val\nsub/d,y,test\n"
    assert listed(pictures, text) == {
        "train": [["a.png", "x"], ["b.jpg", "y"]],
        "validation": [["sub/c.png", "x"]],
        "test": [["sub/d.png", "y"]],
    }


def test_unlisted_and_missing_files_are_counted_and_named(pictures: Path) -> None:
    table = pictures / "labels.csv"
    table.write_text("file,label\na,x\nb,y\nz,x\n")
    found = find_by_table(pictures, table, skip_missing=True)
    assert found.skipped == [
        "4 pictures without a class: 0001.png, d.d.png, sub/c.png, sub/d.png",
        f"1 missing picture: {table}:4: no picture z",
    ]
    with pytest.raises(CorruptInputError, match=r"labels\.csv:4: no picture z"):
        find_by_table(pictures, table, skip_missing=False)
    table.write_text("file,label\n" + "".join(f"z{i},x\n" for i in range(50)))
    with pytest.raises(CorruptInputError, match="z19\n… and 30 more\n"):
        find_by_table(pictures, table, skip_missing=False)


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("picture file,label\na,x\n", ConfigError, "no column of files.*picture file, label"),
        ("file,breed\na,x\n", ConfigError, "no column of labels, which is called label"),
        ("a.png,cat\nb.jpg,dog\n", ConfigError, "its first line is: a.png, cat"),
        ("", ConfigError, "no column of files"),
        ("file,label\na,x\nb,x\n", ConfigError, "one class, 'x'"),
        ("file,label\n", ConfigError, "no training pictures"),
        ("file,label\na,1.5\nb,2.5\n", ConfigError, "1.5 is a number"),
        ("file,label\na,x\na.png,y\n", CorruptInputError, r":3: a.png is in .*labels\.csv:2"),
        ("file,label\na,x\nb\n", CorruptInputError, r"labels\.csv:3: 1 cells; the header has 2"),
        ("file,label\na,x\nb, \n", CorruptInputError, r'labels\.csv:3: "label" is empty'),
        ("file,label\na,x\n ,y\n", CorruptInputError, r'labels\.csv:3: "file" is empty'),
        ("file,label,split\na,x,fold1\n", CorruptInputError, "split is 'fold1'; write train"),
        ("file,label,split\na,x,\n", CorruptInputError, "split is ''"),
    ],
)
def test_other_tables_are_refused(
    pictures: Path, text: str, error: type[RegrunError], said: str
) -> None:
    with pytest.raises(error, match=said):
        listed(pictures, text)


def test_ambiguous_names_are_refused(pictures: Path) -> None:
    Image.new("RGB", (4, 4)).save(pictures / "sub" / "a.png")
    Image.new("RGB", (4, 4)).save(pictures / "b.png")
    assert listed(pictures, "file,label\na,x\nb.png,y\n")["train"][0] == ["a.png", "x"]
    with pytest.raises(CorruptInputError, match=r":2: b may be b\.jpg, b\.png"):
        listed(pictures, "file,label\nb,x\n")
    with pytest.raises(CorruptInputError, match=r":2: other/a\.png may be a\.png, sub/a\.png"):
        listed(pictures, "file,label\nother/a.png,x\n")


@pytest.mark.parametrize("way", ["../{}", "{root}/../{}", "sub/../../{}", "link/{}", "/etc/{}"])
def test_no_entry_leads_out_of_the_folder(pictures: Path, way: str) -> None:
    (pictures / "link").symlink_to(pictures.parent)
    Image.new("RGB", (4, 4)).save(pictures.parent / "secret.png")
    Image.new("RGB", (4, 4)).save(pictures.parent / "a.png")
    out = way.format("secret.png", root=pictures)
    with pytest.raises(CorruptInputError, match=r":3: no picture .*secret\.png"):
        listed(pictures, f"file,label\nb,x\n{out},y\n")
    inside = way.format("a.png", root=pictures)
    found = listed(pictures, f"file,label\nb,x\n{inside},y\n")
    assert found == {"train": [["b.jpg", "x"], ["a.png", "y"]]}


@pytest.mark.parametrize("content", [b"file,label\n\xff\xfe,x\n", b"PK\x03\x04\xf0\x00"])
def test_a_table_that_is_no_text_is_named(pictures: Path, content: bytes) -> None:
    (pictures / "labels.csv").write_bytes(content)
    with pytest.raises(CorruptInputError, match=r"labels\.csv"):
        find_by_table(pictures, pictures / "labels.csv", skip_missing=False)


def test_the_table_may_lie_in_the_folder_or_outside(
    pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pictures / "labels.csv").write_text(
        "file,label\n" + "".join(f"{name},{'xy'[i % 2]}\n" for i, name in enumerate(FILES))
    )
    keys = {"name": "image_folder", "path": str(pictures), "test": 2}
    monkeypatch.chdir(pictures.parent)
    data = dataset_section(labels="labels.csv", **keys).load()
    assert data.card.sizes == {"train": 4, "test": 2}
    (pictures / "labels.csv").rename(pictures.parent / "own.csv")
    section = dataset_section(labels="own.csv", **keys)
    assert section.load().fingerprint() == data.fingerprint()
    assert not section.has_own_validation()
    with pytest.raises(ConfigError, match=r"dataset\.labels: .*none\.csv"):
        dataset_section(labels="none.csv", **keys).load()
