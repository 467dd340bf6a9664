"""What a run's fork server imports and looks up once, so that no trial has to: the engine, plugins, where code lies."""

from importlib import import_module

from threadpoolctl import threadpool_limits

import gfp_bench.engine.process  # noqa: F401 - every trial runs it
from gfp_bench.engine.sandbox import code
from gfp_bench.registry.discovery import built_in, load_built_in

for _entry in built_in():
    for _module in getattr(_entry.cls, "preload", ()):
        import_module(_module)

code()
load_built_in()
threadpool_limits(1)
