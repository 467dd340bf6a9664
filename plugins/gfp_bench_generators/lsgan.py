"""LSGAN, narrow: least-squares losses, and transposed convolutions of the odd size 3 against a strided discriminator.

Source: Mao et al., "Least squares generative adversarial networks", ICCV 2017, arXiv:1611.04076, eq. 9 and figure 2.
Differs from the paper: one transposed convolution a resolution and not two, a quarter of its width, 100 latents and
not 1024, batches of 32 and not 64, bfloat16 where faster, the discriminator's kernels 4 x 4 and not 5 x 5 and without
batch norms (with them, at a rate of 0.0002, it won for good on our pool: its loss fell to 0.006 and samples stayed one
texture); samples come from averaged weights.
"""

from itertools import pairwise
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor, nn

from gfp_bench import Register, hookimpl
from gfp_bench_generators._shared.gan import GAN, Score, judged
from gfp_bench_generators._shared.networks import channels, projection, tower


@hookimpl
def register_generators(register: Register) -> None:
    """Offer `LSGAN`."""
    register(LSGAN)


class LSGAN(GAN):
    """The discriminator's values are drawn to 1 for real and 0 for generated images, the generator draws them to 1."""

    name = "lsgan"
    paper = "arXiv:1611.04076"
    version = 1
    metadata: ClassVar[dict[str, str]] = {
        "family": "gan",
        "loss": "least squares",
        "upsampling": "transposed convolution 3x3",
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
        width: Annotated[int, "channels at the image's side; the paper's is 64 or more", Ge(1)] = 16,
        discriminator_width: Annotated[int, "channels at half the image's side, in the discriminator", Ge(1)] = 16,
        latent: Annotated[int, "standard normal values that an image is made of; the paper's is 1024", Ge(1)] = 100,
        batch: Annotated[int, "images per step; the paper's is 64", Ge(1)] = 32,
        rate: Annotated[float, "Adam's learning rate, for both networks", Ge(0)] = 0.0002,
    ) -> None:
        self.width = width
        self.discriminator_width = discriminator_width
        self.latent = latent
        self.batch = batch
        self.rate = rate

    def build(self, side: int) -> nn.Sequential:
        widths = [*channels(side, 2 * self.width), self.width]
        layers = projection(self.latent, widths[0])
        for before, after in pairwise(widths):
            enlarge = nn.ConvTranspose2d(before, after, 3, stride=2, padding=1, output_padding=1, bias=False)
            layers += [nn.BatchNorm2d(before), nn.ReLU(), enlarge]
        layers += [nn.BatchNorm2d(widths[-1]), nn.ReLU(), nn.Conv2d(widths[-1], 3, 3, padding=1)]
        return nn.Sequential(*layers, nn.Tanh())

    def build_critic(self, side: int) -> nn.Sequential:
        return tower(side, self.discriminator_width, 1, norm=False)

    def critic_loss(self, critic: Score, real: Tensor, fake: Tensor, rng: torch.Generator) -> Tensor:
        seen, made = judged(critic, real, fake)
        return ((seen - 1).square().mean() + made.square().mean()) / 2

    def generator_loss(self, critic: Score, real: Tensor, fake: Tensor) -> Tensor:
        return (critic(fake).float() - 1).square().mean() / 2
