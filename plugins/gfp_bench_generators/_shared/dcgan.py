"""DCGAN's generator, which several GANs share so that they differ in their loss, and other ways to double a side.

Source: Radford, Metz and Chintala, ICLR 2016, arXiv:1511.06434, sections 3 and 4: latents are uniform in [-1, 1],
weights start as N(0, 0.02). Only ``transposed`` is the paper's up-sampler; the others keep its channels. Those with
4 x 4 and 2 x 2 kernels also keep its 16 weights for each pair of channels, so that two trainings may differ in the
up-sampler alone.
"""

from typing import Annotated, ClassVar, Literal, TypeAlias

import torch
from torch import Tensor, nn

from gfp_bench_generators._shared.gan import GAN
from gfp_bench_generators._shared.networks import SEED_SIDE, channels

Upsampling: TypeAlias = Annotated[
    Literal["transposed", "transposed3", "nearest", "nearest3", "bilinear", "subpixel", "subpixel3"],
    "what doubles the side, by a 3 x 3 kernel where the name says so; the first 4 x 4 pixels are a projection",
]

WORDS = {
    "transposed": "transposed convolution 4x4",
    "transposed3": "transposed convolution 3x3",
    "nearest": "nearest, convolution 4x4",
    "nearest3": "nearest, convolution 3x3",
    "bilinear": "bilinear, convolution 4x4",
    "subpixel": "sub-pixel convolution 2x2",
    "subpixel3": "sub-pixel convolution 3x3",
}
"""What metadata call each up-sampler."""


class DCGANGenerator(GAN):
    """A GAN with DCGAN's generator; critic and losses are a subclass's.

    Attributes:
        width: Channels at half the image's side.
        upsampling: What doubles the side.
    """

    deviations: ClassVar[tuple[float | None, float | None]] = (0.02, 0.02)
    width: int
    upsampling: str

    def build(self, side: int) -> nn.Sequential:
        """Return the untrained generator: latents (n, latent) to images in [-1, 1]."""
        widths = channels(side, self.width)
        layers: list[nn.Module] = [
            nn.Unflatten(1, (self.latent, 1, 1)),
            nn.ConvTranspose2d(self.latent, widths[0], SEED_SIDE, bias=False),
        ]
        for before, after in zip(widths, [*widths[1:], 3], strict=True):
            layers += [nn.BatchNorm2d(before), nn.ReLU(), *doubling(self.upsampling, before, after)]
        return nn.Sequential(*layers, nn.Tanh())

    def _latents(self, n: int, rng: torch.Generator) -> Tensor:
        return torch.rand(n, self.latent, generator=rng) * 2 - 1


def doubling(upsampling: str, before: int, after: int) -> list[nn.Module]:
    """Return layers that double the side of (n, before, s, s); only those that end in images have a bias."""
    bias = after == 3
    match upsampling:
        case "transposed":
            return [nn.ConvTranspose2d(before, after, 4, 2, 1, bias=bias)]
        case "transposed3":
            return [nn.ConvTranspose2d(before, after, 3, 2, 1, output_padding=1, bias=bias)]
        case "subpixel":
            return [nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(before, 4 * after, 2, bias=bias), nn.PixelShuffle(2)]
        case "subpixel3":
            return [nn.Conv2d(before, 4 * after, 3, padding=1, bias=bias), nn.PixelShuffle(2)]
        case "nearest3":
            return [nn.Upsample(scale_factor=2), nn.Conv2d(before, after, 3, padding=1, bias=bias)]
    enlarged = nn.Upsample(scale_factor=2, mode=upsampling)
    return [enlarged, nn.ZeroPad2d((1, 2, 1, 2)), nn.Conv2d(before, after, 4, bias=bias)]


def described(metadata: dict[str, str], upsampling: str) -> dict[str, str]:
    """Return a plugin's metadata with the words for its up-sampler."""
    return {**metadata, "upsampling": WORDS[upsampling]}
