"""What a run's fork server imports once, so that no trial has to: the engine, the built-in plugins, what these need."""

from importlib import import_module

import gfp_bench.engine.process  # noqa: F401 - every trial runs it
from gfp_bench.registry.discovery import built_in

for _entry in built_in():
    for _module in getattr(_entry.cls, "preload", ()):
        import_module(_module)
