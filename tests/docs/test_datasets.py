"""docs/datasets.md: its commands run, one after the other, in folders as it shows them."""

import re
import shlex
import sys
from pathlib import Path

import pytest
from noise_files import save
from places import ROOT

from gfp_bench.cli import main
from gfp_bench.data.decoding import FORMATS
from gfp_bench.data.manifest import read_index, read_manifest

PAGE = (ROOT / "docs" / "datasets.md").read_text()
(COMMANDS,) = re.findall(r"^```sh\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


def test_the_commands_of_the_page_run(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for source in ("dcgan", "real"):
        for split in ("train", "val", "test"):
            for number in range(3):
                save(tmp_path / "images" / split / source / f"{number}.png")
        for number in range(20):
            save(tmp_path / "flat" / source / f"prompt{number // 2}-{number}.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GFP_BENCH_CACHE", str(cache))
    for command in COMMANDS.splitlines():
        program, *words = shlex.split(command, comments=True)
        assert program == "gfp-bench"
        monkeypatch.setattr(sys, "argv", ["gfp-bench", *words])
        with pytest.raises(SystemExit) as stopped:
            main()
        assert not stopped.value.code, (command, capsys.readouterr().err)
    assert read_manifest(tmp_path / "mine.toml").splits == {"train": 6, "val": 6, "test": 6}
    index = read_index(read_manifest(tmp_path / "prompts.toml"))
    assert (index.groupby("group")["split"].nunique() == 1).all()
    assert index["split"].value_counts().to_dict() == {"train": 24, "val": 8, "test": 8}


def test_the_page_names_every_format() -> None:
    (listed,) = re.findall(r"(PNG, [A-Za-z, ]+) are read, by Pillow", PAGE)
    assert {name.upper() for name in re.split(r", | and ", listed)} == set(FORMATS)
