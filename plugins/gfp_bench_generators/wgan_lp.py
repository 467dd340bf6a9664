"""WGAN-LP, narrow: the Wasserstein distance for DCGAN's generator, by a critic whose slopes may not exceed one.

Source: Petzka, Fischer and Lukovnikov, "On the regularization of Wasserstein GANs", ICLR 2018, arXiv:1709.08894, the
one-sided penalty lambda E[max(0, |grad f(x)| - 1)^2], at the points where WGAN-GP has its own.
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
    """Offer `WGANLP`."""
    register(WGANLP)


class WGANLP(DCGANGenerator):
    """As WGAN-GP, but slopes below one are free: the Lipschitz condition asks for no more."""

    name = "wgan_lp"
    paper = "arXiv:1709.08894"
    version = 1
    metadata: ClassVar[dict[str, str]] = {
        "family": "gan",
        "loss": "wasserstein, one-sided gradient penalty",
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
        slope = (slopes(critic, between(real, fake, rng)) - 1).relu().square().mean()
        return self.penalty * slope - distance

    def generator_loss(self, critic: Score, real: Tensor, fake: Tensor) -> Tensor:
        return -critic(fake).mean()
