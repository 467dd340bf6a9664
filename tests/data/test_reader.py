from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gfp_bench.data.audit import audit, describe, leaks, verify
from gfp_bench.data.decoding import View
from gfp_bench.data.manifest import read_index, read_manifest
from gfp_bench.data.reader import in_threads, index_folder, read_images
from gfp_bench.errors import DatasetError

RNG = np.random.default_rng(0)


def save(file: Path, size: tuple[int, int] = (8, 8), kind: str = "PNG") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(0, 256, (*size, 3), dtype=np.uint8)).save(file, kind)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for split in ("train", "val", "test"):
        for source in ("gan", "real"):
            for number in range(3):
                save(tmp_path / "toy" / split / source / f"cat{number % 2}.{number}.png")
    return tmp_path / "toy"


def test_folder_becomes_a_manifest_that_names_every_file(root: Path) -> None:
    (root / "train" / "gan" / ".DS_Store").write_bytes(b"hidden")
    (root / ".cache").mkdir()
    (root / ".cache" / "anything").write_bytes(b"hidden")
    save(root / "train" / "gan" / "deep" / "er" / "a.b.png")
    manifest = index_folder(root, "toy", sources={"real": {"real": True}}, licence="CC0-1.0")
    assert manifest == read_manifest(root.parent / "toy.toml")
    assert manifest.folder == Path("toy")
    assert manifest.image_shape == (3, 8, 8)
    assert manifest.sources == {"gan": {}, "real": {"real": True}}
    index = read_index(manifest).set_index("id")
    files = {str(file.relative_to(root)) for file in root.rglob("*.png")}
    assert set(index.index) == files
    for name, row in index.iterrows():
        assert (row["split"], row["source"]) == tuple(str(name).split("/")[:2])
        assert row["sha256"] == sha256((root / str(name)).read_bytes()).hexdigest()
        assert (row["path"], row["group"], row["width"], row["height"]) == (name, name, 8, 8)


def test_files_read_back_are_those_on_disk(root: Path) -> None:
    manifest = index_folder(root, "toy")
    index = read_index(manifest)
    done: list[tuple[int, int]] = []
    images = list(read_images(manifest, index, lambda *progress: done.append(progress)))
    for path, image in zip(index["path"], images, strict=True):
        np.testing.assert_array_equal(image, np.asarray(Image.open(root / path)).transpose(2, 0, 1))
    assert done == [(16, 18), (18, 18)]


def test_manifest_may_lie_elsewhere_than_the_images(root: Path, tmp_path: Path) -> None:
    (tmp_path / "manifests").mkdir()
    manifest = index_folder(root, "toy", folder=tmp_path / "manifests")
    assert manifest.file == tmp_path / "manifests" / "toy.toml"
    assert read_manifest(manifest.file).root == root
    assert verify(manifest) == 18


def test_view_decides_the_size(root: Path) -> None:
    save(root / "train" / "gan" / "wide.png", (8, 12))
    manifest = index_folder(root, "toy", view=View(crop="center:8", resize="4:box"))
    assert manifest.image_shape == (3, 4, 4)
    index = read_index(manifest)
    assert sorted(set(index["width"])) == [8, 12]
    assert {image.shape for image in read_images(manifest, index)} == {(3, 4, 4)}


def test_groups_come_from_the_paths(root: Path) -> None:
    save(root / "train" / "gan" / "other.png")
    index = read_index(index_folder(root, "toy", group=r"/(cat\d)\.")).set_index("id")["group"]
    assert index["train/gan/cat1.1.png"] == index["test/real/cat1.1.png"] == "cat1"
    assert index["train/gan/other.png"] == "train/gan/other.png"


@pytest.mark.parametrize("pattern", ["cat", "(", "(dog)", "(c)(a)"])
def test_group_pattern_that_cannot_work_is_refused(root: Path, pattern: str) -> None:
    with pytest.raises(DatasetError, match=r"group pattern .*expected one"):
        index_folder(root, "toy", group=pattern)


def flat(root: Path, images: int) -> Path:
    for source in ("gan", "real"):
        for number in range(images):
            save(root / source / f"prompt{number // 2}-{number}.png", (2, 2))
    return root


@given(seed=st.integers(0, 2**32), share=st.sampled_from([0.4, 0.5, 0.6]))
@settings(max_examples=8)
def test_drawn_splits_partition_the_images_and_tear_no_group(flat_root: Path, seed: int, share: float) -> None:
    fractions = {"train": share, "val": 0.2, "test": 0.8 - share}
    manifest = index_folder(flat_root, "flat", fractions=fractions, group=r"/(prompt\d+)-", seed=seed)
    index = read_index(manifest)
    assert sorted(index["path"]) == sorted(str(file.relative_to(flat_root)) for file in flat_root.rglob("*.png"))
    assert (index.groupby("group")["split"].nunique() == 1).all()
    for split, fraction in fractions.items():
        for source in ("gan", "real"):
            count = ((index["split"] == split) & (index["source"] == source)).sum()
            assert abs(count - 40 * fraction) <= 2  # a group has two images a source
    again = read_index(index_folder(flat_root, "flat", fractions=fractions, group=r"/(prompt\d+)-", seed=seed))
    pd.testing.assert_frame_equal(index, again)


