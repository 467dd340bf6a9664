"""What the score-based generators share: networks on folded images, noise to images in parts that fit into memory."""

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gfp_bench import Images, UsageError, to_uint8

Estimate: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""Takes noisy images (n, 3, h, w) and their times or noise levels (n,); returns something of the images' shape."""

LEVELS = 3  # resolutions of a network, each half the one before

_BATCH = 32  # images at a time; larger ones leave the processor's cache


class Folded(nn.Module):
    """A network of diffusers that sees each square of ``fold`` x ``fold`` pixels as the channels of one."""

    def __init__(self, network: nn.Module, fold: int) -> None:
        super().__init__()
        self.network, self.fold = network.to(memory_format=torch.channels_last), fold  # type: ignore[call-overload]

    def forward(self, images: Tensor, times: Tensor) -> Tensor:
        """Return (n, 3, h, w) of as many images at times (n,)."""
        folded = F.pixel_unshuffle(images, self.fold).contiguous(memory_format=torch.channels_last)
        return F.pixel_shuffle(self.network(folded, times).sample, self.fold)


def geometry(side: int, width: int, fold: int, *, multiple: int) -> dict[str, Any]:  # keywords of UNet2DModel
    """Return what diffusers wants to know of sizes: ``width`` channels at the finest level, then 1.5 and 2 times that.

    Raises:
        UsageError: If the side does not halve often enough, or the width is no multiple of ``multiple``.
    """
    if fold < 1:
        raise UsageError(f"setting 'fold' got {fold}, expected at least 1")
    whole = fold << (LEVELS - 1)
    if side < whole or side % whole:
        raise UsageError(f"images for this network have side {side}, expected a multiple of {whole}; crop them")
    if width < multiple or width % multiple:
        raise UsageError(f"setting 'width' got {width}, expected a multiple of {multiple}")
    return {
        "sample_size": side // fold,
        "in_channels": 3 * fold**2,
        "out_channels": 3 * fold**2,
        "block_out_channels": (width, width * 3 // 2, width * 2),
        "layers_per_block": 1,
    }


@torch.no_grad()
def walked(walk: Callable[[Tensor], Tensor], n: int, network: nn.Module, side: int, rng: torch.Generator) -> Images:
    """Return n images, made by ``walk`` out of standard normal noise (m, 3, side, side), in [-1, 1]."""
    device = next(network.parameters()).device
    parts = []
    for start in range(0, n, _BATCH):
        noise = torch.randn(min(_BATCH, n - start), 3, side, side, generator=rng)
        parts.append(to_uint8((walk(noise.to(device)) + 1) * 127.5))
    return torch.cat(parts)
