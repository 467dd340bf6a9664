"""A folder becomes a manifest that names every file, with its group and, drawn or not, its split."""

from hashlib import sha256
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from noise_files import save

from gfp_bench.data.audit import verify
from gfp_bench.data.decoding import View
from gfp_bench.data.indexing import index_folder
from gfp_bench.data.manifest import About, read_index, read_manifest
from gfp_bench.data.reader import read_images
from gfp_bench.errors import DatasetError


def test_folder_becomes_a_manifest_that_names_every_file(cats: Path) -> None:
    (cats / "train" / "gan" / ".DS_Store").write_bytes(b"hidden")
    (cats / ".cache").mkdir()
    (cats / ".cache" / "anything").write_bytes(b"hidden")
    save(cats / "train" / "gan" / "deep" / "er" / "a.b.png")
    manifest = index_folder(cats, "toy", sources={"real": {"real": True}}, about=About(licence="CC0-1.0"))
    assert manifest == read_manifest(cats.parent / "toy.toml")
    assert (manifest.folder, manifest.licence) == (Path("toy"), "CC0-1.0")
    assert manifest.image_shape == (3, 8, 8)
    assert manifest.sources == {"gan": {}, "real": {"real": True}}
    index = read_index(manifest).set_index("id")
    files = {str(file.relative_to(cats)) for file in cats.rglob("*.png")}
    assert set(index.index) == files
    for name, row in index.iterrows():
        assert (row["split"], row["source"]) == tuple(str(name).split("/")[:2])
        assert row["sha256"] == sha256((cats / str(name)).read_bytes()).hexdigest()
        assert (row["path"], row["group"], row["width"], row["height"]) == (name, name, 8, 8)


def test_manifest_may_lie_elsewhere_than_the_images(cats: Path, tmp_path: Path) -> None:
    (tmp_path / "manifests").mkdir()
    manifest = index_folder(cats, "toy", folder=tmp_path / "manifests")
    assert manifest.file == tmp_path / "manifests" / "toy.toml"
    assert read_manifest(manifest.file).root == cats
    assert verify(manifest) == 18


def test_view_decides_the_size(cats: Path) -> None:
    save(cats / "train" / "gan" / "wide.png", (8, 12))
    manifest = index_folder(cats, "toy", view=View(crop="center:8", resize="4:box"))
    assert manifest.image_shape == (3, 4, 4)
    index = read_index(manifest)
    assert sorted(set(index["width"])) == [8, 12]
    assert {image.shape for image in read_images(manifest, index)} == {(3, 4, 4)}


def test_groups_come_from_the_paths(cats: Path) -> None:
    save(cats / "train" / "gan" / "other.png")
    index = read_index(index_folder(cats, "toy", group=r"/(cat\d)\.")).set_index("id")["group"]
    assert index["train/gan/cat1.1.png"] == index["test/real/cat1.1.png"] == "cat1"
    assert index["train/gan/other.png"] == "train/gan/other.png"


@pytest.mark.parametrize("pattern", ["cat", "(", "(dog)", "(c)(a)"])
def test_group_pattern_that_cannot_work_is_refused(cats: Path, pattern: str) -> None:
    with pytest.raises(DatasetError, match=r"group pattern .*expected one"):
        index_folder(cats, "toy", group=pattern)


def flat(root: Path, images: int) -> Path:
    for source in ("gan", "real"):
        for number in range(images):
            save(root / source / f"prompt{number // 2}-{number}.png", (2, 2))
    return root


@given(seed=st.integers(0, 2**32), share=st.sampled_from([0.4, 0.5, 0.6]))
@settings(max_examples=8)
def test_drawn_splits_partition_the_images_and_tear_no_group(flat_root: Path, seed: int, share: float) -> None:
    shares = {"train": share, "val": 0.2, "test": 0.8 - share}
    manifest = index_folder(flat_root, "flat", shares=shares, group=r"/(prompt\d+)-", seed=seed)
    index = read_index(manifest)
    assert sorted(index["path"]) == sorted(str(file.relative_to(flat_root)) for file in flat_root.rglob("*.png"))
    assert (index.groupby("group")["split"].nunique() == 1).all()
    for split, part in shares.items():
        for source in ("gan", "real"):
            count = ((index["split"] == split) & (index["source"] == source)).sum()
            assert abs(count - 40 * part) <= 2  # a group has two images per source
    again = read_index(index_folder(flat_root, "flat", shares=shares, group=r"/(prompt\d+)-", seed=seed))
    pd.testing.assert_frame_equal(index, again)


@pytest.fixture(scope="module")
def flat_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return flat(tmp_path_factory.mktemp("drawn") / "flat", 40)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_source_gets_its_share_of_each_split(flat_root: Path, seed: int) -> None:
    index = read_index(index_folder(flat_root, "flat", shares={"train": 0.75, "test": 0.25}, seed=seed))
    assert index.groupby(["source", "split"]).size().to_dict() == {
        (source, split): count for source in ("gan", "real") for split, count in (("train", 30), ("test", 10))
    }


def test_drawn_splits_follow_the_seed(flat_root: Path) -> None:
    def draw(seed: int) -> list[str]:
        shares = {"train": 0.5, "test": 0.5}
        index = read_index(index_folder(flat_root, "flat", shares=shares, seed=seed))
        return sorted(index["id"][index["split"] == "train"])

    assert draw(0) != draw(1)


@pytest.mark.parametrize("shares", [{}, {"train": 0.5}, {"train": 1.5, "test": -0.5}, {"train": 1.0, "test": 0.0}])
def test_shares_that_do_not_add_up_are_refused(flat_root: Path, shares: dict[str, float]) -> None:
    with pytest.raises(DatasetError, match=r"shares are \{.*\}, expected positive numbers that add up to 1"):
        index_folder(flat_root, "flat", shares=shares)


def test_source_without_images_in_a_split_is_refused(cats: Path) -> None:
    for file in (cats / "val" / "gan").iterdir():
        file.unlink()
    with pytest.raises(DatasetError, match=r"source 'gan' has 0 images in split 'val', expected at least 2"):
        index_folder(cats, "toy")
    assert not list(cats.parent.glob("toy.*"))