@pytest.fixture(scope="module")
def flat_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return flat(tmp_path_factory.mktemp("drawn") / "flat", 40)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_source_gets_its_share_of_each_split(flat_root: Path, seed: int) -> None:
    index = read_index(index_folder(flat_root, "flat", fractions={"train": 0.75, "test": 0.25}, seed=seed))
    assert index.groupby(["source", "split"]).size().to_dict() == {
        (source, split): count for source in ("gan", "real") for split, count in (("train", 30), ("test", 10))
    }


def test_drawn_splits_follow_the_seed(flat_root: Path) -> None:
    def draw(seed: int) -> list[str]:
        shares = {"train": 0.5, "test": 0.5}
        index = read_index(index_folder(flat_root, "flat", fractions=shares, seed=seed))
        return sorted(index["id"][index["split"] == "train"])

    assert draw(0) != draw(1)


@pytest.mark.parametrize("fractions", [{}, {"train": 0.5}, {"train": 1.5, "test": -0.5}, {"train": 1.0, "test": 0.0}])
def test_fractions_that_are_no_shares_are_refused(flat_root: Path, fractions: dict[str, float]) -> None:
    with pytest.raises(DatasetError, match=r"fractions are \{.*\}, expected positive numbers that add up to 1"):
        index_folder(flat_root, "flat", fractions=fractions)


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


def empty_source(root: Path) -> None:
    for file in (root / "val" / "gan").iterdir():
        file.unlink()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (misplaced_file, r"train/stray.png does not lie in <split>/<source>/<file> with a split of train, val, test"),
        (unknown_split, r"validation/\S* does not lie in <split>/<source>/<file>.*or give fractions"),
        (linked_folder, r"train/vae is a link to a folder, expected a folder"),
        (no_files, r"toy holds no files, expected <split>/<source>/<file>"),
        (no_folder, r"toy is no folder"),
        (empty_source, r"source 'gan' has 0 images in split 'val', expected at least 2"),
    ],
)
def test_folder_of_another_layout_is_refused(root: Path, spoil: Callable[[Path], None], message: str) -> None:
    spoil(root)
    with pytest.raises(DatasetError, match=message):
        index_folder(root, "toy")
    assert not list(root.parent.glob("toy.*"))


def test_threads_keep_the_order_and_stop_at_nothing() -> None:
    def half(number: int) -> int:
        if number % 20 == 5:
            raise DatasetError(f"{number}: odd one out")
        return number // 2

    assert list(in_threads(half, range(5), "numbers")) == [0, 0, 1, 1, 2]
    results = in_threads(half, range(250), "numbers")
    assert [next(results) for _ in range(5)] == [0, 0, 1, 1, 2]
    with pytest.raises(
        DatasetError, match=r"^numbers: 13 of 250 files are bad:\n  5: odd.*\n  25: (.|\n)*\n  and 3 more$"
    ):
        next(results)


def test_other_errors_keep_their_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        list(in_threads(lambda number: 1 // number, [1, 0], "numbers"))


def test_description_counts_images_and_groups(root: Path) -> None:
    manifest = index_folder(root, "toy", group=r"/(cat\d)\.")
    told = describe(manifest)
    assert told["images"] == {source: {"train": 3, "val": 3, "test": 3} for source in ("gan", "real")}
    assert told["groups"] == {"gan": 2, "real": 2}
    assert told["digest"] == manifest.digest


def test_audit_of_equal_files_finds_no_leak(root: Path) -> None:
    table = audit(index_folder(root, "toy")).set_index("source")
    assert table.loc["gan", "format"] == {"PNG": 9}
    assert table.loc["gan", "mode"] == {"RGB": 9}
    assert table.loc["real", "size"] == {"8 x 8": 9}
    sizes = [file.stat().st_size for file in root.glob("*/gan/*.png")]
    assert table.loc["gan", ["bytes_min", "bytes_median", "bytes_max"]].tolist() == [
        min(sizes),
        np.median(sizes),
        max(sizes),
    ]
    assert leaks(table.reset_index()) == []


def test_audit_tells_format_by_content_and_sizes_that_betray(root: Path) -> None:
    for file in root.glob("*/gan/*.png"):
        save(file, (40, 40), kind="JPEG")  # keeps its name
    save(root / "train" / "gan" / "again.png", (40, 40), kind="JPEG")
    (root / "train" / "gan" / "copy.png").write_bytes((root / "train" / "gan" / "again.png").read_bytes())
    table = audit(index_folder(root, "toy", view=View(crop="center:8")))
    assert table["repeated"].tolist() == [1, 0]
    assert leaks(table) == [
        "format differs: gan JPEG, real PNG",
        "size differs: gan 40 x 40, real 8 x 8",
        "file size differs: all files of real are smaller than those of gan",
    ]
