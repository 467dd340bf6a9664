"""What the README shows works, command by command, in the order in which it stands there."""

import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest
from places import ROOT

from gfp_bench.cli import main
from gfp_bench.data.manifest import Manifest

README = (ROOT / "README.md").read_text()
COMMANDS = [line.partition("#")[0].strip() for line in README.splitlines() if line.startswith("gfp-bench ")]


@pytest.mark.timeout(240)
def test_the_commands_run(
    toy: Manifest, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(toy.root, tmp_path / "path" / "to" / "images")
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GFP_BENCH_CACHE", str(cache))
    for command in COMMANDS:
        words = shlex.split(command)
        if words[1:3] == ["run", "-d"]:
            words += ["-m", "knn"]  # the default's trainings take minutes
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as stopped:
            main()
        assert not stopped.value.code, (command, capsys.readouterr().err)


def test_the_commands_are_those_that_make_knows() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", README, flags=re.MULTILINE):
        assert f"\n{target}:" in makefile


def test_the_notebook_runs(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(cache))
    (block,) = re.findall(r"^```python\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(block, "README.md", "exec"), names)
    assert names["features"].shape == (480, 43)  # type: ignore[attr-defined]
    assert names["attacked"].shape == (480, 3, 64, 64)  # type: ignore[attr-defined]
