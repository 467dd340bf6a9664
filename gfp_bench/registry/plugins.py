"""Names -> plugin classes, with where each came from. Torch-free."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from gfp_bench.contracts.settings import resolved_settings
from gfp_bench.errors import PluginError, UsageError, unknown

if TYPE_CHECKING:
    from gfp_bench.contracts.attack import Perturbation
    from gfp_bench.contracts.generator import Generator
    from gfp_bench.contracts.method import Method

Kind: TypeAlias = Literal["method", "attack", "generator"]

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")  # becomes part of file names, also where case does not count


@dataclass(frozen=True)
class Entry:
    """A registered class and where it came from, in words."""

    kind: Kind
    cls: type
    origin: str


@dataclass(frozen=True)
class Broken:
    """A third-party plugin that was set aside; ``reason`` is one line that names it."""

    distribution: str
    version: str
    reason: str
    traceback: str

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}"


class Plugins:
    """Everything that is registered. A name is taken once, whatever the kind, so that it suffices on a command line.

    Attributes:
        broken: What was set aside.
    """

    def __init__(self, entries: Iterable[Entry] = (), broken: Iterable[Broken] = ()) -> None:
        """Index the classes by name.

        Raises:
            PluginError: If two of them have one name; the message has both origins.
        """
        self.broken = tuple(broken)
        self._entries: dict[str, Entry] = {}
        for entry in entries:
            self._add(entry)

    def _add(self, entry: Entry) -> None:
        name = checked_name(entry.kind, entry.cls)
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
        return self._find(name, "method").cls

    def attack(self, name: str) -> "type[Perturbation]":
        """Return the attack of that name; raises like `method`."""
        return self._find(name, "attack").cls

    def generator(self, name: str) -> "type[Generator]":
        """Return the generator of that name; raises like `method`."""
        return self._find(name, "generator").cls

    def entry(self, name: str) -> Entry:
        """Return what is registered under a name, whatever its kind; raises like `method`."""
        return self._find(name, None)

    settings = staticmethod(resolved_settings)

    def _find(self, name: str, kind: Kind | None) -> Entry:
        known = self._entries if kind is None else self.names(kind)
        if name in known:
            return self._entries[name]
        error = unknown(kind or "plugin", name, known)
        if self.broken:
            reasons = "; ".join(broken.reason for broken in self.broken)
            raise UsageError(f"{error} Set aside as broken, see gfp-bench list --broken: {reasons}")
        raise error


def checked_name(kind: str, cls: type) -> str:
    """Return the name that a plugin class declares.

    Raises:
        PluginError: If its name cannot be part of a file name, or its version is not a positive integer.
    """
    name, version = getattr(cls, "name", None), getattr(cls, "version", None)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise PluginError(
            f"{kind} class {cls.__qualname__} has the name {name!r}, expected lower-case letters, digits, '.', '_', '-'"
        )
    if type(version) is not int or version < 1:
        raise PluginError(f"{kind} {name!r} has the version {version!r}, expected an integer from 1")
    return name
