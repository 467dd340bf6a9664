"""Networks from libraries that are installed on demand: the library itself, and weights that a stream decides."""

from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar

import torch
from torch import nn

from gfp_bench import UsageError

Network = TypeVar("Network", bound=nn.Module)


def library(name: str) -> Any:  # what these libraries offer has no types
    """Return an optional library; called inside functions, since these take seconds to load.

    Raises:
        UsageError: If it is not installed.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise UsageError(
            f"this generator needs the library {name!r} ({error}); install it with `pip install 'gfp-bench[zoo]'`"
        ) from error


def drawn(build: Callable[[], Network], rng: torch.Generator) -> Network:
    """Return what ``build`` returns, its weights drawn from ``rng`` although its library draws from the global stream.

    The global stream is put back.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(int(torch.randint(2**62, (), generator=rng)))
        return build()
