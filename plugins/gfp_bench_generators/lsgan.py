"""LSGAN, narrow: least-squares losses for DCGAN's generator, against a strided discriminator.

Source: Mao et al., "Least squares generative adversarial networks", ICCV 2017, arXiv:1611.04076, eq. 9.
Differs from the paper: DCGAN's generator (arXiv:1511.06434), a quarter of its width, and not the paper's; batches of 32
and not 64, bfloat16 where faster, the discriminator's kernels 4 x 4 and not 5 x 5 and without batch norms (with them it
won for good at a rate of 0.0002: its loss fell to 0.006 and samples stayed one texture); samples come from averaged
weights.
"""

from typing import Annotated, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor, nn

from gfp_bench import Register, hookimpl
from gfp_bench_generators._shared.dcgan import WORDS, DCGANGenerator, Upsampling, described
from gfp_bench_generators._shared.gan import Score, judged
from gfp_bench_generators._shared.networks import tower


@hookimpl
def register_generators(register: Register) -> None:
    """Offer `LSGAN`."""
    register(LSGAN)


class LSGAN(DCGANGenerator):
    """The discriminator's values are drawn to 1 for real and 0 for generated images, the generator draws them to 1."""

    name = "lsgan"
    paper = "arXiv:1611.04076"
    version = 2
    metadata: ClassVar[dict[str, str]] = {
        "family": "gan",
        "loss": "least squares",
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
        upsampling: Upsampling = "transposed",
    ) -> None:
        self.width = width
        self.discriminator_width = discriminator_width
        self.latent = latent
        self.batch = batch
        self.rate = rate
        self.upsampling = upsampling
        self.metadata = described(self.metadata, upsampling)  # type: ignore[misc]  # this one's own

    def build_critic(self, side: int) -> nn.Sequential:
        return tower(side, self.discriminator_width, 1, norm=False)

    def critic_loss(self, critic: Score, real: Tensor, fake: Tensor, rng: torch.Generator) -> Tensor:
        seen, made = judged(critic, real, fake)
        return ((seen - 1).square().mean() + made.square().mean()) / 2

    def generator_loss(self, critic: Score, real: Tensor, fake: Tensor) -> Tensor:
        return (critic(fake).float() - 1).square().mean() / 2
