"""What files give away without a look at their pixels."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from noise_files import save
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from gfp_bench.data.audit import audit, describe, file_facts, leaks, look_alikes, told_by_files
from gfp_bench.data.decoding import View
from gfp_bench.data.index import SEEN, to_parquet
from gfp_bench.data.indexing import index_folder
from gfp_bench.data.manifest import read_index


def write(root: Path, each: int = 20) -> None:
    rng = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for source in ("gan", "real"):
            folder = root / split / source
            folder.mkdir(parents=True)
            for number in range(each):
                Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(folder / f"{number}.png")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path / "toy")
    return tmp_path / "toy"


def rewrite(root: Path, source: str, **options: object) -> None:
    for file in root.glob(f"*/{source}/*.png"):
        image = Image.open(file)
        image.load()
        image.save(file, **options)


def told(root: Path) -> dict[str, tuple[float, float, float]]:
    return told_by_files(file_facts(index_folder(root, "toy")))


def test_files_of_one_writer_give_nothing_away(root: Path) -> None:
    found = told(root)
    assert found["facts"] == (0.5, 0.5, 0.5)
    assert found["bytes"][1] <= 0.5 <= found["bytes"][2]


@pytest.mark.parametrize(
    "options",
    [
        {"compress_level": 1},
        {"pnginfo": PngInfo(), "dpi": (72, 72)},
        {"format": "JPEG", "quality": 90},
        {"format": "BMP"},
    ],
    ids=lambda options: str(next(reversed(options))),
)
def test_another_writer_gives_its_source_away(root: Path, options: dict[str, object]) -> None:
    rewrite(root, "gan", **options)
    assert told(root)["facts"] == (1.0, 1.0, 1.0)


def test_text_in_a_file_gives_its_source_away_though_it_never_repeats(root: Path) -> None:
    for number, file in enumerate(sorted(root.glob("*/gan/*.png"))):
        text = PngInfo()
        text.add_text("prompt", f"a cat, seed {number}")
        Image.open(file).copy().save(file, pnginfo=text)
    assert told(root)["facts"][0] == 1.0


def test_quantisation_of_jpeg_gives_its_source_away(root: Path) -> None:
    rewrite(root, "gan", format="JPEG", quality=90)
    rewrite(root, "real", format="JPEG", quality=91)
    assert told(root)["facts"][0] == 1.0


def files(sizes: dict[str, list[int]]) -> pd.DataFrame:
    return pd.DataFrame(
        {"split": split, "source": source, "group": f"{source}{split}{i}", "bytes": size}
        | dict.fromkeys(("format", "mode", "size", "encoding"), "x")
        for split in ("train", "val")
        for source, found in sizes.items()
        for i, size in enumerate(found)
    )


def test_sizes_that_do_not_overlap_give_sources_away() -> None:
    found = told_by_files(files({"a": list(range(100, 140)), "b": list(range(140, 180))}))
    assert found["bytes"] == (1.0, 1.0, 1.0)
    assert found["facts"][0] == 0.5


def test_equal_sizes_give_nothing_away() -> None:
    assert told_by_files(files({"a": [100] * 10, "b": [100] * 10}))["bytes"] == (0.5, 0.5, 0.5)


def test_a_size_that_training_never_had_is_guessed_by_its_bin() -> None:
    table = files({"a": list(range(100, 140)), "b": list(range(140, 180))})
    table.loc[table["split"] == "val", "bytes"] = [1] * 40 + [10**6] * 40
    assert told_by_files(table)["bytes"][0] == 1.0


def test_facts_that_training_never_had_count_for_the_commonest_source() -> None:
    table = files({"a": [1] * 10, "b": [1] * 11})
    table.loc[table["split"] == "val", "format"] = "new"
    assert told_by_files(table)["facts"][0] == 0.5


def test_a_mistake_counts_once_a_group() -> None:
    table = files({"a": [1] * 40, "b": [2] * 40})
    wrong = (table["split"] == "val") & (table["source"] == "a")
    table.loc[table.index[wrong][:20], "bytes"] = 2
    table.loc[wrong, "group"] = ["one"] * 20 + ["other"] * 20
    accuracy, low, high = told_by_files(table)["bytes"]
    assert (accuracy, low, high) == (0.75, 0.5, 1.0)


def test_description_counts_images_and_groups(cats: Path) -> None:
    manifest = index_folder(cats, "toy", group=r"/(cat\d)\.", shared_groups="cats")
    told = describe(manifest)
    assert told["images"] == {source: {"train": 3, "val": 3, "test": 3} for source in ("gan", "real")}
    assert told["groups"] == {"gan": 2, "real": 2}
    assert told["digest"] == manifest.digest


def test_audit_of_equal_files_finds_no_leak(cats: Path) -> None:
    table = audit(index_folder(cats, "toy")).set_index("source")
    assert table.loc["gan", "format"] == {"PNG": 9}
    assert table.loc["gan", "mode"] == {"RGB": 9}
    assert table.loc["real", "size"] == {"8 x 8": 9}
    sizes = [file.stat().st_size for file in cats.glob("*/gan/*.png")]
    assert table.loc["gan", ["bytes_min", "bytes_median", "bytes_max"]].tolist() == [
        min(sizes),
        np.median(sizes),
        max(sizes),
    ]
    assert leaks(table.reset_index()) == []


def test_audit_tells_format_by_content_and_sizes_that_betray(cats: Path) -> None:
    for file in cats.glob("*/gan/*.png"):
        save(file, (40, 40), kind="JPEG")  # keeps its name
    save(cats / "train" / "gan" / "again.png", (40, 40), kind="JPEG")
    (cats / "train" / "gan" / "copy.png").write_bytes((cats / "train" / "gan" / "again.png").read_bytes())
    table = audit(index_folder(cats, "toy", view=View(crop="center:8")))
    assert table["repeated"].tolist() == [1, 0]
    assert leaks(table) == [
        "format differs: gan JPEG, real PNG",
        "size differs: gan 40 x 40, real 8 x 8",
        "file size differs: all files of real are smaller than those of gan",
    ]


def test_shares_that_differ_are_told_where_no_file_is_beyond_doubt(root: Path) -> None:
    for number, file in enumerate(sorted(root.glob("*/*/*.png"))):
        if ("/real/" in str(file)) != (number % 10 == 0):
            rewritten = Image.open(file).copy()
            rewritten.save(file, format="JPEG", quality=95)
    (found,) = leaks(audit(index_folder(root, "toy")))
    assert re.fullmatch(r"format differs: gan PNG 9\d % and JPEG \d+ %, real JPEG 9\d % and PNG \d+ %", found)


@pytest.mark.parametrize(
    ("real", "gan", "message"),
    [
        ({"quality": 85}, {"quality": 95}, "quantisation differs: gan "),
        ({"subsampling": 2}, {"subsampling": 0}, "subsampling differs: gan 4:4:4, real 4:2:0"),
        ({"progressive": True}, {}, "coding differs: gan baseline, real progressive"),
        ({"restart_marker_blocks": 2}, {}, "restart differs: gan none, real 2"),
        ({"optimize": True}, {}, "huffman differs: gan as the standard's, real own"),
        ({"comment": "by hand"}, {}, "metadata differs: gan none, real comment"),
        ({"icc_profile": b"a profile"}, {}, "profile differs: gan none, real "),
    ],
)
def test_what_an_encoder_chose_is_told(
    root: Path, real: dict[str, object], gan: dict[str, object], message: str
) -> None:
    rewrite(root, "real", format="JPEG", **{"quality": 90, **real})
    rewrite(root, "gan", format="JPEG", **{"quality": 90, **gan})
    assert any(leak.startswith(message) for leak in leaks(audit(index_folder(root, "toy"))))


def test_lossless_webp_is_told_from_lossy(root: Path) -> None:
    rewrite(root, "real", format="WEBP", quality=90)
    rewrite(root, "gan", format="WEBP", lossless=True)
    assert leaks(audit(index_folder(root, "toy")))[0] == "coding differs: gan lossless, real lossy"


def test_differences_that_chance_explains_are_no_leak(root: Path) -> None:
    for file in [*root.glob("train/gan/1*.png")][:3]:
        Image.open(file).copy().save(file, format="BMP")
    assert leaks(audit(index_folder(root, "toy"))) == []


def test_look_alikes_are_found_whether_or_not_the_index_knows(root: Path) -> None:
    near = np.asarray(Image.open(root / "train" / "gan" / "1.png")).copy()
    near[0, 0] ^= 1
    Image.fromarray(near).save(root / "val" / "gan" / "near.png")
    manifest = index_folder(root, "toy")
    found = look_alikes(manifest)
    assert found[0].startswith("look: 2 images are near duplicates of another by their perceptual hash, 2 of them acro")
    manifest.index_file.write_bytes(to_parquet(read_index(manifest).drop(columns=SEEN.names)))
    assert look_alikes(manifest) == found
