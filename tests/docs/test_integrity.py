"""docs/integrity.md: its commands run, and its figures are those of the code."""

import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest
from places import ROOT

from gfp_bench.boards import publication, reproduction
from gfp_bench.cli import main
from gfp_bench.data.manifest import Manifest
from gfp_bench.engine import canary
from gfp_bench.engine.plan import make_plan
from gfp_bench.engine.records import Store
from gfp_bench.engine.runner import Options, run
from gfp_bench.protocols.protocol import load_protocol
from gfp_bench.registry.discovery import load_plugins

PAGE = (ROOT / "docs" / "integrity.md").read_text()
COMMANDS = re.findall(r"^gfp-bench .*$", PAGE, flags=re.MULTILINE)


@pytest.fixture
def here(toy: Manifest, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with the example's file and a published board of the floors and their like, on clean images."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GFP_BENCH_CACHE", str(cache))
    monkeypatch.setenv("GFP_BENCH_DATA", str(toy.file.parent))
    shutil.copytree(ROOT / "docs", tmp_path / "docs", ignore=shutil.ignore_patterns("*.webp"))
    recipe = load_protocol("attribution@1").model_copy(update={"name": "clean", "attacks": (), "immunise": False})
    plan = make_plan(toy, recipe, [], load_plugins())
    run(plan, Options(manifests={toy.name: toy.file}, cache=cache, results=Path("results")), lambda event: None)
    publication.publish(plan, {toy.name: toy}, Store(Path("results")), Path("leaderboards"))


def test_the_commands_run(here: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """On a small dataset; a seed is given where chance would decide."""
    assert len(COMMANDS) == 3
    monkeypatch.setattr(canary, "dealings", lambda sources: 1)
    for command in COMMANDS:
        words = shlex.split(command.replace("photo-mini-attribution", "toy-clean").replace("photo-mini", "toy"))
        words += ["--seed", "2"] * (words[1] != "leaderboard")
        monkeypatch.setattr(sys, "argv", words)
        try:
            main()
        except SystemExit as stopped:
            assert not stopped.code, (command, capsys.readouterr())


def test_the_figures_are_those_of_the_code() -> None:
    assert f"level {canary.LEVEL:g}" in PAGE
    assert f"{canary._RENAMINGS:,} random renamings" in PAGE
    assert f"| {100 * reproduction.ANSWERS:g} % of the answers" in PAGE
    assert f"| {100 * reproduction.POINTS:g} points of the headline" in PAGE
    assert [canary.dealings(sources) for sources in (2, 3, 4, 5, 6)] == [8, 3, 2, 2, 1]
    assert "eight times for two, three for three, twice for four or\nfive" in PAGE
    assert round(100 * (1 - 0.5**5)) == 97 and "97 of 100" in PAGE
    assert round(100 * (1 - 0.9**5)) == 41 and "in 41" in PAGE
    assert "up to 5.0 points apart" in PAGE
    assert "5.0 points" in (ROOT / "docs" / "reproducibility.md").read_text()
