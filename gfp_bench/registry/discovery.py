"""Discovery: the built-in packages, installed distributions and single files -> one registry."""

import importlib
import importlib.util
import pkgutil
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from hashlib import sha256
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy
from pydantic import StrictBool

from gfp_bench.apart import apart
from gfp_bench.contracts.attack import Perturbation
from gfp_bench.contracts.generator import Generator
from gfp_bench.contracts.method import Method
from gfp_bench.contracts.settings import Setting, resolved_settings
from gfp_bench.documents import Document, checked
from gfp_bench.errors import MachineError, PluginError, UsageError
from gfp_bench.registry import hookspecs
from gfp_bench.registry.code import code_digest, files_of
from gfp_bench.registry.declaration import Name
from gfp_bench.registry.plugins import Broken, Entry, ForeignEntry, Kind, Plugins, Source, checked_name

__all__ = ["Plugins", "load_plugins"]

ASKED = 60.0
"""Seconds that a plugin which gfp-bench does not bring may take to load, or to say what it is."""

_GROUP = "gfp_bench"
_BUILT_IN = ("gfp_bench_methods", "gfp_bench_attacks", "gfp_bench_generators")
_MOST = 1000  # classes of one source
_CONTRACTS: dict[Kind, type] = {"method": Method, "attack": Perturbation, "generator": Generator}


def load_plugins(files: Iterable[Path] = ()) -> Plugins:
    """Return every plugin, loaded here: built in, installed, and those of single files.

    A broken distribution is set aside (`Plugins.broken`); a broken file that was asked for is an error.

    Args:
        files: Python files with plugins, each loaded once.

    Raises:
        PluginError: If a file or a built-in plugin does not load, or two plugins have one name.
        UsageError: If a file does not exist.
    """
    entries = [*built_in()]
    broken = []
    for source in sources(files):
        try:
            entries += _loaded(source)
        except PluginError as error:
            if source.file:
                raise
            broken.append(_set_aside(source, error))
    return _keep(Plugins(entries, broken))


def load_only(chosen: Sequence[Source]) -> Plugins:
    """Return the built-in plugins and those of some sources, loaded here: what a trial needs.

    Raises:
        PluginError: If a source does not load.
        MachineError: If a file is gone or was edited.
    """
    as_planned(chosen)
    return _keep(Plugins([*built_in(), *(entry for source in chosen for entry in _loaded(source))]))


def as_planned(chosen: Sequence[Source]) -> None:
    """Refuse files that are not those that the run was planned with: their numbers would stand under false keys.

    Raises:
        MachineError: If a file is gone or was edited.
    """
    for source in chosen:
        if source.file and not source.file.is_file():
            raise MachineError(f"plugin file {source.file} is gone; bring it back, or plan the run without it")
        if source.file and code_digest(files_of(source.file)) != source.code:
            raise MachineError(
                f"plugin file {source.file}, or a helper beside it, was edited after the run was planned; run it again"
            )


def survey_plugins(files: Iterable[Path] = (), *, limit: float | None = None) -> Plugins:
    """Return every plugin, of which only those that gfp-bench brings are loaded here.

    The others say in a process of their own what they register, so that nothing they do at import ends or holds this
    one. What is broken is set aside, files included.

    Args:
        files: Python files with plugins.
        limit: Seconds that a plugin may take whenever it is asked something; `ASKED` by default.

    Raises:
        PluginError: If two plugins have one name.
        UsageError: If a file does not exist.
    """
    allowed = ASKED if limit is None else limit
    foreign = sources(files)
    entries: list[Entry | ForeignEntry] = [*built_in()]
    broken = []
    for source in foreign:
        try:
            registered = apart(_registers, source, limit=allowed)
            entries += [ForeignEntry(*_expected(one), source.origin, source) for one in registered]
        except (PluginError, UsageError) as error:
            found = PluginError(f"{source.origin} does not load: {_without(error, source)}")
            broken.append(_set_aside(source, found, "".join(getattr(error, "__notes__", ()))))
    return _keep(Plugins(entries, broken, partial(ask, limit=allowed)))


