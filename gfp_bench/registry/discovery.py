"""Discovery: the built-in packages, installed distributions and single files -> one registry."""

import importlib
import importlib.util
import pkgutil
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from hashlib import sha256
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType

import pluggy

from gfp_bench.contracts.attack import Perturbation
from gfp_bench.contracts.generator import Generator
from gfp_bench.contracts.method import Method
from gfp_bench.errors import PluginError, UsageError
from gfp_bench.registry import hookspecs
from gfp_bench.registry.plugins import Broken, Entry, Kind, Plugins, checked_name

__all__ = ["Plugins", "load_plugins"]

_GROUP = "gfp_bench"
_BUILT_IN = ("gfp_bench_methods", "gfp_bench_attacks", "gfp_bench_generators")
_CONTRACTS: dict[Kind, type] = {"method": Method, "attack": Perturbation, "generator": Generator}


def load_plugins(files: Iterable[Path] = ()) -> Plugins:
    """Return every plugin: built in, installed, and those of single files.

    A broken distribution is set aside (`Plugins.broken`); a broken file that was asked for is an error.

    Args:
        files: Python files with plugins, each loaded once.

    Raises:
        PluginError: If a file or a built-in plugin does not load, or two plugins have one name.
        UsageError: If a file does not exist.
    """
    entries = [*built_in()]
    broken = []
    for point in sorted(entry_points(group=_GROUP), key=_origin):
        try:
            entries += _entries(_origin(point), point.load)
        except PluginError as error:
            broken.append(_set_aside(point, error))
    for file in dict.fromkeys(Path(file).resolve() for file in files):
        entries += _entries(f"file {file}", partial(_import_file, file))
    _LAST[:] = [Plugins(entries, broken)]
    return _LAST[0]


def load_built_in() -> Plugins:
    """Return the plugins that gfp-bench brings; no other code is imported."""
    _LAST[:] = [_brought()]
    return _LAST[0]


@cache
def _brought() -> Plugins:
    return Plugins([*built_in()])


_LAST: list[Plugins] = []  # what this process has loaded last


def find_attack(name: str) -> type[Perturbation]:
    """Return the attack of a name, for attacks that are made of others: one of those that were loaded last here.

    Raises:
        UsageError: If there is none; the message has the nearest names.
    """
    return (_LAST[0] if _LAST else load_plugins()).attack(name)


def built_in() -> Iterator[Entry]:
    """Yield the plugins that gfp-bench brings, found by walking their packages."""
    for package in map(importlib.import_module, _BUILT_IN):
        for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            if not found.name.rpartition(".")[2].startswith("_"):
                yield from _entries(f"built-in {found.name}", partial(importlib.import_module, found.name))


def _origin(point: EntryPoint) -> str:
    distribution = f"{point.dist.name} {point.dist.version}" if point.dist else "unknown distribution"
    return f"distribution {distribution} (entry point {point.name} = {point.value})"


def _set_aside(point: EntryPoint, error: PluginError) -> Broken:
    name, version = (point.dist.name, point.dist.version) if point.dist else ("unknown", "unknown")
    return Broken(name, version, str(error), "".join(traceback.format_exception(error)))


def _import_file(file: Path) -> ModuleType:
    """Import a file under a name that no other file shares."""
    if not file.is_file():
        raise UsageError(f"plugin file {file} does not exist; expected a Python file")
    name = f"gfp_bench_file_{file.stem}_{sha256(str(file).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise UsageError(f"plugin file {file} is not Python; expected a name that ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and inspect look their module up
    spec.loader.exec_module(module)
    return module


def _entries(origin: str, load: Callable[[], object]) -> list[Entry]:
    """Return what a plugin registers.

    Raises:
        PluginError: If loading it fails in whatever way, exiting included, or it breaks the contract.
    """
    try:
        return _registered(origin, load())
    except (KeyboardInterrupt, UsageError):
        raise
    except BaseException as error:
        reason = str(error) if isinstance(error, PluginError) else f"{type(error).__name__}: {error}{_place(error)}"
        raise PluginError(f"{origin} does not load: {reason}") from error


def _place(error: BaseException) -> str:
    """Return the file and line of the plugin in which an error arose, if it came that far."""
    ours = (__file__, str(Path(pluggy.__file__).parent), "<frozen")
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(ours)]
    return f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""


def _registered(origin: str, plugin: object) -> list[Entry]:
    """Call a plugin's hooks; a manager of its own, so that what it does wrong stays with it."""
    manager = pluggy.PluginManager("gfp_bench")
    manager.add_hookspecs(hookspecs)
    manager.register(plugin)
    manager.check_pending()
    entries: list[Entry] = []
    for kind, contract in _CONTRACTS.items():

        def register(cls: object, kind: Kind = kind, contract: type = contract) -> None:
            entries.append(Entry(kind, _finished(cls, kind, contract), origin))

        getattr(manager.hook, f"register_{kind}s")(register=register)
    if not entries:
        raise PluginError("it registers nothing; is its register function marked with @hookimpl?")
    return entries


def _finished(cls: object, kind: Kind, contract: type) -> type:
    """Return ``cls`` if it is a class that can be used as its kind.

    Raises:
        PluginError: If it is not; the message says what is missing.
    """
    if not isinstance(cls, type) or not issubclass(cls, contract):
        raise PluginError(f"register_{kind}s got {cls!r}, expected a subclass of gfp_bench.{contract.__name__}")
    if missing := sorted(getattr(cls, "__abstractmethods__", ())):
        raise PluginError(f"{kind} class {cls.__qualname__} lacks {', '.join(missing)}; define them")
    checked_name(kind, cls)
    return cls
