"""How long a training step of DCGAN takes beside a plain loop, and what of sampling is the network's.

    pytest tests/benchmarks/test_zoo.py --benchmark-enable --benchmark-group-by=group

The plain loop is what a user would write: the same networks in float32, the pool in memory as numbers in [-1, 1]. In
the precision that the zoo takes here (bfloat16 with matrix units, else float32) it tells what the loop of the zoo adds:
averaged weights, the watch for divergence, checkpoints.
"""

from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor
from typer.testing import CliRunner

from gfp_bench import Images
from gfp_bench.cli import app
from gfp_bench.contracts.monitor import Monitor
from gfp_bench.machine import keep_freed_memory
from gfp_bench.zoo import training
from gfp_bench_generators._shared.gan import GAN
from gfp_bench_generators._shared.networks import tower
from gfp_bench_generators.cramergan import CramerGAN
from gfp_bench_generators.dcgan import DCGAN
from gfp_bench_generators.dragan import DRAGAN
from gfp_bench_generators.lsgan import LSGAN
from gfp_bench_generators.mmdgan import MMDGAN
from gfp_bench_generators.sngan import SNGAN
from gfp_bench_generators.wgan_gp import WGANGP

pytestmark = pytest.mark.slow

SIDE = 64
BATCH = 32
STEPS = 10
SAMPLES = 256

every_gan = pytest.mark.parametrize(
    "cls", [DCGAN, WGANGP, LSGAN, DRAGAN, SNGAN, CramerGAN, MMDGAN], ids=lambda cls: cls.name
)


class Enough(Exception):
    """What ends a training after `STEPS`, before samples are prepared for."""


class Stopwatch(Monitor):
    """Ends a training."""

    def progress(self, step: int, total: int, **values: float) -> None:
        if step == STEPS:
            raise Enough


def pool() -> Images:
    return torch.randint(0, 256, (1000, 3, SIDE, SIDE), dtype=torch.uint8, generator=seeded())


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def train_ours(images: Images) -> None:
    try:
        DCGAN(batch=BATCH).train(images, steps=STEPS + 1, rng=seeded(), monitor=Stopwatch())
    except Enough:
        return


def train_plain(images: Tensor, *, half: bool) -> None:
    generator, discriminator = DCGAN().build(SIDE), tower(SIDE, 16, 1, norm=True)
    generator_optimiser, discriminator_optimiser = (
        torch.optim.Adam(network.parameters(), lr=0.0002, betas=(0.5, 0.999)) for network in (generator, discriminator)
    )
    ones, zeros = torch.ones(BATCH, 1), torch.zeros(BATCH, 1)
    for _ in range(STEPS):
        real = images[torch.randint(len(images), (BATCH,))]
        with torch.autocast("cpu", torch.bfloat16) if half else nullcontext():
            fake = generator(torch.rand(BATCH, 100) * 2 - 1)
            verdicts = discriminator(real), discriminator(fake.detach())
        loss = F.binary_cross_entropy_with_logits(verdicts[0].float(), ones)
        loss = loss + F.binary_cross_entropy_with_logits(verdicts[1].float(), zeros)
        discriminator_optimiser.zero_grad()
        loss.backward()
        discriminator_optimiser.step()
        with torch.autocast("cpu", torch.bfloat16) if half else nullcontext():
            verdict = discriminator(fake)
        loss = F.binary_cross_entropy_with_logits(verdict.float(), ones)
        generator_optimiser.zero_grad()
        loss.backward()
        generator_optimiser.step()


@pytest.mark.parametrize("half", [False, True], ids=["float32", "bfloat16"])
def test_plain(benchmark: BenchmarkFixture, half: bool) -> None:
    benchmark.group = "dcgan, ten steps"
    benchmark.pedantic(train_plain, (pool() / 127.5 - 1,), {"half": half}, rounds=5, warmup_rounds=1)


def test_ours(benchmark: BenchmarkFixture) -> None:
    """With the memory kept, as `zoo train` has it: after the plain loops, which a user would run without."""
    keep_freed_memory()
    benchmark.group = "dcgan, ten steps"
    benchmark.pedantic(train_ours, (pool(),), rounds=5, warmup_rounds=1)


@pytest.fixture
def folder(cls: type[GAN], tmp_path: Path) -> Path:
    """A generator that was trained for one small step; sampling takes as long as after a thousand."""
    training.train(cls(batch=2), pool(), tmp_path, steps=1, seed=0, settings={"batch": 2}, sheets=0)
    return tmp_path


@every_gan
def test_network_alone(benchmark: BenchmarkFixture, cls: type[GAN], folder: Path) -> None:
    generator = cls()
    generator.load(folder)
    latents = torch.randn(SAMPLES, generator.latent, generator=seeded())
    benchmark.group = f"{cls.name}, {SAMPLES} samples"
    with torch.no_grad():
        benchmark(generator.network, latents)


@every_gan
def test_sample(benchmark: BenchmarkFixture, cls: type[GAN], folder: Path) -> None:
    benchmark.group = f"{cls.name}, {SAMPLES} samples"

    def load_and_sample() -> Images:
        generator = cls()
        generator.load(folder)
        return generator.sample(SAMPLES, rng=seeded())

    assert benchmark(load_and_sample).shape == (SAMPLES, 3, SIDE, SIDE)


@every_gan
def test_command(benchmark: BenchmarkFixture, cls: type[GAN], folder: Path) -> None:
    """With the files that it writes."""
    benchmark.group = f"{cls.name}, {SAMPLES} samples"
    words = ["zoo", "sample", str(folder), "-n", str(SAMPLES), "--out", str(folder / "images")]
    assert benchmark(CliRunner().invoke, app, words).exit_code == 0
