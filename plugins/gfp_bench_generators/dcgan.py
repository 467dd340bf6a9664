"""DCGAN, narrow: transposed convolutions, or another up-sampler, against a strided discriminator.

Source: Radford, Metz and Chintala, "Unsupervised representation learning with deep convolutional generative
adversarial networks", ICLR 2016, arXiv:1511.06434, sections 3 and 4.
Differs from the paper: a quarter of its width, batches of 32 and not 128, bfloat16 where faster; samples come from
averaged weights. Only ``transposed`` is the paper's up-sampler; the others keep its channels and its 16 weights for
each pair of them, so that two trainings may differ in the up-sampler alone.
"""

from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from annotated_types import Ge
from torch import Tensor, nn

from gfp_bench import Register, hookimpl
from gfp_bench_generators._shared.gan import GAN, Score
from gfp_bench_generators._shared.networks import SEED_SIDE, channels, tower

_UPSAMPLING = {
    "transposed": "transposed convolution 4x4",
    "nearest": "nearest, convolution 4x4",
    "bilinear": "bilinear, convolution 4x4",
    "subpixel": "sub-pixel convolution 2x2",
}


@hookimpl
def register_generators(register: Register) -> None:
    """Offer `DCGAN`."""
    register(DCGAN)


class DCGAN(GAN):
    """Two convolutional networks in the minimax game of Goodfellow et al., the generator's loss non-saturating."""

    name = "dcgan"
    paper = "arXiv:1511.06434"
    version = 1
    metadata: ClassVar[dict[str, str]] = {
        "family": "gan",
        "loss": "non-saturating",
        "upsampling": _UPSAMPLING["transposed"],
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
        upsampling: Annotated[
            Literal["transposed", "nearest", "bilinear", "subpixel"],
            "what doubles the side; the first 4 x 4 pixels are a projection in any case",
        ] = "transposed",
    ) -> None:
        self.width = width
        self.discriminator_width = discriminator_width
        self.latent = latent
        self.batch = batch
        self.rate = rate
        self.discriminator_rate = discriminator_rate
        self.upsampling = upsampling
        self.metadata = {**self.metadata, "upsampling": _UPSAMPLING[upsampling]}  # type: ignore[misc]  # this one's own

    def build(self, side: int) -> nn.Sequential:
        """Return the untrained generator: latents (n, latent) to images in [-1, 1]."""
        widths = channels(side, self.width)
        layers: list[nn.Module] = [
            nn.Unflatten(1, (self.latent, 1, 1)),
            nn.ConvTranspose2d(self.latent, widths[0], SEED_SIDE, bias=False),
        ]
        for before, after in zip(widths, [*widths[1:], 3], strict=True):
            layers += [nn.BatchNorm2d(before), nn.ReLU(), *self._doubling(before, after, bias=after == 3)]
        return nn.Sequential(*layers, nn.Tanh())

    def build_critic(self, side: int) -> nn.Sequential:
        return tower(side, self.discriminator_width, 1, norm=True)

    def critic_loss(self, critic: Score, real: Tensor, fake: Tensor, rng: torch.Generator) -> Tensor:
        verdicts = critic(real), critic(fake)  # one after the other: each batch has statistics of its own
        return F.softplus(-verdicts[0].float()).mean() + F.softplus(verdicts[1].float()).mean()

    def generator_loss(self, critic: Score, real: Tensor, fake: Tensor) -> Tensor:
        return F.softplus(-critic(fake).float()).mean()

    def _latents(self, n: int, rng: torch.Generator) -> Tensor:
        return torch.rand(n, self.latent, generator=rng) * 2 - 1

    def _rates(self) -> tuple[float, float]:
        return self.rate, self.discriminator_rate

    def _doubling(self, before: int, after: int, *, bias: bool) -> list[nn.Module]:
        """Return layers that double the side, 16 weights for each pair of channels."""
        if self.upsampling == "transposed":
            return [nn.ConvTranspose2d(before, after, 4, 2, 1, bias=bias)]
        if self.upsampling == "subpixel":
            return [nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(before, 4 * after, 2, bias=bias), nn.PixelShuffle(2)]
        enlarged = nn.Upsample(scale_factor=2, mode=self.upsampling)
        return [enlarged, nn.ZeroPad2d((1, 2, 1, 2)), nn.Conv2d(before, after, 4, bias=bias)]
