"""Tables of photographs: what is refused, how they are divided, and crops that share no more than they may."""

import csv
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from places import ROOT

from gfp_bench.data.photographs import Region, textured
from gfp_bench.errors import UsageError
from gfp_bench.files import sha256
from gfp_bench.zoo import photographs
from gfp_bench.zoo.photographs import crops_of, divided, read_table
from gfp_bench.zoo.pool import find_pool
from gfp_bench.zoo.recipe import Part

Row = dict[str, str]
TABLE = ROOT / "datasets" / "photographs" / "scenes.csv"


def noise(folder: Path, name: str, size: tuple[int, int], seed: int) -> Row:
    """Write a photograph of blocks of noise and return its row."""
    height, width = size
    blocks = np.random.default_rng(seed).integers(0, 256, (height // 4 + 1, width // 4 + 1, 3), dtype=np.uint8)
    Image.fromarray(blocks.repeat(4, axis=0).repeat(4, axis=1)[:height, :width]).save(folder / name)
    return {
        "file": name,
        "sha256": sha256((folder / name).read_bytes()),
        "author": "A. Nonymous",
        "licence": "CC0-1.0",
        "origin": "drawn",
        "split": "train",
        "subject": "noise",
        "scene": "",
    }


def written(folder: Path, rows: list[Row]) -> Path:
    table = folder / "noise.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return table


@pytest.fixture
def rows(tmp_path: Path) -> list[Row]:
    sizes = {"a.png": (60, 80), "b.jpg": (40, 200), "c.png": (90, 50), "d.webp": (64, 64)}
    found = [noise(tmp_path, name, size, seed) for seed, (name, size) in enumerate(sizes.items())]
    for row, split in zip(found, ("train", "train", "val", "test"), strict=True):
        row["split"] = split
    return found


def test_pool_of_a_table(rows: list[Row], tmp_path: Path) -> None:
    pool = find_pool(str(written(tmp_path, rows)), 8)
    assert pool.side == 8
    assert {*pool.crops.groups} == {"a", "b"}
    assert Counter(pool.crops.groups)["b"] == 40
    assert textured(pool.crops.images).all()
    assert {*pool.held_out("val", 4, rng=torch.Generator().manual_seed(0)).groups} == {"c"}
    with pytest.raises(UsageError, match=r"split 'test' of noise@\w+ has 6 real images, expected at least 7"):
        pool.held_out("test", 7, rng=torch.Generator())
    again = find_pool(str(written(tmp_path, rows[::-1])), 8)
    assert again.identity == pool.identity
    assert torch.equal(again.crops.images, pool.crops.images)  # the order of rows does not matter
    assert again.crops.groups == pool.crops.groups
    rows[1]["split"] = "val"
    assert find_pool(str(written(tmp_path, rows)), 8).identity != pool.identity


def test_a_split_without_photographs_is_told(rows: list[Row], tmp_path: Path) -> None:
    pool = find_pool(str(written(tmp_path, rows[:3])), 8)
    with pytest.raises(UsageError, match=r"noise@\w+ has no photograph in test, expected some; mend the table"):
        pool.held_out("test", 1, rng=torch.Generator())


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda row: row.update(file="z.png"), r"photograph \S+z.png cannot be read \(No such file or directory\)"),
        (
            lambda row: row.update(sha256="0" * 64),
            r"photograph \S+c.png has sha256 [0-9a-f]{64}, expected 0{64}; restore",
        ),
        (lambda row: row.update(licence="GFDL"), r"c.png has the licence 'GFDL', expected one of CC-BY-2.0.*allow-lic"),
        (lambda row: row.update(split="dev"), r"row 4: split = 'dev': input should be 'train', 'val' or 'test'"),
        (lambda row: row.update(author=""), r"row 4: author = ''"),
        (
            lambda row: row.update(file="a.png"),
            r"file 'a.png' is in train \(a.png\) and in val \(a.png\), expected in one",
        ),
        (
            lambda row: row.update(file="a.png", split="train"),
            r"file 'a.png' stands there twice, expected once; re",
        ),
        (lambda row: row.update(file="a.gif"), r"name 'a' is in train \(a.png\) and in val \(a.gif\)"),
        (lambda row: row.update(scene="a.png"), r"scene 'a.png' is in train \(a.png\) and in val \(c.png\), expected"),
    ],
)
def test_a_table_that_is_wrong_is_refused(
    rows: list[Row], tmp_path: Path, spoil: Callable[[Row], None], message: str
) -> None:
    spoil(rows[2])
    with pytest.raises(UsageError, match=message):
        read_table(written(tmp_path, rows))


def test_one_photograph_under_two_names_is_refused(rows: list[Row], tmp_path: Path) -> None:
    (tmp_path / "copy.png").write_bytes((tmp_path / "a.png").read_bytes())
    with pytest.raises(UsageError, match=r"sha256 '\w+' is in train \(a.png\) and in test \(copy.png\)"):
        read_table(written(tmp_path, [*rows, {**rows[0], "file": "copy.png", "split": "test"}]))


def test_a_licence_may_be_allowed(rows: list[Row], tmp_path: Path) -> None:
    rows[2]["licence"] = "GFDL"
    assert len(read_table(written(tmp_path, rows), ["GFDL"])) == 4


def test_a_table_that_is_none_is_refused(rows: list[Row], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"missing.csv of photographs cannot be read .* in a checkout and not"):
        read_table(tmp_path / "missing.csv")
    table = written(tmp_path, rows)
    table.write_text(table.read_text().splitlines()[0])
    with pytest.raises(UsageError, match="lists no photographs, expected at least one"):
        read_table(table)


