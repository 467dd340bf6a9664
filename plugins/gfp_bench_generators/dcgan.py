"""DCGAN, narrow: transposed convolutions against a strided discriminator.

Source: Radford, Metz and Chintala, "Unsupervised representation learning with deep convolutional generative
adversarial networks", ICLR 2016, arXiv:1511.06434, sections 3 and 4.
Differs from the paper: a quarter of its width, batches of 32 and not 128, bfloat16 convolutions; samples come from
averaged weights.
"""

from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from gfp_bench import SILENT, Generator, Images, Monitor, Register, hookimpl
from gfp_bench_generators._networks import SEED_SIDE, channels, fresh, tower
from gfp_bench_generators._sampling import decode, load_network, save_network
from gfp_bench_generators._training import Draw, descend, mixed, recalibrate, train


@hookimpl
def register_generators(register: Register) -> None:
    """Offer `DCGAN`."""
    register(DCGAN)


class DCGAN(Generator):
    """Two convolutional networks in the minimax game of Goodfellow et al., the generator's loss non-saturating."""

    name = "dcgan"
    paper = "arXiv:1511.06434"
    version = 1
    metadata: ClassVar[dict[str, str]] = {
        "family": "gan",
        "loss": "non-saturating",
        "upsampling": "transposed convolution 4x4",
        "downsampling": "strided convolution 4x4",
        "normalisation": "batch",
        "nonlinearity": "tanh",
        "skips": "none",
    }

    def __init__(
        self,
        width: int = 32,
        discriminator_width: int = 16,
        latent: int = 100,
        batch: int = 32,
        rate: float = 0.0002,
        discriminator_rate: float = 0.0002,
    ) -> None:
        self.width = width  # channels at half the image's side; the paper's 128
        self.discriminator_width = discriminator_width  # likewise
        self.latent = latent  # uniform values in [-1, 1]
        self.batch = batch  # images a step; the paper's 128
        self.rate = rate  # of Adam
        self.discriminator_rate = discriminator_rate  # likewise

    def train(self, pool: Images, *, steps: int, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        self.side = pool.shape[-1]
        generator = fresh(self.build(self.side), rng, 0.02).to(pool.device)
        discriminator = fresh(tower(self.side, self.discriminator_width, 1, norm=True), rng, 0.02).to(pool.device)
        generator_optimiser = _adam(generator, self.rate)
        discriminator_optimiser = _adam(discriminator, self.discriminator_rate)

        def update(draw: Draw) -> dict[str, float]:
            real = draw()
            with mixed(real):
                fake = generator(self._latents(self.batch, rng).to(real))
                verdicts = discriminator(real), discriminator(fake.detach())
            loss = F.softplus(-verdicts[0].float()).mean() + F.softplus(verdicts[1].float()).mean()
            judged = descend(discriminator_optimiser, loss)
            with mixed(real):
                verdict = discriminator(fake)
            return {
                "discriminator": judged,
                "generator": descend(generator_optimiser, F.softplus(-verdict.float()).mean()),
            }

        parts: dict[str, nn.Module | Optimizer] = {
            "discriminator": discriminator,
            "generator_optimiser": generator_optimiser,
            "discriminator_optimiser": discriminator_optimiser,
        }
        averaged = train(update, generator, parts, pool, steps=steps, batch=self.batch, rng=rng, monitor=monitor)
        self.network = recalibrate(averaged, (self._latents(self.batch, rng).to(pool.device) for _ in range(64)))

    def sample(self, n: int, *, rng: torch.Generator) -> Images:
        return decode(self.network, self._latents(n, rng))

    def save(self, folder: Path) -> None:
        save_network(folder, self.network, side=self.side)

    def load(self, folder: Path, *, device: torch.device | str = "cpu") -> None:
        self.network, state = load_network(folder, self.build, device)
        self.side = state["side"]

    def build(self, side: int) -> nn.Sequential:
        """Return the untrained generator: latents (n, latent) to images in [-1, 1]."""
        widths = channels(side, self.width)
        layers: list[nn.Module] = [
            nn.Unflatten(1, (self.latent, 1, 1)),
            nn.ConvTranspose2d(self.latent, widths[0], SEED_SIDE, bias=False),
        ]
        for before, after in pairwise(widths):
            layers += [nn.BatchNorm2d(before), nn.ReLU(), nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False)]
        return nn.Sequential(
            *layers, nn.BatchNorm2d(widths[-1]), nn.ReLU(), nn.ConvTranspose2d(widths[-1], 3, 4, 2, 1), nn.Tanh()
        )

    def _latents(self, n: int, rng: torch.Generator) -> Tensor:
        return torch.rand(n, self.latent, generator=rng) * 2 - 1


def _adam(network: nn.Module, rate: float) -> torch.optim.Adam:
    return torch.optim.Adam(network.parameters(), lr=rate, betas=(0.5, 0.999))
