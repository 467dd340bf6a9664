"""Datasets that are made on first use, found by lying here: one file each, called as its simulation.

Torch-free until one is loaded.
"""

from abc import ABC, abstractmethod
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import ClassVar

from gfp_bench.data.manifest import Manifest


class Simulation(ABC):
    """A dataset made of what is installed; its settings are keyword arguments, as those of a plugin.

    Attributes:
        name: Its name without settings, also that of its module.
        version: Raised by hand when other bits come out.
    """

    name: ClassVar[str]
    version: ClassVar[int]

    @property
    @abstractmethod
    def title(self) -> str:
        """The dataset's name, ``<name>+<key>-<value>...``: what differs from the defaults stands in it."""

    @abstractmethod
    def make(self, folder: Path) -> Manifest:
        """Write images, ``<title>.toml`` and its index into a folder.

        Raises:
            OSError: If they cannot be written.
        """


def simulation_names() -> list[str]:
    """Return the names of all simulations, sorted."""
    return sorted(module.name for module in iter_modules(__path__))


def load_simulation(name: str) -> type[Simulation]:
    """Return the simulation of a name, the only one that its module defines."""
    module = import_module(f"{__name__}.{name}")
    (found,) = (
        thing
        for thing in vars(module).values()
        if isinstance(thing, type) and issubclass(thing, Simulation) and thing.__module__ == module.__name__
    )
    return found
