"""The three hooks of a plugin. Each is given a callback and calls it once for every class that it brings."""

from collections.abc import Callable
from typing import TypeAlias

import pluggy

hookspec = pluggy.HookspecMarker("gfp_bench")
hookimpl = pluggy.HookimplMarker("gfp_bench")

Register: TypeAlias = Callable[[type], None]


@hookspec
def register_methods(register: Register) -> None:
    """Register subclasses of `gfp_bench.Method`."""


@hookspec
def register_attacks(register: Register) -> None:
    """Register subclasses of `gfp_bench.Perturbation`."""


@hookspec
def register_generators(register: Register) -> None:
    """Register subclasses of `gfp_bench.Generator`."""
