"""What the generators' networks share: channels a resolution, the down-sampling tower, initial weights.

Images are square, their side a power of two from 8 up; the networks' inner end is 4 x 4.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from gfp_bench import UsageError

SEED_SIDE = 4


def channels(side: int, width: int) -> list[int]:
    """Return the channels at 4 x 4, 8 x 8, ..., side / 2: ``width`` at the last, twice as many at each one before.

    Raises:
        UsageError: If ``side`` is no power of two from 8 up.
    """
    doublings = side.bit_length() - 1
    if side < 2 * SEED_SIDE or side != 1 << doublings:
        raise UsageError(f"images for the zoo have side {side}, expected a power of two from 8 up; crop them")
    return [width << step for step in reversed(range(doublings - 2))]


def tower(side: int, width: int, outputs: int, *, norm: bool) -> nn.Sequential:
    """Return DCGAN's discriminator, images to (n, outputs): strided 4 x 4 convolutions and leaky ReLUs."""
    widths = channels(side, width)[::-1]
    layers: list[nn.Module] = []
    for before, after in zip([3, *widths], widths, strict=False):
        normed = norm and before != 3  # DCGAN, section 3: none at the discriminator's input
        layers.append(nn.Conv2d(before, after, 4, stride=2, padding=1, bias=not normed))
        layers += [nn.BatchNorm2d(after)] if normed else []
        layers.append(nn.LeakyReLU(0.2))
    return nn.Sequential(*layers, nn.Conv2d(widths[-1], outputs, SEED_SIDE), nn.Flatten())


def projection(latent: int, width: int) -> list[nn.Module]:
    """Return layers from latents (n, latent) to (n, width, 4, 4), for a batch norm to follow."""
    return [nn.Linear(latent, width * SEED_SIDE**2, bias=False), nn.Unflatten(1, (width, SEED_SIDE, SEED_SIDE))]


def enlarging(side: int, width: int, latent: int, enlarge: Callable[[], nn.Module]) -> nn.Sequential:
    """Return a generator, latents (n, latent) to images in [-1, 1]: batch norms, ReLUs, ``enlarge``, 3 x 3 kernels."""
    widths = channels(side, width)
    layers = projection(latent, widths[0])
    for before, after in zip(widths, [*widths[1:], 3], strict=True):
        layers += [nn.BatchNorm2d(before), nn.ReLU(), enlarge(), nn.Conv2d(before, after, 3, padding=1)]
    return nn.Sequential(*layers, nn.Tanh())


class Residual(nn.Module):
    """The sum of two ways through: a body and a shortcut."""

    def __init__(self, body: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.body, self.shortcut = body, shortcut

    def forward(self, images: Tensor) -> Tensor:
        total: Tensor = self.body(images) + self.shortcut(images)
        return total


def fresh(network: nn.Sequential, rng: torch.Generator, deviation: float | None = None) -> nn.Sequential:
    """Return ``network`` with weights drawn from ``rng``, N(0, deviation) or as He et al. (arXiv:1502.01852)."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            if deviation is None:
                nn.init.kaiming_normal_(layer.weight, generator=rng)
            else:
                nn.init.normal_(layer.weight, 0.0, deviation, generator=rng)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return channels_last(network)


def channels_last(network: nn.Sequential) -> nn.Sequential:
    """Return ``network`` with weights laid out as convolutions are fastest on a CPU; sums then round as in training."""
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks this form
    return network
