"""Imports point one way, from what knows little to what knows much, and what must start fast does not load torch."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
CORE = ROOT / "gfp_bench"
PLUGINS = ROOT / "plugins"

LAYERS = """
    errors files heap hookspecs processor rng statistics
    archives decoding index metrics settings standings state
    manifests protocols tables tasks types
    monitor
    attack curves generator leaderboard photographs readers recipes
    audit estimates images sine
    sheets simulated
    checkpoints datasets method mosaic zoo
    pools registry
    checks compose plugins
    build measures
    plan
    records
    boards trial
    child
    runner
    cli
"""
HEIGHT = {room: height for height, layer in enumerate(LAYERS.strip().splitlines()) for room in layer.split()}
TORCH_FREE = """
    archives boards cli curves errors files heap hookspecs index leaderboard manifests metrics.attribution
    metrics.detection plan processor protocols readers recipes records registry settings simulated standings statistics
    tables tasks
"""


def imported(file: Path) -> Iterator[str]:
    """Dotted names that a file imports from the project, also those for type checkers and inside functions."""
    for node in ast.walk(ast.parse(file.read_text())):
        match node:
            case ast.ImportFrom(module=str(module), names=names, level=0) if module.startswith("gfp_bench"):
                yield from (f"{module}.{name.name}" for name in names)
            case ast.Import(names=names):
                yield from (name.name for name in names if name.name.startswith("gfp_bench"))


def room(file: Path) -> str:
    return file.relative_to(CORE).with_suffix("").parts[0]


def height(room: str) -> int:
    return len(HEIGHT) if room == "__init__" else HEIGHT[room]  # the public names are loaded when asked for


def test_every_module_has_its_layer() -> None:
    assert {room(file) for file in CORE.rglob("*.py")} == {*HEIGHT, "__init__"}


def test_a_module_imports_only_from_layers_below() -> None:
    wrong = []
    for file in CORE.rglob("*.py"):
        own = room(file)
        others = {name.split(".")[1] for name in imported(file) if name.startswith("gfp_bench.")}
        wrong += [f"{own} imports {other}" for other in others - {own, "__version__"} if HEIGHT[other] >= height(own)]
    assert wrong == []


def test_the_core_names_no_plugin() -> None:
    modules = {f"{path.parent.name}.{path.stem}" for path in PLUGINS.glob("*/*.py")}
    names = {".".join(name.split(".")[:2]) for file in CORE.rglob("*.py") for name in imported(file)}
    assert names & modules == set()


def test_a_plugin_imports_from_the_core_and_from_its_own_package() -> None:
    wrong = []
    for file in PLUGINS.glob("*/*.py"):
        allowed = ("gfp_bench.", f"{file.parent.name}.")
        wrong += [f"{file.stem} imports {name}" for name in imported(file) if not name.startswith(allowed)]
    assert wrong == []


def test_what_must_start_fast_does_not_load_torch() -> None:
    modules = ", ".join(f"gfp_bench.{module}" for module in TORCH_FREE.split())
    code = f"import sys, {modules}; print(*{{'torch', 'sklearn', 'cv2'}} & sys.modules.keys())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"
