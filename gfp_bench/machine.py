"""The machine that this runs on: what its processor is good at, and how its memory is kept."""

import ctypes
from functools import cache
from pathlib import Path

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # their numbers in malloc.h


@cache
def has_matrix_units() -> bool:
    """Return whether the processor multiplies bfloat16 matrices in units of their own (Intel's AMX).

    Without them bfloat16 convolutions take longer than those in float32.
    """
    return "amx_bf16" in Path("/proc/cpuinfo").read_text(encoding="utf-8")


def keep_freed_memory() -> None:
    """Have this process reuse freed memory instead of giving it back, from now to its end; no result changes.

    The GNU C library unmaps what is larger than 32 MB as soon as it is freed. A training frees and asks for such
    blocks at every step, and each page costs a fault when it is touched again. Other C libraries are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, 2**30)
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)
