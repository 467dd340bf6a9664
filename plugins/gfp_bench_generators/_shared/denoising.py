"""What the score-based generators share: a training, networks on folded images, noise to images in parts.

A plugin brings its network, its loss, its way from noise to images and its settings; the rest is here once.
"""

from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gfp_bench import SILENT, Images, Monitor, UsageError, to_uint8
from gfp_bench_generators._shared.libraries import drawn
from gfp_bench_generators._shared.refusals import check_pool
from gfp_bench_generators._shared.sampling import OneNetwork
from gfp_bench_generators._shared.training import Draw, descend, train

Estimate: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""Takes noisy images (n, 3, h, w) and their times or noise levels (n,); returns something of the images' shape."""

Loss: TypeAlias = Callable[[Tensor], Tensor]
"""Takes real images (n, 3, h, w), in [-1, 1]; returns what a network lowers."""

LEVELS = 3  # resolutions of a network, each half the one before

_BATCH = 32  # images at a time; larger ones leave the processor's cache
_PREVIEWS, _PREVIEW_STEPS = 16, 10  # images, and steps at most that they take


class Folded(nn.Module):
    """A network of diffusers that sees each square of ``fold`` x ``fold`` pixels as the channels of one."""

    def __init__(self, network: nn.Module, fold: int) -> None:
        super().__init__()
        self.network, self.fold = network.to(memory_format=torch.channels_last), fold  # type: ignore[call-overload]

    def forward(self, images: Tensor, times: Tensor) -> Tensor:
        """Return (n, 3, h, w) of as many images at times (n,)."""
        folded = F.pixel_unshuffle(images, self.fold).contiguous(memory_format=torch.channels_last)
        return F.pixel_shuffle(self.network(folded, times).sample, self.fold)


class ScoreBased(OneNetwork):
    """A network that learns what noise does to images; samples are walked out of noise alone.

    Attributes:
        batch: Images a step.
        rate: Adam's.
        steps: Of a walk.
    """

    batch: int
    rate: float
    steps: int

    @abstractmethod
    def build(self, side: int) -> Folded:
        """Return the untrained network: noisy images and their times or noise levels to what it tells of them."""

    @abstractmethod
    def _loss(self, network: Folded, rng: torch.Generator) -> Loss:
        """Return what a network lowers, on noise from ``rng``."""

    @abstractmethod
    def _draw(self, network: nn.Module, n: int, rng: torch.Generator, steps: int) -> Images:
        """Return n images that a network makes in some steps."""

    def train(self, pool: Images, *, steps: int, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        """Learn from a pool of at least one batch of square images.

        Raises:
            UsageError: If a setting or the pool does not fit.
            FloatingPointError: If the training diverges.
        """
        check_pool(self.name, pool, self.batch)
        self.side = pool.shape[-1]
        network = drawn(partial(self.build, self.side), rng).to(pool.device)
        learnt = [weight for weight in network.parameters() if weight.requires_grad]  # not an embedding's frequencies
        optimiser = torch.optim.Adam(learnt, lr=self.rate)
        loss = self._loss(network, rng)

        def update(draw: Draw) -> dict[str, float]:
            return {"error": descend(optimiser, loss(draw()))}

        def preview(averaged: Folded) -> Images:
            return self._draw(averaged, _PREVIEWS, torch.Generator().manual_seed(0), min(self.steps, _PREVIEW_STEPS))

        self.network = train(
            update,
            network,
            {"optimiser": optimiser},
            pool,
            steps=steps,
            batch=self.batch,
            rng=rng,
            monitor=monitor,
            preview=preview,
        ).eval()

    def sample(self, n: int, *, rng: torch.Generator) -> Images:
        return self._draw(self.network, n, rng, self.steps)


def geometry(side: int, width: int, fold: int) -> dict[str, Any]:  # keywords of UNet2DModel
    """Return what diffusers wants to know of sizes: ``width`` channels at the finest level, then 1.5 and 2 times that.

    Raises:
        UsageError: If the side does not halve often enough.
    """
    whole = fold << (LEVELS - 1)
    if side < whole or side % whole:
        raise UsageError(f"images for this network have side {side}, expected a multiple of {whole}; crop them")
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
