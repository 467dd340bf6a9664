"""Folders and archives by split and source: what a path stands for, and which ones are refused."""

from collections.abc import Callable
from pathlib import Path

import pytest
from noise_files import save

from gfp_bench.data.archives import write_archive
from gfp_bench.data.indexing import index_folder
from gfp_bench.data.layouts import Place
from gfp_bench.data.layouts.folders import listed
from gfp_bench.data.reader import Files
from gfp_bench.errors import DatasetError


def places(root: Path, *, drawn: bool) -> list[Place]:
    with Files(root) as files:
        return listed(root, files, drawn=drawn)


def test_paths_say_split_and_source(tmp_path: Path) -> None:
    save(tmp_path / "val" / "real" / "deep" / "a.png")
    save(tmp_path / "train" / "gan" / "b.png")
    write_archive(tmp_path / "flow.zip", {"test/deep/c.png": b"c", "train/d.png": b"d"})
    assert places(tmp_path, drawn=False) == [
        ("flow.zip/test/deep/c.png", "flow", "test"),
        ("flow.zip/train/d.png", "flow", "train"),
        ("train/gan/b.png", "gan", "train"),
        ("val/real/deep/a.png", "real", "val"),
    ]


def test_paths_say_the_source_alone_where_splits_are_drawn(tmp_path: Path) -> None:
    save(tmp_path / "real" / "deep" / "a.png")
    write_archive(tmp_path / "flow.zip", {"deep/c.png": b"c", "d.png": b"d"})
    assert places(tmp_path, drawn=True) == [
        ("flow.zip/d.png", "flow", ""),
        ("flow.zip/deep/c.png", "flow", ""),
        ("real/deep/a.png", "real", ""),
    ]


def test_stray_file_is_refused_where_splits_are_drawn_too(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    with pytest.raises(DatasetError, match=r"a.png does not lie in <source>/<file>; move it$"):
        places(tmp_path, drawn=True)


def misplaced_file(root: Path) -> None:
    save(root / "train" / "stray.png")


def unknown_split(root: Path) -> None:
    (root / "val").rename(root / "validation")


def linked_folder(root: Path) -> None:
    (root / "train" / "vae").symlink_to(root / "train" / "gan")


def no_files(root: Path) -> None:
    for file in root.rglob("*.png"):
        file.unlink()


def no_folder(root: Path) -> None:
    root.rename(root.with_name("moved"))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (misplaced_file, r"train/stray.png does not lie in <split>/<source>/<file> with a split of train, val, test"),
        (unknown_split, r"validation/\S* does not lie in <split>/<source>/<file>.*or give shares"),
        (linked_folder, r"train/vae is a link to a folder, expected a folder"),
        (no_files, r"toy holds no files, expected <split>/<source>/<file>"),
        (no_folder, r"toy is no folder"),
    ],
)
def test_folder_of_another_layout_is_refused(cats: Path, spoil: Callable[[Path], None], message: str) -> None:
    spoil(cats)
    with pytest.raises(DatasetError, match=message):
        index_folder(cats, "toy")
    assert not list(cats.parent.glob("toy.*"))
