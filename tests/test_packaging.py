"""A wheel has what a checkout has, and what is installed can be typed against; `.ci/run` looks at the sdist."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from zipfile import ZipFile

import pytest
from places import ROOT

import gfp_bench

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SOURCES = [ROOT / "gfp_bench", *sorted((ROOT / "plugins").glob("gfp_bench_*"))]
TEXT = {".py", ".toml", ".md", ".txt", ".cfg", ".json", ".csv", ".sh", ""}
FOLDERS = ("gfp_bench", "plugins", "datasets", "docs", "leaderboards", ".ci")


def shipped() -> list[Path]:
    files = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if "__pycache__" not in path.parts]
    found = (path for path in (*files, *ROOT.glob("*.*")) if path.name != ".git")  # a file, in a worktree
    return [path for path in found if path.is_file() and path.suffix in TEXT]


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]


@pytest.mark.timeout(240)
def test_a_wheel_has_what_the_tree_has(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    expected = {path.relative_to(source.parent).as_posix() for source in SOURCES for path in files(source)}
    expected |= {
        f"gfp_bench_datasets/{path.relative_to(ROOT / 'datasets').as_posix()}"
        for path in files(ROOT / "datasets")
        if path.parent != ROOT / "datasets" or path.suffix not in (".png", ".webp")  # contact sheets
        if path.parent != ROOT / "datasets" / "photographs"  # only trainings need them
    }
    assert packed == expected


@pytest.mark.timeout(240)
def test_a_plugin_of_somebody_elses_is_typed_against_what_is_installed(tmp_path: Path) -> None:
    shutil.copy(ROOT / "docs" / "example_method.py", tmp_path)
    cache = ROOT / ".mypy_cache"  # has torch from the check of the checkout, which takes two minutes
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(cache), "example_method.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_public_names_are_there() -> None:
    assert {*gfp_bench.__all__} <= {*dir(gfp_bench)}
    names: dict[str, object] = {}
    exec("from gfp_bench import *", names)
    assert {*gfp_bench.__all__} <= names.keys()


def test_every_folder_with_code_is_a_package() -> None:
    folders = {path.parent for source in SOURCES for path in source.rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []


def test_nothing_at_the_root_shadows_a_package(tmp_path: Path) -> None:
    """An editable install has two folders on its path; in them, a folder without code gives way to any package."""
    roots = (ROOT, ROOT / "plugins")
    assert {path.parent for root in roots for path in root.glob("*/__init__.py")} == {*SOURCES}
    assert [path for root in roots for path in root.glob("*.py")] == []
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "__init__.py").write_text("whose = 'another'")
    code = "import sys; sys.path = [*sys.path, sys.argv[1]]; import datasets; print(datasets.whose)"
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout == "another\n"


def test_the_version_is_one() -> None:
    code = (ROOT / "gfp_bench" / "__init__.py").read_text()
    assert f'__version__ = "{PROJECT["project"]["version"]}"' in code


def test_no_file_has_a_path_of_the_machine_it_was_written_on() -> None:
    path = re.compile(r"(?<![\w.])/(?:home|root|work|Users|mnt|scratch)/\w+")
    assert [(file, path.findall(file.read_text())) for file in shipped() if path.search(file.read_text())] == []
