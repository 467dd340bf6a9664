"""Parts of a batch on as many threads as torch may use, for libraries that let go of the interpreter's lock.

A part is large enough that the lock changes hands seldom, and small enough that its images stay in a core's cache.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gfp_bench import Images

Part = TypeVar("Part")
_CACHEFUL = 2**16  # values of a part


def in_threads(work: Callable[[Part], None], parts: Sequence[Part]) -> None:
    """Call ``work`` once for every part, in any order.

    A pool lives for one call: one kept for longer would be dead in a forked process, and waited for.
    """
    threads = torch.get_num_threads()
    if min(threads, len(parts)) < 2:
        for part in parts:
            work(part)
        return
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            list(pool.map(work, parts))  # a list, so that what a part raises is raised here
    finally:
        torch.set_num_threads(threads)  # the threads' own setting is also that of threads to come


def slices(images: Images, values: int = _CACHEFUL) -> list[slice]:
    """Return the slices of a batch that hold at most so many values each, or one image."""
    size = max(1, values // images[0].numel())
    return [slice(start, start + size) for start in range(0, len(images), size)]


def by_parameters(
    images: Images, parameters: Tensor, attack: Callable[[NDArray[np.int64], list[int]], NDArray[np.uint8]]
) -> Images:
    """Return images attacked together where they share parameters, on the CPU.

    Args:
        images: The batch.
        parameters: (n, k) whole numbers.
        attack: Takes the (m,) indices of some images and their k parameters, gives (m, 3, h, w).
    """
    attacked = np.empty(images.shape, dtype=np.uint8)
    kinds, kind = np.unique(parameters.numpy(), axis=0, return_inverse=True)
    size = max(1, _CACHEFUL // images[0].numel())
    parts: list[tuple[NDArray[np.int64], list[int]]] = []
    for number, values in enumerate(kinds.tolist()):
        members = np.flatnonzero(kind == number)
        parts += [(members[start : start + size], values) for start in range(0, len(members), size)]

    def work(part: tuple[NDArray[np.int64], list[int]]) -> None:
        attacked[part[0]] = attack(*part)

    in_threads(work, parts)
    return torch.from_numpy(attacked)
