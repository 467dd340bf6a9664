"""How long attacks take, beside a one-thread loop over the library that defines them, on the same images.

    pytest tests/benchmarks/test_attacks.py --benchmark-enable --benchmark-group-by=group

Both sides take and give (n, 3, h, w) tensors and draw their parameters from the same streams, so their results can be
compared: they are equal, but for noise, whose peer is NumPy's own generator of normal values. Annotations are checked
while tests run, which costs time; `attack_tables.py` measures without that.
"""

from collections.abc import Callable

import cv2
import pytest
import torch
from benchmarks.peers import ATTACKS, PEERS, photographs, streams
from pytest_benchmark.fixture import BenchmarkFixture

from gfp_bench import Perturbation
from gfp_bench_attacks.blur import Blur
from gfp_bench_attacks.combination import Combination
from gfp_bench_attacks.crop import Crop
from gfp_bench_attacks.jpeg import Jpeg
from gfp_bench_attacks.relight import Relight

COUNTS = {64: 256, 128: 64, 256: 32}
GPU_COUNT = 16384
every_size = pytest.mark.parametrize("side", COUNTS)


@pytest.fixture(autouse=True)
def _two_threads() -> None:
    torch.set_num_threads(2)
    cv2.setNumThreads(2)


@every_size
@pytest.mark.parametrize("attack", [*PEERS, Relight, Combination], ids=lambda attack: attack.name)
def test_ours(benchmark: BenchmarkFixture, attack: type[Perturbation], side: int) -> None:
    images = photographs(side, COUNTS[side])
    benchmark.group = f"{attack.name} {side}"
    attacked = benchmark(lambda: attack().perturb(images, streams(len(images))))
    if attack in (Jpeg, Crop, Blur):
        assert torch.equal(attacked, PEERS[attack](images))


@every_size
@pytest.mark.parametrize("attack", PEERS, ids=lambda attack: attack.name)
def test_peer(benchmark: BenchmarkFixture, attack: type[Perturbation], side: int) -> None:
    images = photographs(side, COUNTS[side])
    benchmark.group = f"{attack.name} {side}"
    cv2.setNumThreads(1)
    benchmark(lambda: PEERS[attack](images))


@pytest.mark.gpu
@pytest.mark.parametrize("name", ATTACKS)
def test_on_a_gpu(benchmark: BenchmarkFixture, name: str) -> None:
    """Images a second at 64 px, and that as a share of what a copy's memory traffic would allow.

    Wanted are 200,000 images per second, and 0.6 of a copy for attacks with next to no arithmetic: contrast, flip,
    gamma.
    """
    images, rng, attack = photographs(64, GPU_COUNT).cuda(), streams(GPU_COUNT, "cuda"), ATTACKS[name]()
    copied = seconds(lambda: torch.empty_like(images).copy_(images))
    taken = seconds(lambda: attack.perturb(images, rng[:]))
    benchmark.extra_info |= {"images per second": GPU_COUNT / taken, "share of a copy's rate": copied / taken}
    benchmark(lambda: (attack.perturb(images, rng[:]), torch.cuda.synchronize()))


def seconds(work: Callable[[], object], repeats: int = 10) -> float:
    """Return the least seconds that work on a GPU takes."""
    times = []
    for _ in range(repeats):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        work()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end) / 1000)
    return min(times)
