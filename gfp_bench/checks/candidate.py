"""A plugin under check, the images it is tried on, and the checks of any plugin."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from gfp_bench.contracts.attack import Perturbation
from gfp_bench.contracts.generator import Generator
from gfp_bench.contracts.images import ImageSet
from gfp_bench.contracts.method import Method
from gfp_bench.contracts.settings import Setting, resolved_settings
from gfp_bench.errors import PluginError
from gfp_bench.registry.plugins import checked_name

Plugin = TypeVar("Plugin", bound=Method | Perturbation | Generator)

_FORMATS = (".safetensors", ".npz", ".npy", ".json", ".txt")  # what is read without running it


class Splits(NamedTuple):
    """The images that a plugin is checked on, of three sources or more."""

    train: ImageSet
    val: ImageSet
    test: ImageSet


def synthetic(per_source: int = 8, size: int = 64) -> Splits:
    """Return splits of ``real``, random scenes, and of two fake sources, scenes with a grid: (3, size, size) images."""
    rng = np.random.default_rng(0)
    row, column = np.mgrid[:size, :size]
    grids = np.stack([(row + column) % 2 * 12 - 6, column % 4 // 2 * 12 - 6, 0 * row])[:, None]
    labels = np.arange(3 * per_source) % 3  # mixed, so that a batch tells nothing of the label

    def split(name: str) -> ImageSet:
        scenes = rng.normal(128, 30, size=(len(labels), 3, size // 8, size // 8)).repeat(8, axis=2).repeat(8, axis=3)
        pixels = (scenes + grids[labels] + rng.normal(0, 4, size=scenes.shape)).round().clip(0, 255).astype(np.uint8)
        ids = [f"{name}-{index}" for index in range(len(labels))]
        sources = ("checkers", "columns", "real")
        return ImageSet(pixels, labels, sources=sources, ids=ids, dataset="synthetic", split=name)

    return Splits(split("train"), split("val"), split("test"))


class Subject(Generic[Plugin]):
    """A plugin with its settings and images.

    Attributes:
        images: (n, 3, h, w), those of the test split.
        attempts: Addresses that were asked for.
    """

    def __init__(self, cls: type[Plugin], given: Mapping[str, Setting], data: Splits) -> None:
        self.cls, self.given = cls, given
        self.train, self.val, self.test = (part.subset(range(len(part))) for part in data)  # ours to tamper with
        self.images = data.test.images
        self.attempts: list[str] = []

    def make(self) -> Plugin:
        """Return a new instance."""
        return self.cls(**resolved_settings(self.cls, self.given))


def declared(subject: Subject[Any]) -> None:
    """The class says what it is."""
    checked_name("plugin", subject.cls)


def settings(subject: Subject[Any]) -> None:
    """Every parameter of ``__init__`` has a type and a default, and is kept under its own name."""
    plugin = subject.make()
    for name, value in resolved_settings(subject.cls, subject.given).items():
        if getattr(plugin, name, plugin) != value:
            raise PluginError(f"setting {name!r} got {value!r} but is not kept; write self.{name} = {name}")


def refuse_pickle(folder: Path) -> None:
    """Refuse files that run code when they are read."""
    if strange := sorted(path.name for path in folder.rglob("*") if path.is_file() and path.suffix not in _FORMATS):
        raise PluginError(f"save wrote {strange[0]!r}, expected {', '.join(_FORMATS)}: never pickle")


def no_network(subject: Subject[Any]) -> None:
    """Nothing so far asked for the network."""
    if subject.attempts:
        raise PluginError(f"it tried to reach {subject.attempts[0]}; weights and data come from disk")
