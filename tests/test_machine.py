"""What is read off the machine, and memory that is kept."""

import platform
import subprocess
import sys

import pytest
import torch

from gfp_bench.machine import has_matrix_units

FAULTS = """
import resource, sys
import torch
from gfp_bench.machine import keep_freed_memory
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


def test_matrix_units_are_those_that_torch_finds() -> None:
    assert has_matrix_units() == torch.cpu._is_amx_tile_supported()
