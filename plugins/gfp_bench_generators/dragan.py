"""DRAGAN, narrow: the minimax game with a gradient penalty around real images, up-sampling by sub-pixel convolutions.

Source: Kodali et al., "On convergence and stability of GANs", 2017, arXiv:1705.07215, section 2.3: the penalty
lambda E[(|grad D(x + d)| - k)^2] with d from N(0, c I), lambda = c = 10 and k = 1.
Differs from the paper: sub-pixel convolutions and not DCGAN's transposed ones, a fifth of DCGAN's width, batches of 32
and not 64, bfloat16 where faster; samples come from averaged weights. Readings of ours: c is in 8-bit grey levels
squared, D is taken before its sigmoid.
"""

import math
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from annotated_types import Ge
from torch import Tensor, nn

from gfp_bench import Register, hookimpl
from gfp_bench_generators._shared.gan import GAN, Score, slopes
from gfp_bench_generators._shared.networks import channels, projection, tower


@hookimpl
def register_generators(register: Register) -> None:
    """Offer `DRAGAN`."""
    register(DRAGAN)


class DRAGAN(GAN):
    """The discriminator is held to slopes of one near real images, so that the game has fewer false ends."""

    name = "dragan"
    paper = "arXiv:1705.07215"
    version = 1
    metadata: ClassVar[dict[str, str]] = {
        "family": "gan",
        "loss": "non-saturating, local gradient penalty",
        "upsampling": "sub-pixel convolution 3x3",
        "downsampling": "strided convolution 4x4",
        "normalisation": "batch",
        "nonlinearity": "tanh",
        "skips": "none",
    }
    critic_name = "discriminator"
    betas = (0.5, 0.999)
    deviations = (0.02, 0.02)
    reuses_fakes = True

    def __init__(
        self,
        width: Annotated[int, "channels at half the image's side", Ge(1)] = 24,
        discriminator_width: Annotated[int, "channels at half the image's side, in the discriminator", Ge(1)] = 16,
        latent: Annotated[int, "standard normal values that an image is made of", Ge(1)] = 100,
        batch: Annotated[int, "images per step; the paper's is 64", Ge(1)] = 32,
        rate: Annotated[float, "Adam's learning rate, for both networks", Ge(0)] = 0.0002,
        penalty: Annotated[float, "the weight lambda of the gradient penalty", Ge(0)] = 10.0,
        variance: Annotated[float, "that of the noise around real images, c, in grey levels squared", Ge(0)] = 10.0,
    ) -> None:
        self.width = width
        self.discriminator_width = discriminator_width
        self.latent = latent
        self.batch = batch
        self.rate = rate
        self.penalty = penalty
        self.variance = variance

    def build(self, side: int) -> nn.Sequential:
        widths = channels(side, self.width)
        layers = projection(self.latent, widths[0])
        for before, after in zip(widths, [*widths[1:], 3], strict=True):
            doubling = [nn.Conv2d(before, 4 * after, 3, padding=1), nn.PixelShuffle(2)]
            layers += [nn.BatchNorm2d(before), nn.ReLU(), *doubling]
        return nn.Sequential(*layers, nn.Tanh())

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
