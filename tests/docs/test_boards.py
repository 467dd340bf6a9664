"""docs/boards.md: its commands run, in the order in which they stand there, and what they leave passes the check."""

import re
import shlex
import sys
from pathlib import Path

import pytest
from PIL import Image
from places import ROOT

from gfp_bench.cli import main
from gfp_bench.data.indexing import index_folder

PAGE = (ROOT / "docs" / "boards.md").read_text(encoding="utf-8")
COMMANDS = [line for line in PAGE.splitlines() if line.startswith("gfp-bench ")]
SHADES = {"real": 40, "gan": 200}


@pytest.mark.timeout(300)
def test_the_commands_run(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "path" / "to"
    for split, count in {"train": 4, "val": 2, "test": 2}.items():
        for source, shade in SHADES.items():
            (folder / "mine" / split / source).mkdir(parents=True)
            for number in range(count):
                tone = (shade + number, 3 * len(split), 7 * number)  # no two images are alike
                Image.new("RGB", (16, 16), tone).save(folder / "mine" / split / source / f"{number}.png")
    index_folder(folder / "mine", "mine")
    assert (folder / "mine.toml").exists()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GFP_BENCH_CACHE", str(cache))
    said = ""
    for command in [*COMMANDS, "gfp-bench leaderboard --check --boards boards"]:
        monkeypatch.setattr(sys, "argv", shlex.split(command))
        with pytest.raises(SystemExit) as stopped:
            main()
        out, err = capsys.readouterr()
        said += out + err
        assert not stopped.value.code, (command, err)
    assert "added: the row knn[k=1]" in said
    assert "added: the row knn[k=3]" in said
    assert "39 published cells count as done" not in said, "two contenders and four floors, 13 cells each"
    assert "78 published cells count as done" in said
    board = (tmp_path / "boards" / "mine-attribution@0.md").read_text(encoding="utf-8")
    assert re.findall(r"`(knn[^`]*)` \(note", board) != []
    (pasted,) = re.findall(r"Made again from its records by `(.*)`\.", board)
    assert (
        pasted == "gfp-bench run -d path/to/mine.toml -p attribution@0 -m 'knn' -m 'knn[k=1]' -m 'knn[k=3]' --seeds 0"
    )
    monkeypatch.setattr(sys, "argv", [*shlex.split(pasted), "-o", "fresh"])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert not stopped.value.code
    assert "done:" not in capsys.readouterr().err, "the command is that of the same cells"


def test_the_page_names_every_option() -> None:
    for option in ("--add", "--replace", "--again", "--check", "--methods", "--columns", "--no-floors", "--limit"):
        assert option in PAGE
