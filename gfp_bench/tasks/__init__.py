"""The questions that methods are asked, one file each, found by lying here. Torch-free."""

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules

from gfp_bench.contracts.settings import Setting, resolved_settings
from gfp_bench.contracts.task import Task
from gfp_bench.errors import PluginError, unknown


def task_names() -> list[str]:
    """Return the names of all tasks, sorted."""
    return sorted(module.name for module in iter_modules(__path__))


def load_task(name: str, settings: Mapping[str, Setting] | None = None) -> Task:
    """Return the task of a name, with the settings that a protocol gives it.

    Raises:
        UsageError: If there is no such task, or it does not have such a setting.
        PluginError: If its file does not define it.
    """
    if name not in task_names():
        raise unknown("task", name, task_names())
    module = import_module(f"{__name__}.{name}")
    for cls in vars(module).values():
        if isinstance(cls, type) and issubclass(cls, Task) and getattr(cls, "name", None) == name:
            task: Task = cls(**resolved_settings(cls, settings or {}))
            return task
    raise PluginError(f"{module.__file__} defines no Task with name = {name!r}; expected one named as its file")