def ask(  # any JSON
    work: Callable[..., Any],
    chosen: Sequence[Source],
    name: str,
    given: Mapping[str, Setting],
    *rest: object,
    limit: float = ASKED,
) -> Any:
    """Return what ``work`` returns of a plugin's class and settings, in a process that loads a few sources.

    Raises:
        UsageError: If the plugin does not have such settings.
        PluginError: If anything else goes wrong; see `gfp_bench.apart.apart`.
    """
    return apart(_asked, work, chosen, name, given, rest, limit=limit)


def _asked(  # any JSON
    work: Callable[..., Any],
    chosen: Sequence[Source],
    name: str,
    given: Mapping[str, Setting],
    rest: Sequence[object],
) -> Any:
    entry = load_only(chosen).entry(name)
    assert isinstance(entry, Entry)  # noqa: S101 - all are loaded here
    resolved_settings(entry.cls, given)  # what this refuses is the user's fault, all else the plugin's
    try:
        return work(entry.cls, given, *rest)
    except UsageError as error:
        raise PluginError(str(error)) from error


def _registers(source: Source) -> list[dict[str, Any]]:
    """Return what a source registers, as JSON can hold it."""
    entries = _loaded(source)
    if wrong := [entry for entry in entries if type(getattr(entry.cls, "floor", False)) is not bool]:
        raise PluginError(f"{wrong[0].kind} {wrong[0].name!r} has a floor that is neither True nor False")
    return [{"kind": entry.kind, "name": entry.name, "floor": entry.floor} for entry in entries]


class _Registered(Document):
    """What a process that is not trusted says a source registered."""

    kind: Kind
    name: Name
    floor: StrictBool


def _expected(one: Any) -> tuple[Kind, str, bool]:  # whatever the process said
    found = checked(one, _Registered, subject="what it registers", error=PluginError)
    return found.kind, found.name, found.floor


def _without(error: Exception, source: Source) -> str:
    """Return an error's words without those that say again which source it is of."""
    return str(error).removeprefix(f"{source.origin} does not load: ")


def _keep(plugins: Plugins) -> Plugins:
    _LAST[:] = [plugins]
    return plugins


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


def sources(files: Iterable[Path] = ()) -> list[Source]:
    """Return where plugins come from that gfp-bench does not bring: installed distributions, then single files.

    Raises:
        UsageError: If a file does not exist or is not Python.
    """
    found = sorted(map(_installed, entry_points(group=_GROUP)), key=lambda source: source.origin)
    for file in dict.fromkeys(Path(file).resolve() for file in files):
        if not file.is_file():
            raise UsageError(f"plugin file {file} does not exist; expected a Python file")
        if file.suffix != ".py":
            raise UsageError(f"plugin file {file} is not Python; expected a name that ends in .py")
        code = code_digest(files_of(file))
        found.append(Source(f"file {file}", file=file, distribution=f"file {file}", code=code))
    return found


def _installed(point: EntryPoint) -> Source:
    name, version = (point.dist.name, point.dist.version) if point.dist else ("unknown", "unknown")
    distribution = f"{name} {version}" if point.dist else "unknown distribution"
    origin = f"distribution {distribution} (entry point {point.name} = {point.value})"
    return Source(origin, point=(point.name, point.value), distribution=name, version=version)


def _loaded(source: Source) -> list[Entry]:
    """Return what a source registers, loaded here; raises as `_entries`."""
    if source.file:
        load: Callable[[], object] = partial(_import_file, source.file)
    else:
        name, value = source.point or ("", "")
        load = EntryPoint(name, value, _GROUP).load
    return [replace(entry, source=source) for entry in _entries(source.origin, load)]


def _set_aside(source: Source, error: PluginError, told: str = "") -> Broken:
    told = told or "".join(traceback.format_exception(error))
    return Broken(source.distribution, source.version, str(error), told)


def _import_file(file: Path) -> ModuleType:
    """Import a file under a name that no other file shares."""
    name = f"gfp_bench_file_{file.stem}_{sha256(str(file).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None  # noqa: S101 - its name ends in .py
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
    except KeyboardInterrupt:
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
            if len(entries) == _MOST:
                raise PluginError(f"it registers more than {_MOST} classes")
            entries.append(Entry(kind, _finished(cls, kind, contract), origin))

        getattr(manager.hook, f"register_{kind}s")(register=register)
    if not entries:
        raise PluginError("it registers nothing; is its register function marked with @hookimpl?")
    Plugins(entries)  # refuses two of one name
    return list(entries)  # what is registered later, from a thread, is too late


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
