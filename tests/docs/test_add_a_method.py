"""The pages say what is so: their code is the tested file, their commands run, their links lead somewhere."""

import inspect
import re
import shlex
import sys
import tomllib
from pathlib import Path

import pytest
from places import ROOT

from gfp_bench import checks
from gfp_bench.cli import main
from gfp_bench.data.manifest import Manifest

PAGE = ROOT / "docs" / "add-a-method.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)


def test_the_page_shows_the_example_as_it_is() -> None:
    assert blocks("python") == [(ROOT / "docs" / "example_method.py").read_text()]


@pytest.mark.parametrize("command", "".join(blocks("sh")).splitlines())
def test_a_command_of_the_page_runs(
    command: str, toy: Manifest, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = shlex.split(command)
    small = ["-d", str(toy.file), "--output", str(tmp_path), "--device", "cpu"] if words[1] == "run" else []
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("GFP_BENCH_CACHE", str(cache))
    monkeypatch.setattr(sys, "argv", [*words, *small])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert not stopped.value.code


def test_the_page_names_every_check() -> None:
    table = re.findall(r"^\| ([a-z ,]+) \|", PAGE.read_text(), flags=re.MULTILINE)
    names = {name for row in table for name in row.split(", ")} - {"check"}
    findings = checks.check_method(example())
    assert names == {finding.check for finding in findings if finding.passed}


def example() -> type:
    from gfp_bench.registry.discovery import load_plugins

    return load_plugins([ROOT / "docs" / "example_method.py"]).method("mean-colour")


def test_the_example_is_about_thirty_lines_of_code() -> None:
    lines = [line for line in inspect.getsource(sys.modules[example().__module__]).splitlines() if line.strip()]
    assert len(lines) <= 40


def test_the_package_of_the_page_has_the_entry_point_that_is_looked_for() -> None:
    (snippet,) = blocks("toml")
    assert "gfp_bench" in tomllib.loads(snippet)["project"]["entry-points"]


@pytest.mark.parametrize("page", [PAGE, ROOT / "CONTRIBUTING.md", ROOT / "README.md"], ids=lambda page: page.name)
def test_links_between_files_lead_somewhere(page: Path) -> None:
    targets = [target for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()) if "://" not in target]
    assert [target for target in targets if not (page.parent / target).exists()] == []
