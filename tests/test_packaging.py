"""What is written in pyproject.toml is what lies in the tree, so that a wheel has what a checkout has."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SETUPTOOLS = PROJECT["tool"]["setuptools"]
SOURCES = [ROOT / "gfp_bench", *sorted((ROOT / "plugins").glob("gfp_bench_*"))]
TEXT = {".py", ".toml", ".md", ".txt", ".cfg", ".json", ".csv", ".sh", ""}
FOLDERS = ("gfp_bench", "plugins", "datasets", "docs", "leaderboards", ".ci")


def dotted(folder: Path, source: Path) -> str:
    return ".".join(folder.relative_to(source.parent).parts)


def shipped() -> list[Path]:
    files = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if "__pycache__" not in path.parts]
    return [path for path in (*files, *ROOT.glob("*.*")) if path.is_file() and path.suffix in TEXT]


def test_every_package_of_the_tree_is_listed() -> None:
    found = {dotted(path.parent, source) for source in SOURCES for path in source.rglob("__init__.py")}
    assert {*SETUPTOOLS["packages"]} == found | {"gfp_bench_datasets"}
    assert len(SETUPTOOLS["packages"]) == len(found) + 1


def test_every_folder_with_code_is_a_package() -> None:
    folders = {path.parent for source in SOURCES for path in source.rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []


def test_packages_lie_where_the_project_says() -> None:
    for package, folder in SETUPTOOLS["package-dir"].items():
        assert (ROOT / folder).is_dir(), package
    assert not (ROOT / "datasets" / "__init__.py").exists()  # it would shadow Hugging Face's package


def test_what_is_not_code_is_shipped_too() -> None:
    patterns = SETUPTOOLS["package-data"]
    matched = {path for pattern in patterns["gfp_bench"] for path in (ROOT / "gfp_bench").glob(pattern)}
    others = {path for path in (ROOT / "gfp_bench").rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert (ROOT / "gfp_bench" / "py.typed") in others
    assert others == matched


def test_every_file_of_a_dataset_but_its_pictures_is_shipped() -> None:
    patterns = SETUPTOOLS["package-data"]["gfp_bench_datasets"]
    matched = {path for pattern in patterns for path in (ROOT / "datasets").glob(pattern)}
    there = {path for path in (ROOT / "datasets").rglob("*") if not any(part.startswith(".") for part in path.parts)}
    assert [path for path in there - matched if path.is_file() and path.suffix not in (".png", ".webp")] == []


def test_the_version_is_one() -> None:
    code = (ROOT / "gfp_bench" / "__init__.py").read_text()
    assert f'__version__ = "{PROJECT["project"]["version"]}"' in code


def test_no_file_has_a_path_of_the_machine_it_was_written_on() -> None:
    path = re.compile(r"(?<![\w.])/(?:home|root|work|Users|mnt|scratch)/\w+")
    assert [(file, path.findall(file.read_text())) for file in shipped() if path.search(file.read_text())] == []
