"""A folder becomes a manifest that names every file, with its group and, drawn or not, its split."""

import os
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from noise_files import save
from PIL import Image

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
    index = read_index(index_folder(cats, "toy", group=r"/(cat\d)\.", shared_groups="cats")).set_index("id")["group"]
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


def test_a_group_in_two_splits_is_refused_until_the_manifest_allows_it(cats: Path) -> None:
    message = r"2 of 2 groups are in several splits: 'cat0 \(test, train, val\)', .*or allow it by shared_groups = "
    with pytest.raises(DatasetError, match=message):
        index_folder(cats, "toy", group=r"/(cat\d)\.")
    assert not list(cats.parent.glob("toy.*"))
    manifest = index_folder(cats, "toy", group=r"/(cat\d)\.", shared_groups="two cats")
    assert read_manifest(manifest.file).allowed_leakage == ("groups stand in several splits (two cats)",)
    manifest.file.write_text(manifest.file.read_text().replace('shared_groups = "two cats"', ""))
    assert read_manifest(manifest.file).digest == manifest.digest, "what is allowed changes no number"
    with pytest.raises(DatasetError, match="2 of 2 groups are in several splits"):
        read_index(read_manifest(manifest.file))


def test_paths_that_the_group_pattern_misses_are_told(cats: Path) -> None:
    save(cats / "train" / "gan" / "other.png")
    notes: list[str] = []
    index_folder(cats, "toy", group=r"(\w+/\w+/cat\d)", note=notes.append)
    assert notes[0] == (
        r"group pattern '(\\w+/\\w+/cat\\d)' does not match 1 of 19 paths, as 'train/gan/other.png': each of these "
        "is a group of its own"
    )


def test_what_is_found_is_told_before_anything_is_written(cats: Path) -> None:
    notes: list[str] = []

    def note(text: str) -> None:
        assert not (cats.parent / "toy.toml").exists()
        notes.append(text)

    index_folder(cats, "toy", note=note)
    assert [line.split() for line in notes[0].splitlines()] == [
        ["source", "test", "train", "val", "groups"],
        ["--------", "------", "-------", "-----", "--------"],
        ["gan", "3", "3", "3", "9"],
        ["real", "3", "3", "3", "9"],
    ]
    assert notes[1:] == ["sizes: 8 x 8 (18)", "modes: RGB (18)", "formats: PNG (18)"]


def test_several_sizes_are_told_and_formats_that_tell_sources_apart(cats: Path) -> None:
    notes: list[str] = []
    for file in cats.glob("*/gan/*.png"):
        save(file, (8, 9), kind="JPEG")
    with pytest.raises(DatasetError, match=r"images of 2 sizes: 9 x 8 \(9 files, test/gan/cat0.0.png\); 8 x 8"):
        index_folder(cats, "toy", note=notes.append)
    assert "sizes: 9 x 8 (9), 8 x 8 (9)" in notes
    assert any(note.startswith("look: sources have other formats (gan JPEG, real PNG)") for note in notes)


def test_the_same_pixels_in_other_bytes_are_the_same_image(cats: Path) -> None:
    Image.open(cats / "train" / "gan" / "cat0.0.png").save(cats / "test" / "gan" / "new.png", compress_level=1)
    with pytest.raises(DatasetError, match=r"same image is in two splits: 'test/gan/new.png = train/gan/cat0.0.png'"):
        index_folder(cats, "toy")
    (cats / "test" / "gan" / "new.png").rename(cats / "train" / "gan" / "new.png")
    notes: list[str] = []
    index_folder(cats, "toy", note=notes.append)
    assert notes[-1] == (
        "look: 2 images are equal to another, pixel by pixel: train/gan/cat0.0.png = train/gan/new.png"
    )


def test_nearly_the_same_image_in_another_split_is_told(cats: Path) -> None:
    near = np.asarray(Image.open(cats / "train" / "gan" / "cat0.0.png")).copy()
    near[0, 0] ^= 1
    Image.fromarray(near).save(cats / "test" / "gan" / "near.png")
    notes: list[str] = []
    index_folder(cats, "toy", note=notes.append)
    assert notes[-1] == (
        "look: 2 images are near duplicates of another by their perceptual hash, 2 of them across splits and 0 across "
        "sources: test/gan/near.png = train/gan/cat0.0.png"
    )


