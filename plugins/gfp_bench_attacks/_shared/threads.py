"""Parts of a batch: on the CPU in as many threads as torch may use, on a GPU one after the other.

The libraries that attacks call let go of the interpreter's lock. A part is large enough that the lock changes hands
seldom, and small enough that its images stay in a core's cache (on a GPU: that what is made on the way stays small).
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor

from gfp_bench import Images

_CACHEFUL, _GPU = 2**19, 2**26  # bytes of a part


def in_parts(images: Images, attack: Callable[[slice], Images], *, bytes_a_value: int = 2) -> Images:
    """Return what ``attack``, which keeps so many bytes for every value, makes of the slices of a batch."""
    size = _size(images, bytes_a_value)
    parts = [slice(start, start + size) for start in range(0, len(images), size)]
    return _collected(images, [(part, partial(attack, part)) for part in parts], torch.get_num_threads())


def by_parameters(
    images: Images, parameters: Tensor, attack: Callable[[Tensor, list[int]], Images], *, own_threads: bool = False
) -> Images:
    """Return images attacked together where they share parameters.

    Args:
        images: The batch.
        parameters: (n, k) whole numbers, on the images' device.
        attack: Takes the (m,) indices of some images and their k parameters.
        own_threads: Whether ``attack`` uses threads itself, and so gets none.
    """
    kinds, kind = torch.unique(parameters, dim=0, return_inverse=True)
    parts: list[tuple[Tensor, Callable[[], Images]]] = []
    for number, values in enumerate(kinds.tolist()):
        members = torch.split((kind == number).nonzero()[:, 0], _size(images))
        parts += [(chosen, partial(attack, chosen, values)) for chosen in members]
    return _collected(images, parts, 1 if own_threads else torch.get_num_threads())


@contextmanager
def one_thread() -> Iterator[None]:
    """Have torch use one thread: a network's sums vary with their number."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def take(images: Images, chosen: Tensor) -> Tensor:
    """Return some images, copied whole by NumPy on the CPU: torch goes value by value, or wakes threads for it."""
    return images[chosen] if images.is_cuda else torch.from_numpy(images.numpy()[chosen.numpy()])


def put(images: Images, chosen: slice | Tensor, values: Tensor) -> None:
    """Overwrite some images, copied as `take` does."""
    if images.is_cuda:
        images[chosen] = values
    else:
        images.numpy()[chosen.numpy() if isinstance(chosen, Tensor) else chosen] = values.numpy()


def _size(images: Images, bytes_a_value: int = 2) -> int:
    return max(1, (_GPU if images.is_cuda else _CACHEFUL) // (images[0].numel() * bytes_a_value))


def _collected(images: Images, parts: Sequence[tuple[slice | Tensor, Callable[[], Images]]], threads: int) -> Images:
    """Return the batch whose indices hold what their calls give.

    A pool lives for one batch: one kept for longer would be dead in a forked process, and waited for.
    """
    attacked = torch.empty_like(images, memory_format=torch.contiguous_format)

    def work(part: tuple[slice | Tensor, Callable[[], Images]]) -> None:
        index, attack = part
        put(attacked, index, attack())

    if images.is_cuda or min(threads, len(parts)) < 2:
        for part in parts:
            work(part)
        return attacked
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            list(pool.map(work, parts))  # a list, so that what a part raises is raised here
    finally:
        torch.set_num_threads(threads)  # the threads' own setting is also that of threads to come
    return attacked
