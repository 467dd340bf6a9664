import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from places import ROOT

from gfp_bench.errors import PluginError, UsageError
from gfp_bench.registry import discovery
from gfp_bench.registry.discovery import load_plugins

ATTACK = """
from gfp_bench import Perturbation, hookimpl

@hookimpl
def register_attacks(register):
    register(Mine)

class Mine(Perturbation):
    name = "{name}"
    version = 1

    def perturb(self, images, rng):
        return images
"""
GOOD = ATTACK.format(name="mine")
MISSPELT = GOOD.replace("register_attacks(", "register_atacks(")
UNMARKED = GOOD.replace("@hookimpl", "")
BROKEN = {
    "import": ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
    "syntax": ("def", r"SyntaxError: invalid syntax \(.*line 1\)"),
    "exit": ("raise SystemExit(3)", "SystemExit: 3"),
    "base": ("raise BaseException('odd')", "BaseException: odd"),
    "misspelt hook": (MISSPELT, "unknown hook 'register_atacks'"),
    "unmarked hook": (UNMARKED, "registers nothing.*@hookimpl"),
    "not a class": (
        GOOD.replace("register(Mine)", "register(3)"),
        r"register_attacks got 3, expected a subclass of gfp_bench.Perturb",
    ),
    "wrong kind": (GOOD.replace("register_attacks", "register_methods"), "expected a subclass of gfp_bench.Method"),
    "abstract": (GOOD.replace("def perturb", "def other"), "attack class Mine lacks perturb"),
    "name": (GOOD.replace('"mine"', '"My Attack"'), "has the name 'My Attack'"),
    "hook raises": (GOOD.replace("register(Mine)", "1 / 0"), r"ZeroDivisionError: division by zero \(.*:6\)"),
    "hook exits": (GOOD.replace("register(Mine)", "exit(1)"), "SystemExit: 1"),
}
numbers = count()


@pytest.fixture(autouse=True)
def _no_built_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "_BUILT_IN", ())


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., Path]:
    def write(code: str, name: str = "mine.py") -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(code)
        return path

    return write


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Install a distribution that is one module, as pip would lay it out."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(distribution: str, code: str, point: str = "plugin", attribute: str = "") -> None:
        module = f"third_party_{next(numbers)}"
        (tmp_path / f"{module}.py").write_text(code)
        info = tmp_path / f"{distribution}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[gfp_bench]\n{point} = {module}{attribute}\n")

    return write


def test_a_file_is_loaded_once_however_often_it_is_named(file: Callable[..., Path]) -> None:
    path = file(GOOD)
    plugins = load_plugins([path, path.parent / "." / path.name])
    assert plugins.attacks == ("mine",) and plugins.entry("mine").origin == f"file {path}"


def test_files_of_one_name_do_not_replace_each_other(file: Callable[..., Path]) -> None:
    files = [file(ATTACK.format(name=name), f"{name}/plugin.py") for name in ("a", "b")]
    assert load_plugins(files).attacks == ("a", "b")


@pytest.mark.parametrize(("code", "reason"), BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_an_error_that_says_where_and_why(code: str, reason: str, file: Callable[..., Path]) -> None:
    with pytest.raises(PluginError, match=f"file .*mine.py does not load: .*{reason}"):
        load_plugins([file(code)])


def test_a_file_that_is_missing_or_not_python_is_named(tmp_path: Path, file: Callable[..., Path]) -> None:
    with pytest.raises(UsageError, match=r"plugin file .*absent.py does not exist"):
        load_plugins([tmp_path / "absent.py"])
    with pytest.raises(UsageError, match=r"plugin file .*mine.txt is not Python"):
        load_plugins([file(GOOD, "mine.txt")])


@pytest.mark.parametrize("attribute", ["", ":Hooks"])
def test_an_installed_distribution_is_found(attribute: str, install: Callable[..., None]) -> None:
    hooks = "\nclass Hooks:\n    register_attacks = staticmethod(register_attacks)\n"
    install("nice", GOOD + hooks, attribute=attribute)
    assert load_plugins().entry("mine").origin.startswith("distribution nice 1.2 (entry point plugin = third_party_")


@pytest.mark.parametrize(("code", "reason"), BROKEN.values(), ids=BROKEN)
def test_a_broken_distribution_is_set_aside(code: str, reason: str, install: Callable[..., None]) -> None:
    install("bad", code)
    install("nice", ATTACK.format(name="fine"))
    plugins = load_plugins()
    (broken,) = plugins.broken
    assert plugins.attacks == ("fine",)
    assert (broken.distribution, broken.version) == ("bad", "1.2")
    assert "Traceback (most recent call last)" in broken.traceback
    with pytest.raises(UsageError, match=f"unknown attack 'mine'.*distribution bad 1.2 .*{reason}"):
        plugins.attack("mine")


def test_a_distribution_that_fails_half_way_registers_nothing(install: Callable[..., None]) -> None:
    install("bad", GOOD.replace("register(Mine)", "register(Mine); 1 / 0"))
    assert load_plugins().attacks == ()


def test_an_interrupt_passes(install: Callable[..., None]) -> None:
    install("slow", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        load_plugins()


def test_entry_points_of_one_name_are_all_loaded(install: Callable[..., None]) -> None:
    install("one", ATTACK.format(name="a"), point="same")
    install("two", ATTACK.format(name="b"), point="same")
    assert load_plugins().attacks == ("a", "b")


def test_two_distributions_with_one_name_are_an_error_that_names_both(install: Callable[..., None]) -> None:
    install("one", GOOD)
    install("two", GOOD)
    with pytest.raises(PluginError, match=r"two plugins are named 'mine': distribution one .* and distribution two"):
        load_plugins()


def test_a_package_is_walked_but_for_private_modules(
    tmp_path: Path, file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, code in {"__init__": "", "noise": GOOD, "_shared": "raise ValueError"}.items():
        file(code, f"walked/{name}.py")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(discovery, "_BUILT_IN", ("walked",))
    try:
        assert load_plugins().entry("mine").origin == "built-in walked.noise"
    finally:
        for module in [name for name in sys.modules if name.partition(".")[0] == "walked"]:
            del sys.modules[module]


def test_every_module_of_the_built_in_packages_brings_something(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    plugins = load_plugins()
    root = ROOT / "plugins"
    modules = {f"built-in {path.parent.name}.{path.stem}" for path in root.glob("*/[!_]*.py")}
    names = (*plugins.methods, *plugins.attacks, *plugins.generators)
    assert {plugins.entry(name).origin for name in names} == modules
