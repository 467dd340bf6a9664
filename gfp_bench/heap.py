"""Freed memory is kept for the next tensor."""

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # their numbers in malloc.h


def keep_freed_memory() -> None:
    """Have this process reuse freed memory instead of giving it back, from now to its end; no result changes.

    The GNU C library unmaps what is larger than 32 MB as soon as it is freed. A training frees and asks for such
    blocks at every step, and each page costs a fault when it is touched again. Other C libraries are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, 2**30)
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)
