"""docs/architecture.md says what is so: its layers are those that imports are held to, and what it names is there."""

import re
from importlib import import_module

import pytest
from places import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text()
WAY = PAGE.partition("## The way of a run")[2].partition("##")[0]


def test_layers_are_those_that_imports_are_held_to() -> None:
    (layers,) = re.findall(r'^LAYERS = """\n(.*?)"""', (ROOT / "tests" / "test_imports.py").read_text(), re.M | re.S)
    table = PAGE.partition("## The way of a run")[0]
    rows = [re.findall(r"`(\w+)`", row) for row in re.findall(r"^\| (`.*?) \|", table, flags=re.MULTILINE)]
    assert [*map(sorted, reversed(rows))] == [sorted(layer.split()) for layer in layers.strip().splitlines()]


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`([a-z_]+(?:/[a-z_0-9]+)+\.(?:py|toml))`", PAGE))))
def test_files_that_the_page_names_are_there(path: str) -> None:
    assert (ROOT / path).exists() or (ROOT / "gfp_bench" / path).exists()


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:[a-z_]+/)+)(?:<[^`]*)?`", PAGE))))
def test_folders_that_the_page_names_are_there(path: str) -> None:
    assert any((ROOT / place / path).is_dir() for place in ("", "plugins", "plugins/gfp_bench_methods"))


def test_the_way_of_a_run_has_five_calls_that_exist() -> None:
    steps = re.findall(r"^(\d)\. (?:`([\w/]+)\.py`)?", WAY, flags=re.MULTILINE)
    assert [number for number, _ in steps] == list("12345")
    called = re.findall(r"`(\w+)` of\n", WAY)
    modules = [path.replace("/", ".") for _, path in steps if path]
    for function, module in zip(called, modules[1:], strict=True):
        assert callable(getattr(import_module(f"gfp_bench.{module}"), function))


def test_links_lead_somewhere() -> None:
    targets = [target for target in re.findall(r"\]\(([^)#]+)\)", PAGE) if "://" not in target]
    assert [target for target in targets if not (ROOT / "docs" / target).exists()] == []
