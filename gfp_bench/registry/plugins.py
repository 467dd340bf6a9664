"""Names -> plugin classes, with where each came from. Torch-free."""

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

from gfp_bench.contracts.dataset import DatasetFacts
from gfp_bench.contracts.settings import Setting, resolved_settings
from gfp_bench.documents import checked
from gfp_bench.errors import PluginError, UsageError, unknown
from gfp_bench.registry.code import files_of, module_file
from gfp_bench.registry.declaration import (
    NAME,
    AttackDeclaration,
    MethodDeclaration,
    declared_attack,
    declared_method,
    described,
)

if TYPE_CHECKING:
    from gfp_bench.contracts.attack import Perturbation
    from gfp_bench.contracts.generator import Generator
    from gfp_bench.contracts.method import Method

Kind: TypeAlias = Literal["method", "attack", "generator"]

_WORD = re.compile(NAME)


@dataclass(frozen=True)
class Source:
    """Where plugins come from that gfp-bench does not bring.

    Attributes:
        origin: In words.
        file: A single file, absolute, or None.
        point: Name and value of an entry point, or None.
        distribution: What set the entry point, or the file.
        version: The distribution's.
        code: Of a single file: a checksum of its content and of what it imports from beside it.
    """

    origin: str
    file: Path | None = None
    point: tuple[str, str] | None = None
    distribution: str = ""
    version: str = ""
    code: str = ""


@dataclass(frozen=True)
class Entry:
    """A registered class and where it came from, in words; all that gfp-bench does not bring has a source too."""

    kind: Kind
    cls: type
    origin: str
    source: Source | None = None

    @property
    def name(self) -> str:
        """What the class calls itself; raises as `checked_name`."""
        return checked_name(self.kind, self.cls)

    @property
    def floor(self) -> bool:
        """Whether it is a method that every plan includes."""
        return self.kind == "method" and bool(getattr(self.cls, "floor", False))


@dataclass(frozen=True)
class ForeignEntry:
    """What a source registered in a process of its own: nothing of it is loaded in this one."""

    kind: Kind
    name: str
    floor: bool
    origin: str
    source: Source


Ask: TypeAlias = Callable[..., Any]
"""Has a question put to some plugins in a process of its own; see `gfp_bench.registry.discovery.ask`."""


@dataclass(frozen=True)
class Broken:
    """A third-party plugin that was set aside; ``reason`` is one line that names it."""

    distribution: str
    version: str
    reason: str
    traceback: str

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}".rstrip()


