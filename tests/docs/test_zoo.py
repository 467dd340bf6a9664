"""The page on the zoo says what is so: its recipe builds, its commands run, its tables name what there is."""

import re
import shlex
import sys
from pathlib import Path

import pytest
from places import ROOT

from gfp_bench import load_plugins
from gfp_bench.cli import main
from gfp_bench.zoo.recipe import recipe_names

PAGE = (ROOT / "docs" / "zoo.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.timeout(240)
def test_the_commands_of_the_page_run(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (recipe,) = blocks("toml")
    (tmp_path / "two-seeds.toml").write_text(recipe)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GFP_BENCH_CACHE", str(cache))
    for command in "".join(blocks("sh")).splitlines():
        monkeypatch.setattr(sys, "argv", shlex.split(command, comments=True))
        with pytest.raises(SystemExit) as stopped:
            main()
        assert not stopped.value.code, (command, capsys.readouterr().err)


def test_the_tables_name_every_generator_and_recipe() -> None:
    rows = {cells[0]: cells[1:] for cells in re.findall(r"^\| `([a-z0-9_-]+)` \| (.*) \|$", PAGE, flags=re.MULTILINE)}
    plugins = load_plugins()
    assert set(rows) == {*plugins.generators, *recipe_names()} | {"photo-mini"}
    for name in plugins.generators:
        found = plugins.generator(name).metadata
        cells = rows[name][0].split(" | ")
        assert cells[0] == plugins.generator(name).paper
        assert cells[1:] == [found["family"], found.get("loss", "as it was"), found.get("upsampling", "as it was")]
