"""Memory of a streamed image set does not grow with the number of its images."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

STREAM = """
import resource, sys
import numpy as np
from gfp_bench.data.cache import UncachedMap
from gfp_bench.contracts.images import ImageSet

pixels = np.load(sys.argv[1], mmap_mode="r").view(UncachedMap)
count = int(sys.argv[2])
labels = np.zeros(count, dtype=np.int64)
images = ImageSet(
    pixels, labels, sources=["real"], ids=[str(i) for i in range(count)], rows=np.arange(count, dtype=np.int64)
)
total = 0
for batch, _ in images.batches(64):  # a method that holds nothing
    total += int(batch.sum())
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, total)
"""


@pytest.mark.timeout(120)
def test_fifty_thousand_images_take_the_memory_of_five_thousand(tmp_path: Path) -> None:
    path = tmp_path / "images.npy"
    pixels = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(50_000, 3, 32, 32))
    pixels[::1000] = 1
    pixels.flush()
    del pixels
    peaks = [peak(path, count) for count in (5_000, 50_000)]
    assert peaks[1] < 1.1 * peaks[0], f"peak memory {peaks} KiB"


def peak(path: Path, count: int) -> int:
    done = subprocess.run(
        [sys.executable, "-c", STREAM, str(path), str(count)], capture_output=True, text=True, check=True
    )
    kibibytes, total = map(int, done.stdout.split())
    assert total == count // 1000 * 3 * 32 * 32
    return kibibytes