class Plugins:
    """Everything that is registered. A name is taken once, whatever the kind, so that it suffices on a command line.

    Attributes:
        broken: What was set aside.
    """

    def __init__(
        self, entries: Iterable[Entry | ForeignEntry] = (), broken: Iterable[Broken] = (), ask: Ask | None = None
    ) -> None:
        """Index what is registered by name; ``ask`` is for those that are not loaded here.

        Raises:
            PluginError: If two of them have one name; the message has both origins.
        """
        self.broken = tuple(broken)
        self._ask = ask
        self._entries: dict[str, Entry | ForeignEntry] = {}
        for entry in entries:
            self._add(entry)

    def _add(self, entry: Entry | ForeignEntry) -> None:
        name = entry.name
        if name in self._entries:
            raise PluginError(
                f"two plugins are named {name!r}: {self._entries[name].origin} and {entry.origin}; "
                "rename one or take it out"
            )
        self._entries[name] = entry

    def names(self, kind: Kind) -> tuple[str, ...]:
        """Return the sorted names of a kind."""
        return tuple(sorted(name for name, entry in self._entries.items() if entry.kind == kind))

    @property
    def methods(self) -> tuple[str, ...]:
        """The sorted names of all methods."""
        return self.names("method")

    @property
    def attacks(self) -> tuple[str, ...]:
        """The sorted names of all attacks."""
        return self.names("attack")

    @property
    def generators(self) -> tuple[str, ...]:
        """The sorted names of all generators."""
        return self.names("generator")

    def method(self, name: str) -> "type[Method]":
        """Return the method of that name.

        Raises:
            UsageError: If there is none; the message has the nearest names and the broken distributions.
        """
        found: type[Method] = self._loaded(name, "method")
        return found

    def attack(self, name: str) -> "type[Perturbation]":
        """Return the attack of that name; raises like `method`."""
        found: type[Perturbation] = self._loaded(name, "attack")
        return found

    def generator(self, name: str) -> "type[Generator]":
        """Return the generator of that name; raises like `method`."""
        found: type[Generator] = self._loaded(name, "generator")
        return found

    def entry(self, name: str) -> Entry | ForeignEntry:
        """Return what is registered under a name, whatever its kind; raises like `method`."""
        return self._find(name, None)

    @property
    def floors(self) -> tuple[str, ...]:
        """The sorted names of the methods that every plan includes."""
        return tuple(name for name in self.methods if self._entries[name].floor)

    settings = staticmethod(resolved_settings)

    def declared_method(
        self, name: str, given: Mapping[str, Setting], datasets: Sequence[DatasetFacts] = (), train_images: int = 0
    ) -> MethodDeclaration:
        """Return what a method with some settings says of itself, and whether it can run on some datasets.

        Raises:
            UsageError: If there is no such method, or it has no such settings.
            PluginError: If it is none that gfp-bench brings and fails or breaks the contract.
        """
        entry = self._find(name, "method")
        content = self._asked(declared_method, entry, given, datasets, train_images)
        return _named(checked(content, MethodDeclaration, subject=f"method {name!r}", error=PluginError), name)

    def declared_attack(self, name: str, given: Mapping[str, Setting]) -> AttackDeclaration:
        """Return what an attack with some settings says of itself; raises like `declared_method`."""
        content = self._asked(declared_attack, self._find(name, "attack"), given)
        return _named(checked(content, AttackDeclaration, subject=f"attack {name!r}", error=PluginError), name)

    def described(self, name: str) -> dict[str, Any]:
        """Return what a plugin says of itself, of whatever kind; raises like `declared_method`."""
        return dict(self._asked(described, self._find(name, None), {}))

    def asked(self, work: Callable[..., Any], name: str, given: Mapping[str, Setting], *rest: object) -> Any:
        """Return what ``work`` returns of a plugin's class, settings and the rest: JSON; raises like `declared_method`.

        It is called here unless the plugin, or one that its settings name, is loaded in a process of its own only.
        """
        return self._asked(work, self._find(name, None), given, *rest)

    def sources(self, name: str, settings: Mapping[str, Setting]) -> tuple[Source, ...]:
        """Return where a plugin and those that its settings name, as a combination of attacks does, come from.

        What gfp-bench brings comes from no source.
        """
        found = (entry.source for entry in self._named(name, settings))
        return tuple(dict.fromkeys(source for source in found if source is not None))

    def code(self, name: str, settings: Mapping[str, Setting]) -> str:
        """Return a checksum of the single files that a plugin and those that its settings name come from, or ""."""
        found = sorted(source.code for source in self.sources(name, settings) if source.code)
        return "+".join(found)

    def told(self, name: str, settings: Mapping[str, Setting]) -> dict[str, Any]:
        """Return, by name, the origin and the files' checksums of a plugin and of those that its settings name."""
        return {
            entry.name: {"origin": entry.origin, "files": files_of(file) if (file := _module_of(entry)) else {}}
            for entry in self._named(name, settings)
        }

    def _named(self, name: str, settings: Mapping[str, Setting]) -> list[Entry | ForeignEntry]:
        texts = [name, *(value for value in settings.values() if isinstance(value, str))]
        words = {word for text in texts for word in _WORD.findall(text)}
        return [self._entries[word] for word in sorted(words & self._entries.keys())]

    def _asked(
        self, work: Callable[..., Any], entry: Entry | ForeignEntry, given: Mapping[str, Setting], *rest: object
    ) -> Any:
        if isinstance(entry, Entry) and all(isinstance(one, Entry) for one in self._named(entry.name, given)):
            return work(entry.cls, given, *rest)
        assert self._ask is not None  # noqa: S101 - who brings foreign entries says how they are asked
        try:
            return self._ask(work, self.sources(entry.name, given), entry.name, given, *rest)
        except PluginError as error:
            raise PluginError(f"{entry.kind} {entry.name!r} ({entry.origin}): {error}") from error

    def _loaded(self, name: str, kind: Kind) -> Any:  # a class of that kind
        entry = self._find(name, kind)
        if isinstance(entry, Entry):
            return entry.cls
        raise PluginError(f"{kind} {name!r} ({entry.origin}) is not loaded in this process; use load_plugins")

    def _find(self, name: str, kind: Kind | None) -> Entry | ForeignEntry:
        known = self._entries if kind is None else self.names(kind)
        if name in known:
            return self._entries[name]
        error = unknown(kind or "plugin", name, known)
        if self.broken:
            reasons = "; ".join(broken.reason for broken in self.broken)
            raise UsageError(f"{error} Set aside as broken, see gfp-bench list --broken: {reasons}")
        raise error


def _module_of(entry: Entry | ForeignEntry) -> Path | None:
    """Return the file of the module that a plugin is registered by, if it has one."""
    if entry.source and entry.source.file:
        return entry.source.file
    if entry.source and entry.source.point:
        return module_file(entry.source.point[1].partition(":")[0])
    assert isinstance(entry, Entry)  # noqa: S101 - what has no source is loaded
    return Path(inspect.getfile(entry.cls))


_Declaration = TypeVar("_Declaration", AttackDeclaration, MethodDeclaration)


def _named(declaration: _Declaration, name: str) -> _Declaration:
    """Return what a plugin declares, unless it calls itself something else than its class does."""
    if declaration.name != name:
        raise PluginError(f"plugin {name!r} calls itself {declaration.name!r} once it is made; let it keep its name")
    return declaration


def checked_name(kind: str, cls: type) -> str:
    """Return the name that a plugin class declares.

    Raises:
        PluginError: If its name cannot be part of a file name, or its version is not a positive integer.
    """
    name, version = getattr(cls, "name", None), getattr(cls, "version", None)
    if not isinstance(name, str) or not _WORD.fullmatch(name):
        raise PluginError(
            f"{kind} class {cls.__qualname__} has the name {name!r}, expected lower-case letters, digits, '.', '_', "
            "'-', at most 64 of them"
        )
    if type(version) is not int or not 1 <= version < 2**31:
        raise PluginError(f"{kind} {name!r} has the version {version!r}, expected an integer from 1")
    return name
