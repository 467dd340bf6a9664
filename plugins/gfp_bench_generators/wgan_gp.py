"""WGAN-GP, narrow: nearest-neighbour up-sampling and convolutions against a critic with a gradient penalty.

Source: Gulrajani et al., "Improved training of Wasserstein GANs", NeurIPS 2017, arXiv:1704.00028, algorithm 1.
Differs from the paper: plain convolutional networks and no residual ones, batches of 32 and not 64, bfloat16
where faster; samples come from averaged weights.
"""

from typing import Annotated, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor, nn

from gfp_bench import Register, hookimpl
from gfp_bench_generators._shared.gan import GAN, Score, between, slopes
from gfp_bench_generators._shared.networks import enlarging, tower


@hookimpl
def register_generators(register: Register) -> None:
    """Offer `WGANGP`."""
    register(WGANGP)


class WGANGP(GAN):
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
    betas = (0.0, 0.9)

    def __init__(
        self,
        width: Annotated[int, "channels at half the image's side", Ge(1)] = 24,
        latent: Annotated[int, "standard normal values that an image is made of", Ge(1)] = 128,
        batch: Annotated[int, "images per step; the paper's is 64", Ge(1)] = 32,
        rate: Annotated[float, "Adam's learning rate, for both networks", Ge(0)] = 0.0001,
        critic_steps: Annotated[int, "steps of the critic for each one of the generator", Ge(1)] = 5,
        penalty: Annotated[float, "the weight lambda of the gradient penalty", Ge(0)] = 10.0,
    ) -> None:
        self.width = width
        self.latent = latent
        self.batch = batch
        self.rate = rate
        self.critic_steps = critic_steps
        self.penalty = penalty

    def build(self, side: int) -> nn.Sequential:
        return enlarging(side, self.width, self.latent, lambda: nn.Upsample(scale_factor=2))

    def build_critic(self, side: int) -> nn.Sequential:
        return tower(side, self.width, 1, norm=False)

    def critic_loss(self, critic: Score, real: Tensor, fake: Tensor, rng: torch.Generator) -> Tensor:
        distance = critic(real).mean() - critic(fake).mean()
        slope = (slopes(critic, between(real, fake, rng)) - 1).square().mean()  # eq. 3
        return self.penalty * slope - distance

    def generator_loss(self, critic: Score, real: Tensor, fake: Tensor) -> Tensor:
        return -critic(fake).mean()