def test_indexing_again_keeps_what_people_wrote(cats: Path) -> None:
    about = About("Two cats", "CC0", "Me 2025")
    manifest = index_folder(cats, "toy", about=about, sources={"gan": {"family": "gan"}})
    save(cats / "train" / "gan" / "more.png")
    again = index_folder(cats, "toy", about=About(licence="CC-BY"), sources={"real": {"camera": "old"}})
    assert (again.description, again.licence, again.citation) == ("Two cats", "CC-BY", "Me 2025")
    assert again.sources == {"gan": {"family": "gan"}, "real": {"camera": "old"}}
    assert again.splits["train"] == manifest.splits["train"] + 1


@pytest.mark.parametrize("name", ["pyproject.toml", "pyproject.parquet"])
def test_somebody_else_s_file_is_not_overwritten(cats: Path, name: str) -> None:
    file = cats.parent / name
    file.write_text("[tool.mine]")
    with pytest.raises(DatasetError, match=rf"{name} stands where the manifest and index of 'pyproject' would"):
        index_folder(cats, "pyproject")
    assert file.read_text() == "[tool.mine]"


def test_an_index_without_its_manifest_is_what_a_kill_left(cats: Path) -> None:
    manifest = index_folder(cats, "toy")
    manifest.file.unlink()
    assert index_folder(cats, "toy") == manifest


def test_the_manifest_of_other_images_is_not_overwritten(cats: Path) -> None:
    before = index_folder(cats, "toy").file.read_text()
    cats.rename(cats.with_name("renamed"))
    with pytest.raises(DatasetError, match=r"toy.toml is the manifest of images in \S+toy, not in \S+renamed"):
        index_folder(cats.with_name("renamed"), "toy")
    assert (cats.parent / "toy.toml").read_text() == before


def test_images_behind_a_link_are_described_beside_the_link(cats: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "here").symlink_to(cats)
    manifest = index_folder(tmp_path / "mine" / "here", "toy")
    assert manifest.file == tmp_path / "mine" / "toy.toml"
    assert manifest.root == cats
    assert verify(manifest) == 18


def test_a_folder_that_cannot_be_written_is_told_before_any_file_is_read(
    cats: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("gfp_bench.data.indexing.TemporaryFile", refuse)
    monkeypatch.setattr("gfp_bench.data.reader.Files.read", None)
    with pytest.raises(DatasetError, match=r"toy.toml cannot be written: Read-only .*another folder \(--out\)"):
        index_folder(cats, "toy")


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("stable diffusion", "source 'stable diffusion', as its folder, expected letters"),
        ("émile", "source 'émile', as its folder, expected letters"),
        ("a\nb", r"source 'a\\nb', as its folder, expected letters"),
    ],
)
def test_a_source_s_name_is_refused_before_any_file_is_read(
    cats: Path, folder: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for split in ("train", "val", "test"):
        (cats / split / "gan").rename(cats / split / folder)
    monkeypatch.setattr("gfp_bench.data.reader.Files.read", None)
    with pytest.raises(DatasetError, match=message):
        index_folder(cats, "toy")


@pytest.mark.parametrize("name", ["a b.png", "é.png", "日本.png", "new\nline.png", "a.b.c.PNG", "no_ending", "-x.png"])
def test_any_name_that_is_text_will_do_for_an_image(cats: Path, name: str) -> None:
    save(cats / "train" / "gan" / name)
    manifest = index_folder(cats, "toy")
    assert f"train/gan/{name}" in set(read_index(manifest)["id"])
    assert verify(manifest) == 19


def test_a_name_in_latin_1_is_told(cats: Path) -> None:
    file = os.fsencode(cats / "train" / "gan") + b"/caf\xe9.png"
    (cats / "train" / "gan" / "cat0.0.png").rename(os.fsdecode(file))
    with pytest.raises(DatasetError, match=r"caf\\xe9.png' is a name in no UTF-8; rename it"):
        index_folder(cats, "toy")
