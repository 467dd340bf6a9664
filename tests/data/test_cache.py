"""A cache is what it was when it was filled, and so are the files that it was filled from; or it is told."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gfp_bench.data.dataset import Dataset
from gfp_bench.data.index import SEEN, index_digest, to_parquet
from gfp_bench.data.indexing import index_folder
from gfp_bench.data.manifest import Manifest, read_index, read_manifest
from gfp_bench.errors import DatasetError
from gfp_bench.files import sha256


@pytest.fixture
def manifest(cats: Path) -> Manifest:
    return index_folder(cats, "toy")


@pytest.fixture
def dataset(manifest: Manifest, tmp_path: Path) -> Dataset:
    found = Dataset(manifest, tmp_path / "cache")
    found.pixels()
    return found


def change(file: Path, at: int) -> None:
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("at", [-1, -2000])
def test_a_changed_byte_is_found(dataset: Dataset, at: int) -> None:
    assert dataset.verify_cache() == 18
    change(dataset.cache, at)
    for look in (dataset.pixels, dataset.verify_cache):  # 18 images are fewer than a sample
        with pytest.raises(DatasetError, match=r"cache \S+ has changed since it was filled, as image \d+; delete it"):
            look()


def test_some_of_many_are_looked_at_and_each_time_others(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gfp_bench.data.cache._SAMPLE", 3)
    change(dataset.cache, -1)
    outcomes = set()
    for _ in range(200):  # 3 of 18 images: found by one in six
        try:
            dataset.pixels()
            outcomes.add("missed")
        except DatasetError:
            outcomes.add("found")
    assert outcomes == {"missed", "found"}


def test_another_decoder_has_another_cache(
    dataset: Dataset, manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("PIL.features.version", lambda name: f"9.{len(name)}")
    other = Dataset(manifest, tmp_path / "cache")
    assert "pillow9.3-jpeg9.13-webp9.4-tiff9.7" in other.cache.name
    other.pixels()
    assert len(list(other.cache.parent.glob("*.npy"))) == 2


def test_a_cache_of_another_version_is_made_anew(manifest: Manifest, tmp_path: Path) -> None:
    dataset = Dataset(manifest, tmp_path / "cache")
    dataset.cache.parent.mkdir(parents=True)
    np.save(dataset.cache, np.zeros((18, 3, 8, 8), np.uint8))  # without a seal
    assert dataset.pixels().any()


def test_a_seal_that_is_damaged_or_another_s_is_told(dataset: Dataset) -> None:
    (seal,) = dataset.cache.parent.glob("*.npz")
    np.savez(seal, digests=np.zeros((2, 16), np.uint8), stamps=np.zeros((2, 2), np.int64))
    with pytest.raises(DatasetError, match="has the seal of 2 images, expected 18; delete it"):
        dataset.pixels()
    for content in (b"", b"text", b"PK\x03\x04"):
        seal.write_bytes(content)
        with pytest.raises(DatasetError, match="has a seal that cannot be read"):
            dataset.pixels()


def test_deleted_files_are_noticed(dataset: Dataset, cats: Path) -> None:
    dataset.expect_unchanged()
    shutil.rmtree(cats / "test" / "gan")
    with pytest.raises(DatasetError, match=r"3 of 18 files are no longer in \S+toy, as test/gan/cat.*; restore them"):
        dataset.expect_unchanged()


def test_files_with_other_content_are_noticed(dataset: Dataset, cats: Path) -> None:
    file = cats / "val" / "real" / "cat0.0.png"
    Image.new("RGB", (8, 8)).save(file)
    with pytest.raises(DatasetError, match=r"1 of 1 files are bad:\n  val/real/cat0.0.png: sha256 \w+, expected"):
        dataset.expect_unchanged()


def test_files_that_were_only_touched_are_read_once_more(
    dataset: Dataset, cats: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in cats.rglob("*.png"):
        os.utime(file, (1, 1))
    dataset.expect_unchanged()
    monkeypatch.setattr("gfp_bench.data.reader.Files.read", None)
    dataset.expect_unchanged()


def test_without_a_cache_there_is_nothing_to_compare(manifest: Manifest, cats: Path, tmp_path: Path) -> None:
    shutil.rmtree(cats)
    Dataset(manifest, tmp_path / "none").expect_unchanged()
    assert Dataset(manifest, tmp_path / "none").verify_cache() == 0


def test_equal_pixels_in_two_splits_are_found_though_the_index_does_not_say(
    manifest: Manifest, cats: Path, tmp_path: Path
) -> None:
    file = cats / "test" / "gan" / "cat0.0.png"
    Image.open(cats / "train" / "gan" / "cat0.0.png").save(file, compress_level=1)  # other bytes
    index = read_index(manifest).drop(columns=SEEN.names)
    index.loc[index["path"] == "test/gan/cat0.0.png", "sha256"] = sha256(file.read_bytes())
    manifest.index_file.write_bytes(to_parquet(index))
    manifest.file.write_text(manifest.file.read_text().replace(manifest.index, index_digest(index)))
    found = Dataset(read_manifest(manifest.file), tmp_path / "cache")
    with pytest.raises(DatasetError, match=r"the same image is in two splits: '(test|train)/gan/cat0.0.png = "):
        found.pixels()
    assert not list(found.cache.parent.iterdir())
