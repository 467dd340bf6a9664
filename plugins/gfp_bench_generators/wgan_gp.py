"""WGAN-GP, narrow: the Wasserstein distance for DCGAN's generator, by a critic with a gradient penalty.

Source: Gulrajani et al., "Improved training of Wasserstein GANs", NeurIPS 2017, arXiv:1704.00028, algorithm 1.
Differs from the paper: DCGAN's generator (arXiv:1511.06434), a quarter of its width, and no residual networks; batches
of 32 and not 64, bfloat16 where faster; samples come from averaged weights.
"""

from typing import Annotated, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor, nn

from gfp_bench import Register, hookimpl
from gfp_bench_generators._shared.dcgan import WORDS, DCGANGenerator, Upsampling, described
from gfp_bench_generators._shared.gan import Score, between, slopes
from gfp_bench_generators._shared.networks import tower


@hookimpl
def register_generators(register: Register) -> None:
    """Offer `WGANGP`."""
    register(WGANGP)


class WGANGP(DCGANGenerator):
    """A critic estimates the Wasserstein distance from generated to real images, and the generator lowers it."""

    name = "wgan_gp"
    paper = "arXiv:1704.00028"
    version = 2
    metadata: ClassVar[dict[str, str]] = {
        "family": "gan",
        "loss": "wasserstein, gradient penalty",
        "upsampling": WORDS["transposed"],
        "downsampling": "strided convolution 4x4",
        "normalisation": "batch",
        "nonlinearity": "tanh",
        "skips": "none",
    }
    betas = (0.0, 0.9)
    deviations = (0.02, None)

    def __init__(
        self,
        width: Annotated[int, "channels at half the image's side; DCGAN's is 128", Ge(1)] = 32,
        critic_width: Annotated[int, "channels at half the image's side, in the critic", Ge(1)] = 16,
        latent: Annotated[int, "uniform values in [-1, 1] that an image is made of", Ge(1)] = 100,
        batch: Annotated[int, "images per step; the paper's is 64", Ge(1)] = 32,
        rate: Annotated[float, "Adam's learning rate, for both networks", Ge(0)] = 0.0001,
        critic_steps: Annotated[int, "steps of the critic for each one of the generator", Ge(1)] = 5,
        penalty: Annotated[float, "the weight lambda of the gradient penalty", Ge(0)] = 10.0,
        upsampling: Upsampling = "transposed",
    ) -> None:
        self.width = width
        self.critic_width = critic_width
        self.latent = latent
        self.batch = batch
        self.rate = rate
        self.critic_steps = critic_steps
        self.penalty = penalty
        self.upsampling = upsampling
        self.metadata = described(self.metadata, upsampling)  # type: ignore[misc]  # this one's own

    def build_critic(self, side: int) -> nn.Sequential:
        return tower(side, self.critic_width, 1, norm=False)

    def critic_loss(self, critic: Score, real: Tensor, fake: Tensor, rng: torch.Generator) -> Tensor:
        distance = critic(real).mean() - critic(fake).mean()
        slope = (slopes(critic, between(real, fake, rng)) - 1).square().mean()  # eq. 3
        return self.penalty * slope - distance

    def generator_loss(self, critic: Score, real: Tensor, fake: Tensor) -> Tensor:
        return -critic(fake).mean()
