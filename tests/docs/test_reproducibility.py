"""docs/reproducibility.md: its commands run, and it leaves out no attack and no method."""

import re
import shlex
import sys
from pathlib import Path

import pytest
from places import ROOT

from gfp_bench import load_plugins
from gfp_bench.cli import main

PAGE = (ROOT / "docs" / "reproducibility.md").read_text()
COMMANDS = re.findall(r"^(\w+=\w+) (gfp-bench .*)$", PAGE, flags=re.MULTILINE)


@pytest.mark.parametrize(("switch", "command"), COMMANDS)
def test_a_command_of_the_page_runs(
    switch: str, command: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a few images. The switch is left to a new process; CONTRIBUTING.md has it too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GFP_BENCH_CACHE", str(cache))
    monkeypatch.setattr(sys, "argv", [*shlex.split(command), "--limit", "2"])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert not stopped.value.code
    assert switch in (ROOT / "CONTRIBUTING.md").read_text()


def test_the_table_leaves_nothing_out() -> None:
    plugins = load_plugins()
    (attacks,) = re.findall(r"^\| attacked images: ([^|]*) \|", PAGE, flags=re.MULTILINE)
    assert attacks.split(", ") == sorted(plugins.attacks)
    assert [name for name in plugins.methods if f"`{name}`" not in PAGE.partition("## How")[0]] == []
