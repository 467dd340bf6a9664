"""A process that keeps freed memory touches it again without page faults."""

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import torch
from gfp_bench.heap import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
def touch():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.empty(9 * 2**20).fill_(1.0)  # 36 MiB, freed at once
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(sum(touch() for _ in range(32)))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left as they are")
def test_freed_memory_is_touched_again_without_faults() -> None:
    faults = {
        how: int(subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, check=True).stdout)
        for how in ("given-back", "kept")
    }
    assert faults["kept"] * 2 < faults["given-back"], faults
