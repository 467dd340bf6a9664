"""DCGAN, narrow: transposed convolutions, or another up-sampler, against a strided discriminator.

Source: Radford, Metz and Chintala, "Unsupervised representation learning with deep convolutional generative
adversarial networks", ICLR 2016, arXiv:1511.06434, sections 3 and 4.
Differs from the paper: a quarter of its width, batches of 32 and not 128, bfloat16 where faster; samples come from
averaged weights.
"""

from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from annotated_types import Ge
from torch import Tensor, nn

from gfp_bench import Register, hookimpl
from gfp_bench_generators._shared.dcgan import WORDS, DCGANGenerator, Upsampling, described
from gfp_bench_generators._shared.gan import Score
from gfp_bench_generators._shared.networks import tower


@hookimpl
def register_generators(register: Register) -> None:
    """Offer `DCGAN`."""
    register(DCGAN)


class DCGAN(DCGANGenerator):
    """Two convolutional networks in the minimax game of Goodfellow et al., the generator's loss non-saturating."""

    name = "dcgan"
    paper = "arXiv:1511.06434"
    version = 1
    metadata: ClassVar[dict[str, str]] = {
        "family": "gan",
        "loss": "non-saturating",
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
        width: Annotated[int, "channels at half the image's side; the paper's is 128", Ge(1)] = 32,
        discriminator_width: Annotated[
            int,
            "channels at half the image's side, in the discriminator; the paper's is 128",
            Ge(1),
        ] = 16,
        latent: Annotated[int, "uniform values in [-1, 1] that an image is made of", Ge(1)] = 100,
        batch: Annotated[int, "images per step; the paper's is 128", Ge(1)] = 32,
        rate: Annotated[float, "Adam's learning rate for the generator", Ge(0)] = 0.0002,
        discriminator_rate: Annotated[float, "Adam's learning rate for the discriminator", Ge(0)] = 0.0002,
        upsampling: Upsampling = "transposed",
    ) -> None:
        self.width = width
        self.discriminator_width = discriminator_width
        self.latent = latent
        self.batch = batch
        self.rate = rate
        self.discriminator_rate = discriminator_rate
        self.upsampling = upsampling
        self.metadata = described(self.metadata, upsampling)  # type: ignore[misc]  # this one's own

    def build_critic(self, side: int) -> nn.Sequential:
        return tower(side, self.discriminator_width, 1, norm=True)

    def critic_loss(self, critic: Score, real: Tensor, fake: Tensor, rng: torch.Generator) -> Tensor:
        verdicts = critic(real), critic(fake)  # one after the other: each batch has statistics of its own
        return F.softplus(-verdicts[0].float()).mean() + F.softplus(verdicts[1].float()).mean()

    def generator_loss(self, critic: Score, real: Tensor, fake: Tensor) -> Tensor:
        return F.softplus(-critic(fake).float()).mean()

    def _rates(self) -> tuple[float, float]:
        return self.rate, self.discriminator_rate