def test_photographs_without_a_crop_are_told(rows: list[Row], tmp_path: Path) -> None:
    found = read_table(written(tmp_path, rows))
    with pytest.raises(UsageError, match=r"b.jpg has a side of 40 pixels, expected at least 42 for crops of 28"):
        crops_of(tmp_path, found[1], 28, 5)
    Image.new("RGB", (50, 50), "gray").save(tmp_path / "a.png")
    with pytest.raises(UsageError, match=r"a.png has no crop that is not flat; leave it out"):
        crops_of(tmp_path, found[0], 8, 5)


def test_crops_are_reduced_and_share_at_most_half(
    rows: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    squares: list[Region] = []
    scaled = photographs.scaled

    def noted(pixels: np.ndarray, square: Region, side: int) -> torch.Tensor:
        squares.append(square)
        return scaled(pixels, square, side)

    monkeypatch.setattr(photographs, "scaled", noted)
    photograph = read_table(written(tmp_path, rows))[0]
    crops = crops_of(tmp_path, photograph, 8, 400)
    assert len(crops.images) == len(squares) > 30
    covers = np.zeros((len(squares), 60, 80), dtype=bool)
    for cover, square in zip(covers, squares, strict=True):
        cover[square.top : square.top + square.height, square.left : square.left + square.width] = True
        assert 12 <= square.height == square.width <= 16
        assert cover.sum() == square.height**2  # none leaves the photograph
    for one in range(len(squares)):
        for other in range(one):
            smaller = min(covers[one].sum(), covers[other].sum())
            assert (covers[one] & covers[other]).sum() <= 0.5 * smaller
    fewer = crops_of(tmp_path, photograph, 8, 5)
    assert torch.equal(fewer.images, crops.images[:5])
    assert not torch.equal(crops_of(tmp_path, read_table(tmp_path / "noise.csv")[3], 8, 5).images, fewer.images)


def test_parts_by_groups_share_no_photograph(tmp_path: Path) -> None:
    found = [noise(tmp_path, f"{name}.png", (30, 30), seed) for seed, name in enumerate("abcdef")]
    pool = find_pool(str(written(tmp_path, found)), 8)
    parts = [pool.part(Part(groups=bounds)) for bounds in ((0, 2), (2, 6), (0, 6))]
    pixels = [{image.numpy().tobytes() for image in part} for part in parts]
    assert not pixels[0] & pixels[1]
    assert pixels[0] | pixels[1] == pixels[2] == {image.numpy().tobytes() for image in pool.crops.images}
    assert len(parts[0]) + len(parts[1]) == len(parts[2])
    assert len(pool.part(Part(groups=(0, 2), images=3))) == 3
    assert not torch.equal(pool.part(Part(groups=(0, 2), seed=1)), parts[0])
    with pytest.raises(UsageError, match=r"noise@\w+ has 6 groups, expected at least 7 for groups = \[2, 7\]; ask"):
        pool.part(Part(groups=(2, 7)))


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 30)), min_size=1, max_size=80),
    st.integers(0, 5),
)
@settings(max_examples=50)
def test_divided_keeps_scenes_whole_and_spreads_subjects(pairs: list[tuple[str, int]], seed: int) -> None:
    scenes = [(subject, f"{subject}{scene}") for subject, scene in pairs]
    splits = divided(scenes, {"test": 0.25, "val": 0.1}, seed)
    assert all(
        len({split for split, (_, its) in zip(splits, scenes, strict=True) if its == scene}) == 1 for _, scene in scenes
    )
    assert divided(scenes[::-1], {"test": 0.25, "val": 0.1}, seed)[::-1] == splits
    for subject in {subject for subject, _ in scenes}:
        own = [split for split, (its, _) in zip(splits, scenes, strict=True) if its == subject]
        largest = max(Counter(scene for its, scene in scenes if its == subject).values())
        assert round(0.25 * len(own)) <= own.count("test") < round(0.25 * len(own)) + largest or "train" not in own


def test_what_is_shipped_is_divided_by_the_rule() -> None:
    table = read_table(TABLE)
    page = TABLE.with_name("README.md")
    files = {file.name for file in TABLE.parent.iterdir()}
    assert files == {photograph.file for photograph in table} | {TABLE.name, page.name}
    scenes = [(photograph.subject, photograph.scene or photograph.file) for photograph in table]
    assert [photograph.split for photograph in table] == divided(scenes, {"test": 0.23, "val": 0.1}, 0)
    counts = Counter(photograph.split for photograph in table)
    assert counts == {"train": 142, "val": 22, "test": 52}
    assert {photograph.subject for photograph in table if photograph.split == "test"} == {
        photograph.subject for photograph in table
    }


def test_who_asks_for_credit_gets_it() -> None:
    page = (TABLE.parent / "README.md").read_text()
    asked = [photograph for photograph in read_table(TABLE) if photograph.licence.startswith("CC-BY")]
    assert len(asked) == 15
    for photograph in asked:
        (row,) = (line for line in page.splitlines() if line.startswith(f"| `{photograph.file}` |"))
        version = photograph.licence.removeprefix("CC-BY-")
        assert photograph.author in row
        assert f"[{photograph.licence}](https://creativecommons.org/licenses/by/{version}/)" in row
        assert photograph.origin in row
