"""`gfp-bench data` and the datasets that are made on first use, as a user meets them; the card's commands run."""

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from noise_files import save
from PIL import Image
from places import ROOT

from gfp_bench.contracts.settings import parse_spec
from gfp_bench.data.manifest import Manifest, read_manifest
from gfp_bench.data.photographs import Crops

CARD = ROOT / "datasets" / "sine.md"
(COMMANDS,) = re.findall(r"^```sh\n(.*?)^```$", CARD.read_text(), flags=re.MULTILINE | re.DOTALL)


def tiny(word: str) -> str:
    """Return a word, with a few small images in place of `sine`'s many."""
    if not re.match(r"sine(\[|$)", word):
        return word
    settings = {"side": "36"} | parse_spec(word)[1] | {"train": "4", "val": "2", "test": "2"}
    return f"sine[{','.join(f'{key}={value}' for key, value in settings.items())}]"


@pytest.fixture
def cli(cli: Callable) -> Callable:
    """Calls the command line with `tiny` words."""
    return lambda *words: cli(*map(tiny, words))


@pytest.mark.parametrize("command", COMMANDS.splitlines())
def test_a_command_of_the_card_runs(cli: Callable, command: str) -> None:
    program, *words = shlex.split(command, comments=True)
    assert program == "gfp-bench"
    if words[0] == "run":
        words[0] = "plan"  # the same options, and no trial
    code, out, err = cli(*words)
    assert code == 0, err
    assert "sine" in out


def test_the_list_has_what_can_be_made(cli: Callable) -> None:
    assert "sine" in json.loads(cli("list", "--json")[1])["datasets"]


def test_splits_are_drawn_by_shares(cli: Callable, tmp_path: Path) -> None:
    for number in range(20):
        save(tmp_path / "flat" / ("gan", "real")[number % 2] / f"{number}.png")
    code, out, err = cli("data", "index", "flat", "drawn", "--shares", "0.4,0.2,0.4")
    assert code == 0, err
    assert read_manifest(Path(out.strip())).splits == {"train": 8, "val": 4, "test": 8}
    for shares, message in (("0.5,0.5", "expected three shares"), ("0.5,0.2,x", "expected three"), ("1,1,1", "add up")):
        code, _, err = cli("data", "index", "flat", "drawn", "--shares", shares)
        assert code in (2, 3)
        assert message in err


def test_measures_are_told_as_tables_and_as_json(cli: Callable, toy: Manifest) -> None:
    code, out, err = cli("data", "measure", str(toy.file), "--split", "test")
    assert code == 0, err
    assert "Measured on test" in out
    assert "| `thumbnail`" in out
    found = json.loads(cli("data", "measure", str(toy.file), "--json")[1])
    assert (found["dataset"], found["split"]) == ("toy", "val")
    assert set(found["sources"]["gan-a"]) == {"images", "frechet", "to_pool", "to_train"}


def test_a_pool_is_that_of_a_dataset_s_generators(
    cli: Callable, toy: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = Crops(torch.zeros(2, 3, 64, 64, dtype=torch.uint8), ("china", "coffee"))
    monkeypatch.setattr("gfp_bench.data.photographs.pool", lambda side: few)
    own, named = (
        json.loads(cli("data", "measure", str(toy.file), "--json", *more)[1])
        for more in ((), ("--pool", str(toy.file)))
    )
    assert own == named
    code, _, err = cli("data", "measure", str(toy.file), "--pool", "photographs")
    assert code == 2
    assert "the pool's images have shape (3, 64, 64), expected (3, 32, 32)" in err
    code, _, err = cli("data", "measure", str(toy.file), "--pool", "sine")
    assert code == 2
    assert "dataset 'sine+side-36+test-2+train-4+val-2' has no source 'real' to learn from" in err


def test_splits_and_datasets_that_cannot_be_are_refused(cli: Callable, toy: Manifest) -> None:
    assert cli("data", "measure", str(toy.file), "--split", "train")[0] == 2
    code, _, err = cli("data", "info", "sine[cycles=18]")
    assert code == 2
    assert "sine has cycles = 18, expected 1 to 17 at 36 pixels; change it" in err


@pytest.mark.parametrize("ending", ["png", "webp"])
def test_a_contact_sheet_loses_nothing(cli: Callable, tmp_path: Path, ending: str) -> None:
    words = ("--out", f"sheet.{ending}", "--columns", "2", "--rows", "1")
    assert cli("data", "contact-sheet", "sine", *words)[0] == 0
    assert cli("data", "contact-sheet", "sine", *words[2:], "--out", "sheet.bmp")[0] == 0
    drawn, expected = (np.asarray(Image.open(tmp_path / name)) for name in (f"sheet.{ending}", "sheet.bmp"))
    assert np.array_equal(drawn, expected)


def test_what_is_found_goes_to_stderr_and_the_manifest_s_path_to_stdout(cli: Callable, tmp_path: Path) -> None:
    for number in range(12):
        save(tmp_path / "flat" / ("gan", "real")[number % 2] / f"{number}.png", kind=("JPEG", "PNG")[number % 2])
    (tmp_path / "elsewhere").mkdir()
    words = ("data", "index", "flat", "mine", "--shares", "0.34,0.33,0.33", "--out", "elsewhere", "--licence", "CC0")
    code, out, err = cli(*words)
    assert code == 0, err
    assert out == f"{tmp_path}/elsewhere/mine.toml\n"
    assert "sizes: 8 x 8 (12)" in err
    assert "look: sources have other formats (gan JPEG, real PNG)" in err
    assert cli(*words[:-2])[0] == 0
    assert read_manifest(tmp_path / "elsewhere" / "mine.toml").licence == "CC0"


def test_an_audit_tells_leaks_with_how_much_they_tell(cli: Callable, tmp_path: Path) -> None:
    for split in ("train", "val"):
        for number in range(20):
            save(
                tmp_path / "images" / split / ("gan", "real")[number % 2] / f"{number}.png",
                kind=("BMP", "PNG")[number % 2],
            )
    assert cli("data", "index", "images", "mine")[0] == 0
    code, out, err = cli("data", "audit", "mine.toml")
    assert code == 0, err
    assert "bytes_median" in out
    assert "leak: format differs: gan BMP, real PNG" in err
    assert (
        "files alone, by their facts, name the source of 100.0 % on val (95 %: 100.0 to 100.0); chance is 50.0 %" in err
    )


def test_a_plan_notices_files_that_are_gone_and_verify_a_cache_that_changed(
    cli: Callable, tmp_path: Path, cache: Path
) -> None:
    for split in ("train", "val", "test"):
        for number in range(6):
            save(tmp_path / "images" / split / ("gan", "real")[number % 2] / f"{number}.png", (16, 16))
    assert cli("data", "index", "images", "noticed")[0] == 0
    assert cli("data", "contact-sheet", "noticed.toml", "--out", "sheet.png", "--columns", "1", "--rows", "1")[0] == 0
    assert "all 18 decoded images in" in cli("data", "verify", "noticed.toml")[1]
    assert cli("plan", "-d", "noticed.toml", "-m", "knn")[0] == 0
    (decoded,) = (cache / "decoded").glob("noticed-*.npy")
    content = decoded.read_bytes()
    decoded.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    code, _, err = cli("data", "verify", "noticed.toml")
    assert (code, "has changed since it was filled" in err) == (3, True)
    (tmp_path / "images" / "test" / "gan" / "0.png").unlink()
    code, _, err = cli("plan", "-d", "noticed.toml", "-m", "knn")
    assert (code, "1 of 18 files are no longer in" in err) == (3, True)
