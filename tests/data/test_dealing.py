"""Copies whose labels are dealt: what is dealt anew, and what is left as it is."""

from pathlib import Path

import numpy as np
import pytest

from gfp_bench.data.dataset import Dataset
from gfp_bench.data.dealing import deal_test, deal_train
from gfp_bench.data.manifest import Manifest, read_index, read_manifest
from gfp_bench.errors import UsageError


def philox(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


@pytest.fixture
def dealt(toy: Manifest, cache: Path, tmp_path: Path) -> Manifest:
    return deal_test(toy, Dataset(toy, cache).pixels(), tmp_path / "dealt", philox(0))


def images(manifest: Manifest, cache: Path, split: str) -> dict[bytes, str]:
    found = Dataset(manifest, cache).split(split)
    return {
        image.numpy().tobytes(): found.sources[label]
        for image, label in zip(found.images, found.labels.tolist(), strict=True)
    }


def test_files_names_order_and_checksums_are_new_and_pixels_are_not(
    toy: Manifest, dealt: Manifest, cache: Path, tmp_path: Path
) -> None:
    before, after = read_index(toy), read_index(dealt)
    for column in ("id", "path", "sha256", "group"):
        assert not {*before[column]} & {*after[column]}
    for split in toy.splits:
        old, new = (images(one, folder, split) for one, folder in ((toy, cache), (dealt, tmp_path)))
        assert old.keys() == new.keys()
        assert list(old) != list(new)
    assert read_manifest(dealt.file).name == toy.name


def test_what_is_learnt_keeps_its_labels_under_other_names(
    toy: Manifest, dealt: Manifest, cache: Path, tmp_path: Path
) -> None:
    renamed: set[tuple[str, str]] = set()
    for split in ("train", "val"):
        old, new = (images(one, folder, split) for one, folder in ((toy, cache), (dealt, tmp_path)))
        renamed |= {(old[image], new[image]) for image in old}
    assert len(renamed) == len(toy.source_names)


def test_test_labels_are_independent_of_what_is_true(toy: Manifest, cache: Path, tmp_path: Path) -> None:
    pixels, equal = Dataset(toy, cache).pixels(), 0
    true = images(toy, cache, "test")
    for seed in range(8):
        copy = deal_test(toy, pixels, tmp_path / f"{seed}", philox(seed))
        found = images(copy, tmp_path, "test")
        equal += sum(true[image] == found[image] for image in true)
    assert 8 * 24 / 3 - 30 < equal < 8 * 24 / 3 + 30  # 4.6 standard deviations


def test_train_labels_alone_are_dealt_and_evenly(toy: Manifest, tmp_path: Path) -> None:
    copy = deal_train(toy, tmp_path / "dealt", philox(0))
    before, after = read_index(toy), read_index(copy)
    test = before["split"] == "test"
    assert before[test].equals(after[test])
    assert before.drop(columns="source").equals(after.drop(columns="source"))
    crossed = after[~test].groupby(["split", "source"]).size()
    assert crossed["train"].tolist() == [12, 12, 12]
    assert crossed["val"].tolist() == [4, 4, 4]
    assert 0.1 < (before["source"] == after["source"])[~test].mean() < 0.6
    assert copy.root == toy.root


def test_what_cannot_be_dealt_is_refused(toy: Manifest, cache: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected train, val and test to deal labels anew, and val is missing"):
        deal_train(toy.model_copy(update={"splits": {"train": 36, "test": 24}}), tmp_path / "a", philox(0))
