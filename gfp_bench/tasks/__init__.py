"""Tasks: which fits, which cells, which metrics. A protocol names its task."""

from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType

from gfp_bench.errors import unknown


def load_task(name: str) -> ModuleType:
    """Return the task's module: its ``conditions`` and its ``metrics``.

    Raises:
        UsageError: If there is no such task.
    """
    names = [module.name for module in iter_modules(__path__)]
    if name not in names:
        raise unknown("task", name, names)
    return import_module(f"{__name__}.{name}")
