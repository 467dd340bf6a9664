"""What the processor is good at."""

from functools import cache
from pathlib import Path


@cache
def has_matrix_units() -> bool:
    """Return whether the processor multiplies bfloat16 matrices in units of their own (Intel's AMX).

    Without them bfloat16 convolutions take longer than those in float32.
    """
    return "amx_bf16" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
