"""What code a plugin is, told from its files alone."""

import hashlib
from pathlib import Path

import pytest
from places import ROOT

from gfp_bench.registry.code import code_digest, files_of, module_file
from gfp_bench.registry.discovery import load_plugins


def write(folder: Path, **files: str) -> None:
    for name, content in files.items():
        path = folder / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


@pytest.mark.parametrize(
    ("imports", "found"),
    [
        ("import helper", {"helper.py", "deep.py"}),
        ("from helper import something", {"helper.py", "deep.py"}),
        ("def fit():\n    import deep", {"deep.py"}),
        ("import box.inner", {"box/__init__.py", "box/inner.py"}),
        ("from box import inner", {"box/__init__.py", "box/inner.py"}),
        ("import gfp_bench, json, torch", set()),
        ("this is no Python", set()),
    ],
)
def test_a_single_file_is_itself_and_what_it_imports_from_beside(tmp_path: Path, imports: str, found: set[str]) -> None:
    write(tmp_path, mine=imports, helper="import deep, helper", deep="", other="", gfp_bench="", box__inner="")
    (tmp_path / "box" / "__init__.py").touch()
    files = files_of(tmp_path / "mine.py")
    assert set(files) == {"mine.py", *found}
    for name, digest in files.items():
        assert digest == hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()


def test_a_module_of_a_package_is_itself_and_what_it_imports_from_there(tmp_path: Path) -> None:
    package = tmp_path / "prints"
    (package / "parts").mkdir(parents=True)
    for folder in (package, package / "parts"):
        (folder / "__init__.py").touch()
    write(package, mine="from .parts import one\nfrom . import two\nimport beside", two="", three="")
    write(package / "parts", one="from ..two import x")
    write(tmp_path, beside="")
    assert set(files_of(package / "mine.py")) == {
        "prints/__init__.py", "prints/mine.py", "prints/two.py", "prints/parts/__init__.py", "prints/parts/one.py",
    }  # fmt: skip


def test_built_in_plugins_name_their_helpers() -> None:
    told = load_plugins().told("thumbnail", {})
    assert told["thumbnail"]["origin"] == "built-in gfp_bench_methods.thumbnail"
    names = {"thumbnail.py", "_shared/features.py", "_shared/gaussian.py", "_shared/svm.py"}
    files = told["thumbnail"]["files"]
    assert {f"gfp_bench_methods/{name}" for name in names} <= set(files)
    for name, digest in files.items():
        assert digest == hashlib.sha256((ROOT / "plugins" / name).read_bytes()).hexdigest()


def test_a_combination_names_its_steps() -> None:
    assert set(load_plugins().told("combination", {"steps": "blur[smallest=3] jpeg"})) == {
        "combination",
        "blur",
        "jpeg",
    }


def test_a_digest_is_of_content_not_of_names(tmp_path: Path) -> None:
    write(tmp_path, first="x = 1", second="x = 1", third="x = 2")
    first, second, third = (code_digest(files_of(tmp_path / f"{name}.py")) for name in ("first", "second", "third"))
    assert first == second != third


def test_modules_of_packages_are_found_without_importing_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "explosive"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit(9)")
    write(package, inner="")
    monkeypatch.syspath_prepend(tmp_path)
    assert module_file("explosive.inner") == package / "inner.py"
    assert module_file("explosive") == package / "__init__.py"
    assert module_file("nowhere.inner") is None
