"""Imports point one way, from what knows little to what knows much, and what must start fast does not load torch."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CORE = ROOT / "gfp_bench"
PLUGINS = ROOT / "plugins"

LAYERS = """
    errors files hookspecs rng statistics
    decoding index metrics settings standings state
    manifests monitor protocols tables tasks types
    attack generator leaderboard photographs readers
    audit compose images zoo
    checkpoints datasets method
    registry
    checks plugins
    plan
    records
    boards trial
    child
    runner
    cli
"""
HEIGHT = {room: height for height, layer in enumerate(LAYERS.strip().splitlines()) for room in layer.split()}
TORCH_FREE = [
    "boards",
    "cli",
    "errors",
    "files",
    "hookspecs",
    "index",
    "leaderboard",
    "manifests",
    "metrics.attribution",
    "metrics.detection",
    "plan",
    "protocols",
    "readers",
    "records",
    "registry",
    "settings",
    "standings",
    "statistics",
    "tables",
    "tasks",
]


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


@pytest.mark.parametrize("file", sorted(CORE.rglob("*.py")), ids=lambda file: str(file.relative_to(CORE)))
def test_a_module_imports_only_from_layers_below(file: Path) -> None:
    own = room(file)
    if own == "__init__":  # the public names, loaded when asked for
        return
    for name in imported(file):
        package, _, inside = name.partition(".")
        other = inside.partition(".")[0]
        if package == "gfp_bench" and other not in (own, "__version__"):
            assert HEIGHT[other] < HEIGHT[own], f"{own} imports {name}, which stands no lower"


def test_every_module_has_its_layer() -> None:
    rooms = {room(file) for file in CORE.rglob("*.py")} - {"__init__"}
    assert rooms == set(HEIGHT)


@pytest.mark.parametrize("file", sorted(CORE.rglob("*.py")), ids=lambda file: str(file.relative_to(CORE)))
def test_the_core_names_no_plugin(file: Path) -> None:
    modules = {f"{path.parent.name}.{path.stem}" for path in PLUGINS.glob("*/*.py")}
    assert not [name for name in imported(file) if ".".join(name.split(".")[:2]) in modules]


@pytest.mark.parametrize("file", sorted(PLUGINS.glob("*/*.py")), ids=lambda file: file.stem)
def test_a_plugin_imports_from_the_core_and_from_helpers_of_its_package(file: Path) -> None:
    for name in imported(file):
        package, _, inside = name.partition(".")
        assert package == "gfp_bench" or (package == file.parent.name and inside.startswith("_")), name


def test_what_must_start_fast_does_not_load_torch() -> None:
    modules = ", ".join(f"gfp_bench.{module}" for module in TORCH_FREE)
    code = f"import sys, {modules}; sys.exit(' '.join({{'torch', 'sklearn', 'cv2'}} & sys.modules.keys()))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")
