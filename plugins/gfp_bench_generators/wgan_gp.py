"""WGAN-GP, narrow: nearest-neighbour up-sampling and convolutions against a critic with a gradient penalty.

Source: Gulrajani et al., "Improved training of Wasserstein GANs", NeurIPS 2017, arXiv:1704.00028, algorithm 1.
Differs from the paper: plain convolutional networks and no residual ones, batches of 32 and not 64, bfloat16
convolutions; samples come from averaged weights.
"""

from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gfp_bench import SILENT, Generator, Images, Monitor, Register, hookimpl
from gfp_bench_generators._networks import SEED_SIDE, channels, fresh, tower
from gfp_bench_generators._sampling import decode, load_network, save_network
from gfp_bench_generators._training import Draw, descend, mixed, recalibrate, train


@hookimpl
def register_generators(register: Register) -> None:
    """Offer `WGANGP`."""
    register(WGANGP)


class WGANGP(Generator):
    """A critic estimates the Wasserstein distance from generated to real images, and the generator lowers it."""

    name = "wgan_gp"
    paper = "arXiv:1704.00028"
    version = 1
    metadata: ClassVar[dict[str, str]] = {
        "family": "gan",
        "loss": "wasserstein, gradient penalty",
        "upsampling": "nearest, convolution 3x3",
        "downsampling": "strided convolution 4x4",
        "normalisation": "batch",
        "nonlinearity": "tanh",
        "skips": "none",
    }

    def __init__(
        self,
        width: int = 24,
        latent: int = 128,
        batch: int = 32,
        rate: float = 0.0001,
        critic_steps: int = 5,
        penalty: float = 10.0,
    ) -> None:
        self.width = width  # channels at half the image's side
        self.latent = latent  # standard normal values
        self.batch = batch  # images a step; the paper's 64
        self.rate = rate  # of Adam, for both networks
        self.critic_steps = critic_steps  # of the critic for each one of the generator
        self.penalty = penalty  # the weight lambda

    def train(self, pool: Images, *, steps: int, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        self.side = pool.shape[-1]
        generator = fresh(self.build(self.side), rng).to(pool.device)
        critic = fresh(tower(self.side, self.width, 1, norm=False), rng).to(pool.device)
        generator_optimiser, critic_optimiser = (
            torch.optim.Adam(network.parameters(), lr=self.rate, betas=(0.0, 0.9)) for network in (generator, critic)
        )

        def update(draw: Draw) -> dict[str, float]:
            for _ in range(self.critic_steps):
                real = draw()
                with torch.no_grad(), mixed(real):
                    fake = generator(self._latents(self.batch, rng).to(real)).float()
                with mixed(real):
                    distance = critic(real).mean() - critic(fake).mean()
                    slope = _slope(critic, real, fake, rng)
                loss = descend(critic_optimiser, self.penalty * slope - distance)
            with mixed(real):
                verdict = critic(generator(self._latents(self.batch, rng).to(real)))
            return {"critic": loss, "generator": descend(generator_optimiser, -verdict.mean())}

        parts: dict[str, nn.Module | Optimizer] = {
            "critic": critic,
            "generator_optimiser": generator_optimiser,
            "critic_optimiser": critic_optimiser,
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
            nn.Linear(self.latent, widths[0] * SEED_SIDE**2, bias=False),
            nn.Unflatten(1, (widths[0], SEED_SIDE, SEED_SIDE)),
        ]
        for before, after in zip(widths, [*widths[1:], 3], strict=True):
            layers += [
                nn.BatchNorm2d(before),
                nn.ReLU(),
                nn.Upsample(scale_factor=2),
                nn.Conv2d(before, after, 3, padding=1),
            ]
        return nn.Sequential(*layers, nn.Tanh())

    def _latents(self, n: int, rng: torch.Generator) -> Tensor:
        return torch.randn(n, self.latent, generator=rng)


def _slope(critic: nn.Module, real: Tensor, fake: Tensor, rng: torch.Generator) -> Tensor:
    """Return the mean of (norm of the critic's gradient - 1)^2, half-way somewhere between real and fake (eq. 3)."""
    share = torch.rand(len(real), 1, 1, 1, generator=rng).to(real)
    between = (real + share * (fake - real)).requires_grad_()
    (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    norms: Tensor = torch.linalg.vector_norm(gradient.flatten(1), dim=1)
    return (norms - 1).square().mean()
