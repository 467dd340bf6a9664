"""A layout that is one level off is no dataset: what was seen is told, and what to do."""

from pathlib import Path

import pytest
from noise_files import save

from gfp_bench.data.archives import write_archive
from gfp_bench.data.indexing import index_folder
from gfp_bench.errors import DatasetError

SHARES = {"train": 0.5, "val": 0.25, "test": 0.25}
KAGGLE = [f"{split}/{source}" for split in ("train", "valid", "test") for source in ("real", "gan")]
CNN = [
    f"{split}/{gan}/cat/{kind}" for split in ("train", "test") for gan in ("a", "b") for kind in ("0_real", "1_fake")
]
GENIMAGE = [f"{gan}/{split}/{kind}" for gan in ("a", "b") for split in ("train", "val") for kind in ("nature", "ai")]
ONE_GENERATOR = [f"{split}/{kind}" for split in ("train", "val", "test") for kind in ("nature", "ai")]
REAL_BELOW = [f"{split}/{gan}/{kind}" for split in ("train", "test") for gan in ("a", "b") for kind in ("real", "fake")]
KINDS = "look like real and generated images"


def tree(root: Path, folders: list[str]) -> Path:
    for folder in folders:
        for number in range(4):
            save(root / folder / f"{number}.png")
    return root


@pytest.mark.parametrize(
    ("folders", "drawn", "message"),
    [
        (KAGGLE, False, "valid/gan/0.png does not lie in .*; rename valid to val, or give shares"),
        (KAGGLE, True, "would have the sources test, train, valid, which look like splits; .* put <split>/ above"),
        (
            CNN,
            False,
            rf"(test|train)/a/cat would be one source with the folders 0_real, 1_fake, which {KINDS}; put real",
        ),
        (CNN, True, "would have the sources test, train, which look like splits"),
        (GENIMAGE, False, "a/train/ai/0.png does not lie in .*; put <split>/ above <source>/, .* or give shares"),
        (GENIMAGE, True, "a would be one source with the folders train, val, which look like splits"),
        (
            ONE_GENERATOR,
            False,
            rf"would have the sources ai, nature, which {KINDS}; expected one folder per generative",
        ),
        (["a/0_real", "b/1_fake"], True, rf"a would be one source with the folders 0_real, which {KINDS}"),
        (["0_real", "1_fake"], True, rf"would have the sources 0_real, 1_fake, which {KINDS}"),
        (REAL_BELOW, False, rf"(test|train)/a would be one source with the folders fake, real, which {KINDS}"),
        (["a/Training", "b/Testing"], True, "a would be one source with the folders Training, which look like splits"),
    ],
)
def test_a_layout_that_is_one_level_off_is_told(tmp_path: Path, folders: list[str], drawn: bool, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        index_folder(tree(tmp_path / "images", folders), "toy", shares=SHARES if drawn else None)
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_archives_are_looked_into(tmp_path: Path) -> None:
    root = tree(tmp_path / "images", ["real"])
    content = (root / "real" / "0.png").read_bytes()
    write_archive(root / "a.zip", {f"{split}/{kind}/0.png": content for split in ("train", "val") for kind in "xy"})
    with pytest.raises(DatasetError, match=r"a.zip would be one source with the folders train, val, which look like"):
        index_folder(root, "toy", shares=SHARES)


@pytest.mark.parametrize(
    "folders",
    [
        [f"{source}/{folder}" for source in ("real", "gan") for folder in ("nature", "cats", "training_set")],
        [f"{source}/{number}" for source in ("real", "fake") for number in (0, 1)],
    ],
)
def test_mere_subfolders_are_left_alone(tmp_path: Path, folders: list[str]) -> None:
    assert index_folder(tree(tmp_path / "images", folders), "toy", shares=SHARES).splits
