"""gfp-bench: a benchmark harness for generative-model fingerprints. Plugins and notebooks import from here."""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from gfp_bench.contracts.attack import Perturbation as Perturbation
    from gfp_bench.contracts.attack import to_uint8 as to_uint8
    from gfp_bench.contracts.dataset import REAL as REAL
    from gfp_bench.contracts.dataset import DatasetFacts as DatasetFacts
    from gfp_bench.contracts.generator import Generator as Generator
    from gfp_bench.contracts.images import ImageSet as ImageSet
    from gfp_bench.contracts.method import Method as Method
    from gfp_bench.contracts.monitor import SILENT as SILENT
    from gfp_bench.contracts.monitor import Monitor as Monitor
    from gfp_bench.contracts.rng import ImageRng as ImageRng
    from gfp_bench.contracts.settings import Setting as Setting
    from gfp_bench.contracts.settings import parse_spec as parse_spec
    from gfp_bench.contracts.settings import resolved_settings as resolved_settings
    from gfp_bench.contracts.state import State as State
    from gfp_bench.contracts.state import load_state as load_state
    from gfp_bench.contracts.state import save_state as save_state
    from gfp_bench.contracts.types import Fingerprints as Fingerprints
    from gfp_bench.contracts.types import Images as Images
    from gfp_bench.contracts.types import Labels as Labels
    from gfp_bench.contracts.types import Scores as Scores
    from gfp_bench.data.dataset import Dataset as Dataset
    from gfp_bench.data.dataset import load_dataset as load_dataset
    from gfp_bench.errors import DatasetError as DatasetError
    from gfp_bench.errors import GfpBenchError as GfpBenchError
    from gfp_bench.errors import PluginError as PluginError
    from gfp_bench.errors import SettingError as SettingError
    from gfp_bench.errors import UsageError as UsageError
    from gfp_bench.machine import has_matrix_units as has_matrix_units
    from gfp_bench.metrics.octaves import octaves as octaves
    from gfp_bench.registry.discovery import find_attack as find_attack
    from gfp_bench.registry.discovery import load_plugins as load_plugins
    from gfp_bench.registry.hookspecs import Register as Register
    from gfp_bench.registry.hookspecs import hookimpl as hookimpl

_HOMES = {  # name -> module, so that `import gfp_bench` costs nothing and the command line starts without torch
    "Dataset": "data.dataset",
    "DatasetError": "errors",
    "DatasetFacts": "contracts.dataset",
    "Fingerprints": "contracts.types",
    "Generator": "contracts.generator",
    "GfpBenchError": "errors",
    "ImageRng": "contracts.rng",
    "ImageSet": "contracts.images",
    "Images": "contracts.types",
    "Labels": "contracts.types",
    "Method": "contracts.method",
    "Monitor": "contracts.monitor",
    "Perturbation": "contracts.attack",
    "PluginError": "errors",
    "REAL": "contracts.dataset",
    "Register": "registry.hookspecs",
    "SILENT": "contracts.monitor",
    "Scores": "contracts.types",
    "Setting": "contracts.settings",
    "SettingError": "errors",
    "State": "contracts.state",
    "UsageError": "errors",
    "find_attack": "registry.discovery",
    "has_matrix_units": "machine",
    "hookimpl": "registry.hookspecs",
    "load_dataset": "data.dataset",
    "load_plugins": "registry.discovery",
    "load_state": "contracts.state",
    "octaves": "metrics.octaves",
    "parse_spec": "contracts.settings",
    "resolved_settings": "contracts.settings",
    "save_state": "contracts.state",
    "to_uint8": "contracts.attack",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'gfp_bench' has no attribute {name!r}")
    return getattr(import_module(f"gfp_bench.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]
