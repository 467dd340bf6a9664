"""`zoo` and what belongs to it on the command line."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pytest
import torch
from dice import Dice
from full_disk import room_for
from PIL import Image
from places import SUPPORT

from gfp_bench.data.manifest import Manifest
from gfp_bench.files import sha256

Call: TypeAlias = Callable[..., tuple[int, str, str]]
DICE = str(SUPPORT / "dice.py")
RECIPE = """
schema_version = 1
name = "dices"
description = "Two dice."
licence = "CC0-1.0"
side = 32
pool = "toy"
images = { train = 6, val = 2, test = 3 }
surplus = 2
sources = { one = { generator = "dice", steps = 5 }, two = { generator = "dice", steps = 5, seed = 1 } }
"""


@pytest.fixture
def cli(cli: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, toy: Manifest) -> Call:
    """Calls the command line in a folder with a recipe."""
    monkeypatch.setenv("GFP_BENCH_DATA", str(toy.file.parent))
    (tmp_path / "dices.toml").write_text(RECIPE)
    return cli


def test_build_says_how_long_it_takes_and_goes_on(cli: Call) -> None:
    asked = ("zoo", "build", "dices.toml", "--out", "out", "--plugin", DICE)
    code, out, err = cli(*asked, "--estimate")
    assert (code, out) == (0, "")
    assert "dices: 3 of 3 sources are to be made" in err
    assert [line.split()[:2] for line in err.splitlines() if line.startswith(("one", "two"))] == [
        ["one", "5"],
        ["two", "5"],
    ]
    assert not Path("out").exists()

    code, out, err = cli(*asked, "--source", "two")
    assert (code, out) == (0, "")
    assert "dices: 1 of 1 sources are to be made" in err
    assert err.splitlines()[-1] == "still to be made: real, one"
    assert Path("zoo/dices/two/sheet-000005.png").exists()

    code, out, err = cli(*asked)
    assert (code, out) == (0, f"{Path('out/dices.toml').absolute()}\n")
    assert "dices: 2 of 3 sources are to be made" in err
    code, again, err = cli(*asked)
    assert (code, again) == (0, out)
    assert "0 of 3" in err

    code, out, err = cli(
        "data", "contact-sheet", "out/dices.toml", "--out", "sheet.png", "--columns", "2", "--rows", "1"
    )
    assert (code, out) == (0, "sheet.png\n")
    assert "1 x 2 images each of one, real, two" in err
    with Image.open("sheet.png") as sheet:
        assert sheet.size == (64, 96)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("dice.toml",), "recipe dice.toml cannot be read"),
        (("gm-foto64",), "unknown recipe 'gm-foto64'; did you mean"),
        (("dices.toml", "--source", "tow"), "unknown source 'tow'; did you mean 'two'?"),
        (("dices.toml",), "unknown generator 'dice'"),
        (("dices.toml", "--plugin", DICE, "--device", "tpu"), "'tpu' is no device"),
    ],
)
def test_usage_errors_are_exit_2(cli: Call, words: tuple[str, ...], message: str) -> None:
    code, _, err = cli("zoo", "build", *words, "--out", "out")
    assert code == 2
    assert message in " ".join(err.replace("│", " ").split())


def test_train_then_sample_from_the_folder_or_by_name_and_path(cli: Call) -> None:
    pool = ("--pool", "toy", "--plugin", DICE)
    assert cli("zoo", "train", "dice", "--out", "one", "--steps", "3", *pool, "--sheets", "1")[:2] == (0, "one\n")
    assert Path("one/sheet-000003.png").exists()
    for source, out in (("one", "folder"), ("dice:one", "path"), ("dice[path=one]", "setting")):
        assert cli("zoo", "sample", source, "-n", "2", "--out", out, "--plugin", DICE)[:2] == (0, f"{out}\n")
    images = [
        [np.asarray(Image.open(file)) for file in sorted(Path(out).iterdir())] for out in ("folder", "path", "setting")
    ]
    dice = Dice()
    dice.load(Path("one"))
    expected = dice.sample(2, rng=torch.Generator().manual_seed(0)).permute(0, 2, 3, 1).numpy()
    for some in images:
        np.testing.assert_array_equal(some, expected)


def test_samples_without_room_are_named_and_not_half_there(cli: Call) -> None:
    cli("zoo", "train", "dice", "--out", "one", "--steps", "3", "--pool", "toy", "--plugin", DICE)
    with room_for(1000):
        code, _, err = cli("zoo", "sample", "one", "-n", "4", "--out", "samples", "--plugin", DICE)
    assert code == 1
    assert err.startswith("gfp-bench: samples/00000")
    assert list(Path("samples").iterdir()) == []


def test_diverged_training_is_one_line(cli: Call) -> None:
    code, _, err = cli(
        "zoo", "train", "dice[burst=2]", "--out", "one", "--steps", "3", "--pool", "toy", "--plugin", DICE
    )
    assert code == 1
    told = "gfp-bench: training diverged at step 2; one keeps nothing of it, as no checkpoint was due yet"
    assert err.splitlines()[-1] == told


def test_table_of_photographs_is_a_pool_if_its_licences_allow_it(cli: Call) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save("noise.png")
    digest = sha256(Path("noise.png").read_bytes())
    Path("table.csv").write_text(
        f"file,split,author,licence,origin,sha256\nnoise.png,train,us,GFDL,drawn,{digest}\n", encoding="utf-8"
    )
    asked = ("zoo", "train", "dice", "--out", "one", "--steps", "3", "--size", "8", "--plugin", DICE)
    code, _, err = cli(*asked, "--pool", "table.csv")
    assert code == 2
    assert "noise.png has the licence 'GFDL', expected one of CC-BY-2.0" in err
    assert not Path("one").exists()
    assert cli(*asked, "--pool", "table.csv", "--allow-licence", "GFDL")[:2] == (0, "one\n")


def test_size_that_a_pool_does_not_have_is_exit_2(cli: Call) -> None:
    asked = ("zoo", "train", "dice", "--out", "one", "--steps", "3", "--pool", "toy", "--plugin", DICE)
    code, _, err = cli(*asked, "--size", "64")
    assert code == 2
    assert "has images of 32 x 32 pixels, expected squares of 64" in err
    assert not Path("one").exists()
