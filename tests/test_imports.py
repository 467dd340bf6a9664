"""Imports point one way, room by room, and run in no circle; what must start fast does not load torch."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

from places import ROOT

import gfp_bench

CORE = ROOT / "gfp_bench"
PLUGINS = ROOT / "plugins"

LAYERS = """
    errors files machine seeding texts
    apart documents
    contracts
    pictures
    registry
    protocols
    metrics
    tasks
    data
    checks
    engine zoo
    boards
    cli
"""
HEIGHT = {room: height for height, layer in enumerate(LAYERS.strip().splitlines()) for room in layer.split()}
TORCH_FREE = """
    boards.assembly boards.board boards.curves boards.formats boards.publication boards.published boards.ranking
    boards.reproduction boards.selection boards.tables boards.timing cli contracts.dataset contracts.settings
    contracts.task data.archives data.catalogue data.dealing data.index data.indexing data.layouts.folders
    data.manifest data.reader data.simulations apart documents engine.outcomes engine.plan engine.records
    engine.replan errors files machine metrics.attribution metrics.comparison metrics.confidence metrics.detection
    protocols.protocol registry.code registry.declaration registry.hookspecs registry.plugins tasks texts zoo.recipe
"""


def imported(file: Path) -> Iterator[str]:
    """Dotted names that a file imports from the project, also those for type checkers and inside functions."""
    for node in ast.walk(ast.parse(file.read_text())):
        match node:
            case ast.ImportFrom(module=str(module), names=names, level=0) if module.startswith("gfp_bench"):
                yield from (f"{module}.{name.name}" for name in names)
            case ast.Import(names=names):
                yield from (name.name for name in names if name.name.startswith("gfp_bench"))


def module(file: Path) -> str:
    parts = file.relative_to(CORE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module(file): file for file in CORE.rglob("*.py") if file.name != "__main__.py"}  # which is the command line


def neighbours(name: str) -> set[str]:
    """The modules that one imports; the public names of the package stand for the modules that hold them."""
    found = set()
    for dotted in filter(lambda dotted: dotted.startswith("gfp_bench."), imported(MODULES[name])):
        parts = dotted.split(".")
        found |= {next(known for n in range(len(parts), 0, -1) if (known := ".".join(parts[:n])) in MODULES)}
    return found - {name, "gfp_bench"}


def room(name: str) -> str:
    return name.split(".")[1]


def test_every_room_has_its_layer() -> None:
    assert {room(name) for name in MODULES if name != "gfp_bench"} == {*HEIGHT}


def test_a_room_imports_only_from_layers_below() -> None:
    inside = [name for name in MODULES if name != "gfp_bench"]
    wrong = [
        f"{name} imports {other}"
        for name in inside
        for other in neighbours(name)
        if room(name) != room(other) and HEIGHT[room(other)] >= HEIGHT[room(name)]
    ]
    assert wrong == []


def test_no_imports_run_in_a_circle() -> None:
    TopologicalSorter({name: neighbours(name) for name in MODULES}).prepare()  # raises CycleError with the circle


def test_the_core_names_no_plugin() -> None:
    modules = {f"{path.parent.name}.{path.stem}" for path in PLUGINS.glob("*/*.py")}
    names = {".".join(name.split(".")[:2]) for file in CORE.rglob("*.py") for name in imported(file)}
    assert names & modules == set()


def test_a_plugin_imports_public_names_and_from_its_own_package() -> None:
    public = {f"gfp_bench.{name}" for name in gfp_bench.__all__}
    wrong = []
    for file in PLUGINS.rglob("*.py"):
        own = f"{file.relative_to(PLUGINS).parts[0]}."
        names = (name for name in imported(file) if not name.startswith(own))
        wrong += [f"{file.stem} imports {name}" for name in names if name not in public]
    assert wrong == []


def test_what_must_start_fast_does_not_load_torch() -> None:
    modules = ", ".join(f"gfp_bench.{module}" for module in TORCH_FREE.split())
    code = f"import sys, {modules}; print(*{{'torch', 'sklearn', 'cv2'}} & sys.modules.keys())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"
