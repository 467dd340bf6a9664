"""DRAGAN, narrow: the minimax game with a gradient penalty around real images, for DCGAN's generator.

Source: Kodali et al., "On convergence and stability of GANs", 2017, arXiv:1705.07215, section 2.3: the penalty
lambda E[(|grad D(x + d)| - k)^2] with d from N(0, c I), lambda = c = 10 and k = 1.
Differs from the paper: a quarter of DCGAN's width, batches of 32 and not 64, bfloat16 where faster; samples come from
averaged weights. Readings of ours: c is in 8-bit grey levels squared, D is taken before its sigmoid.
"""

import math
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from annotated_types import Ge
from torch import Tensor, nn

from gfp_bench import Register, hookimpl
from gfp_bench_generators._shared.dcgan import WORDS, DCGANGenerator, Upsampling, described
from gfp_bench_generators._shared.gan import Score, slopes
from gfp_bench_generators._shared.networks import tower


@hookimpl
def register_generators(register: Register) -> None:
    """Offer `DRAGAN`."""
    register(DRAGAN)


class DRAGAN(DCGANGenerator):
    """The discriminator is held to slopes of one near real images, so that the game has fewer false ends."""

    name = "dragan"
    paper = "arXiv:1705.07215"
    version = 2
    metadata: ClassVar[dict[str, str]] = {
        "family": "gan",
        "loss": "non-saturating, local gradient penalty",
        "upsampling": WORDS["transposed"],
        "downsampling": "strided convolution 4x4",
        "normalisation": "batch",
        "nonlinearity": "tanh",
        "skips": "none",
    }
    critic_name = "discriminator"
    betas = (0.5, 0.999)
    reuses_fakes = True

    def __init__(
        self,
        width: Annotated[int, "channels at half the image's side; DCGAN's is 128", Ge(1)] = 32,
        discriminator_width: Annotated[int, "channels at half the image's side, in the discriminator", Ge(1)] = 16,
        latent: Annotated[int, "uniform values in [-1, 1] that an image is made of", Ge(1)] = 100,
        batch: Annotated[int, "images per step; the paper's is 64", Ge(1)] = 32,
        rate: Annotated[float, "Adam's learning rate, for both networks", Ge(0)] = 0.0002,
        penalty: Annotated[float, "the weight lambda of the gradient penalty", Ge(0)] = 10.0,
        variance: Annotated[float, "that of the noise around real images, c, in grey levels squared", Ge(0)] = 10.0,
        upsampling: Upsampling = "transposed",
    ) -> None:
        self.width = width
        self.discriminator_width = discriminator_width
        self.latent = latent
        self.batch = batch
        self.rate = rate
        self.penalty = penalty
        self.variance = variance
        self.upsampling = upsampling
        self.metadata = described(self.metadata, upsampling)  # type: ignore[misc]  # this one's own

    def build_critic(self, side: int) -> nn.Sequential:
        return tower(side, self.discriminator_width, 1, norm=True)

    def critic_loss(self, critic: Score, real: Tensor, fake: Tensor, rng: torch.Generator) -> Tensor:
        seen, made = critic(real).float(), critic(fake).float()
        slope = (slopes(critic, perturbed(real, self.variance, rng)) - 1).square().mean()
        return F.softplus(-seen).mean() + F.softplus(made).mean() + self.penalty * slope

    def generator_loss(self, critic: Score, real: Tensor, fake: Tensor) -> Tensor:
        return F.softplus(-critic(fake).float()).mean()


def perturbed(images: Tensor, variance: float, rng: torch.Generator) -> Tensor:
    """Return images in [-1, 1] with normal noise, its variance in 8-bit grey levels squared; not clipped."""
    return images + math.sqrt(variance) / 127.5 * torch.randn(images.shape, generator=rng).to(images)
