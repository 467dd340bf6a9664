"""gfp-bench: a benchmark harness for generative-model fingerprints. Plugins and notebooks import from here."""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from gfp_bench.attack import Perturbation as Perturbation
    from gfp_bench.attack import to_uint8 as to_uint8
    from gfp_bench.datasets import Dataset as Dataset
    from gfp_bench.datasets import load_dataset as load_dataset
    from gfp_bench.errors import DatasetError as DatasetError
    from gfp_bench.errors import GfpBenchError as GfpBenchError
    from gfp_bench.errors import PluginError as PluginError
    from gfp_bench.errors import UsageError as UsageError
    from gfp_bench.generator import Generator as Generator
    from gfp_bench.hookspecs import Register as Register
    from gfp_bench.hookspecs import hookimpl as hookimpl
    from gfp_bench.images import ImageSet as ImageSet
    from gfp_bench.method import Method as Method
    from gfp_bench.monitor import SILENT as SILENT
    from gfp_bench.monitor import Monitor as Monitor
    from gfp_bench.plugins import load_plugins as load_plugins
    from gfp_bench.rng import ImageRng as ImageRng
    from gfp_bench.state import load_state as load_state
    from gfp_bench.state import save_state as save_state
    from gfp_bench.types import Fingerprints as Fingerprints
    from gfp_bench.types import Images as Images
    from gfp_bench.types import Labels as Labels
    from gfp_bench.types import Scores as Scores

_HOMES = {  # name -> module, so that `import gfp_bench` costs nothing and the command line starts without torch
    "Perturbation": "attack",
    "to_uint8": "attack",
    "Dataset": "datasets",
    "load_dataset": "datasets",
    "DatasetError": "errors",
    "GfpBenchError": "errors",
    "PluginError": "errors",
    "UsageError": "errors",
    "Generator": "generator",
    "Register": "hookspecs",
    "hookimpl": "hookspecs",
    "ImageSet": "images",
    "Method": "method",
    "SILENT": "monitor",
    "Monitor": "monitor",
    "load_plugins": "plugins",
    "ImageRng": "rng",
    "load_state": "state",
    "save_state": "state",
    "Fingerprints": "types",
    "Images": "types",
    "Labels": "types",
    "Scores": "types",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'gfp_bench' has no attribute {name!r}")
    return getattr(import_module(f"gfp_bench.{_HOMES[name]}"), name)
