"""What the floors cost on large datasets: 60 s of one core and 2 GB, to fit and to score as many images again.

    pytest tests/benchmarks/test_floors.py -m slow --benchmark-enable --jaxtyping-packages=

50,000 training images of 64 x 64 pixels, 10,000 for validation and 50,000 to score; the sources differ in colour and
in their finest detail. Each floor runs in a process of its own, whose time and memory are the whole process's.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

TRAIN, VAL, SIDE = 50_000, 10_000, 64

FIT_AND_SCORE = """
import json, sys, time
import numpy as np
import torch
from gfp_bench import ImageSet, load_plugins
from gfp_bench.data.cache import UncachedMap

torch.set_num_threads(1)
file, name, sources, train, val = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
pixels = np.load(file, mmap_mode="r").view(UncachedMap)
labels = np.random.default_rng(0).integers(0, sources, len(pixels))

def part(start, stop):
    ids = [str(number) for number in range(start, stop)]
    names = [f"source-{number:03}" for number in range(sources)]
    return ImageSet(pixels, labels[start:stop], sources=names, ids=ids, rows=np.arange(start, stop))

method = load_plugins().method(name)()
started = time.process_time()
method.fit(part(0, train), part(train, train + val), rng=torch.Generator())
fitted = time.process_time()
test = part(train + val, len(pixels))
right = sum(int((method.scores(images).argmax(dim=1) == truth).sum()) for images, truth in test.batches())
status = open("/proc/self/status").read()  # the peak that getrusage tells is the parent's, if that was larger
peak = 1024 * int(status.split("VmHWM:")[1].split()[0])
print(json.dumps({"fit": fitted - started, "score": time.process_time() - fitted, "bytes": peak,
                  "accuracy": right / len(test), "penalty": method.penalty}))
"""


@pytest.fixture(scope="module", params=[15, 500])
def images(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A file of images, and of how many sources they are."""
    count, rng = 2 * TRAIN + VAL, np.random.default_rng(0)
    labels = rng.integers(0, request.param, count)
    casts, grains = rng.integers(-30, 31, (request.param, 3)), rng.uniform(4, 24, request.param)
    path = tmp_path_factory.mktemp("floors") / "images.npy"
    pixels = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(count, 3, SIDE, SIDE))
    for start in range(0, count, 1000):
        own = labels[start : start + 1000]
        scenes = rng.normal(128, 25, (len(own), 3, 8, 8)).repeat(8, axis=2).repeat(8, axis=3)
        grain = rng.standard_normal((len(own), 3, SIDE, SIDE), dtype=np.float32) * grains[own][:, None, None, None]
        pixels[start : start + 1000] = (scenes + casts[own][:, :, None, None] + grain).clip(0, 255)
    pixels.flush()
    return path, request.param


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", ["octaves", "thumbnail"])
def test_a_floor_is_cheap(benchmark: BenchmarkFixture, images: tuple[Path, int], name: str) -> None:
    path, sources = images
    command = [sys.executable, "-c", FIT_AND_SCORE, str(path), name, *map(str, (sources, TRAIN, VAL))]

    def run() -> dict[str, float]:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found: dict[str, float] = json.loads(done.stdout)
        return found

    found = benchmark.pedantic(run, rounds=1)
    benchmark.extra_info |= found
    assert found["fit"] + found["score"] < 60, found
    assert found["bytes"] < 2e9, found
    assert found["accuracy"] > 3 / sources, found
    print(name, sources, found)
