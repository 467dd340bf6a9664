"""The networks of progressive growing: one block a resolution, their weights scaled in every pass.

Source: Karras et al., arXiv:1710.10196, sections 2 to 4 and table 2. Level k has side 4 * 2 ** k; a network that has
grown to level k with share ``alpha`` mixes its output of level k with that of the level below.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gfp_bench_generators._shared.networks import SEED_SIDE

_LEAK = 0.2


class Conv(nn.Module):
    """A convolution of N(0, 1) weights that every pass scales by He's constant (section 4.1)."""

    def __init__(self, before: int, after: int, side: int, *, padding: int = 0, gain: float = 2**0.5) -> None:
        super().__init__()
        weight = torch.zeros(after, before, side, side)
        self.weight = nn.Parameter(weight.contiguous(memory_format=torch.channels_last))
        self.bias = nn.Parameter(torch.zeros(after))
        self.padding = padding
        self.scale = gain / (before * side**2) ** 0.5

    def forward(self, maps: Tensor) -> Tensor:
        return F.conv2d(maps, self.weight * self.scale, self.bias, padding=self.padding)


def _precise(maps: Tensor) -> Tensor:
    """Return maps in float32 or a finer type, which squares and variances need."""
    return maps.to(torch.promote_types(maps.dtype, torch.float32))


class PixelNorm(nn.Module):
    """Divides the vector of channels at every pixel by its root mean square (section 4.2)."""

    def forward(self, maps: Tensor) -> Tensor:
        return maps * torch.rsqrt(_precise(maps).square().mean(dim=1, keepdim=True) + 1e-8).to(maps)


class BatchDeviation(nn.Module):
    """Adds a channel of one value, the standard deviation over the batch averaged over all else (section 3)."""

    def forward(self, maps: Tensor) -> Tensor:
        deviations = (_precise(maps).var(dim=0, correction=0) + 1e-8).sqrt()  # without the summand 0 has no slope
        return torch.cat([maps, deviations.mean().to(maps).expand(len(maps), 1, *maps.shape[2:])], dim=1)


class GrowingGenerator(nn.Module):
    """Latents (n, latent) to images, their values not bounded."""

    def __init__(self, widths: list[int], latent: int) -> None:
        super().__init__()
        seed = [
            PixelNorm(),
            nn.Unflatten(1, (latent, 1, 1)),
            Conv(latent, widths[0] * SEED_SIDE**2, 1),
            nn.PixelShuffle(SEED_SIDE),
            *_normed(),
        ]
        self.blocks = nn.ModuleList([nn.Sequential(*seed, Conv(widths[0], widths[0], 3, padding=1), *_normed())])
        for before, after in pairwise(widths):
            first, second = Conv(before, after, 3, padding=1), Conv(after, after, 3, padding=1)
            self.blocks.append(nn.Sequential(nn.Upsample(scale_factor=2), first, *_normed(), second, *_normed()))
        self.heads = nn.ModuleList([Conv(width, 3, 1, gain=1.0) for width in widths])

    def forward(self, latents: Tensor, level: int | None = None, alpha: float = 1.0) -> Tensor:
        """Return (n, 3, s, s) of side 4 * 2 ** level, of the last level by default."""
        level = len(self.blocks) - 1 if level is None else level
        maps = below = self.blocks[0](latents)
        for block in self.blocks[1 : level + 1]:
            below, maps = maps, block(maps)
        images: Tensor = self.heads[level](maps)
        if level and alpha < 1:
            images = torch.lerp(_doubled(self.heads[level - 1](below)), images, alpha)
        return images


class GrowingCritic(nn.Module):
    """The generator's mirror image: images to (n, 1)."""

    def __init__(self, widths: list[int]) -> None:
        super().__init__()
        last = widths[0]
        end = [BatchDeviation(), Conv(last + 1, last, 3, padding=1), nn.LeakyReLU(_LEAK)]
        end += [Conv(last, last, SEED_SIDE), nn.LeakyReLU(_LEAK), Conv(last, 1, 1, gain=1.0), nn.Flatten()]
        self.blocks = nn.ModuleList([nn.Sequential(*end)])
        for after, before in pairwise(widths):
            layers = [Conv(before, before, 3, padding=1), nn.LeakyReLU(_LEAK)]
            layers += [Conv(before, after, 3, padding=1), nn.LeakyReLU(_LEAK), nn.AvgPool2d(2)]
            self.blocks.append(nn.Sequential(*layers))
        self.heads = nn.ModuleList([nn.Sequential(Conv(3, width, 1), nn.LeakyReLU(_LEAK)) for width in widths])

    def forward(self, images: Tensor, level: int | None = None, alpha: float = 1.0) -> Tensor:
        """Return (n, 1) verdicts on images of side 4 * 2 ** level, of the last level by default."""
        level = len(self.blocks) - 1 if level is None else level
        maps = self.heads[level](images)
        for current in range(level, 0, -1):
            maps = self.blocks[current](maps)
            if current == level and alpha < 1:
                maps = torch.lerp(self.heads[level - 1](F.avg_pool2d(images, 2)), maps, alpha)
        verdicts: Tensor = self.blocks[0](maps)
        return verdicts


def blended(images: Tensor, level: int, alpha: float) -> Tensor:
    """Return real images as a network grown to ``level`` by ``alpha`` should see them."""
    small = F.avg_pool2d(images, images.shape[-1] // (SEED_SIDE << level))
    return torch.lerp(_doubled(F.avg_pool2d(small, 2)), small, alpha) if level and alpha < 1 else small


@torch.no_grad()
def drawn_weights(network: nn.Module, rng: torch.Generator) -> None:
    """Draw the weights of a network's equalised convolutions from N(0, 1)."""
    for layer in network.modules():
        if isinstance(layer, Conv):
            layer.weight.copy_(torch.randn(layer.weight.shape, generator=rng))


def _normed() -> list[nn.Module]:
    return [nn.LeakyReLU(_LEAK), PixelNorm()]


def _doubled(images: Tensor) -> Tensor:
    return F.interpolate(images, scale_factor=2)
