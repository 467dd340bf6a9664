"""ProGAN, narrow: a generator and a critic that grow from 4 x 4 pixels to the full side.

Source: Karras, Aila, Laine and Lehtinen, "Progressive growing of GANs for improved quality, stability, and variation",
ICLR 2018, arXiv:1710.10196, sections 2 to 4, appendix A.
Differs from the paper: 8 to 64 channels and not 256 to 512 at 64 px and below, 128 latents and not 512, Adam's rate is
0.003 and not 0.001, thousands of steps and not a hundred thousand for each resolution, equally many for 4 x 4 pixels,
bfloat16 where faster, averages begin anew at each resolution. As in the paper and not in later code, the standard
deviation is over the whole batch.
"""

from collections.abc import Callable
from functools import partial
from itertools import accumulate
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from annotated_types import Ge, Interval
from torch import Tensor, nn
from torch.optim import Optimizer

from gfp_bench import SILENT, Images, Monitor, Register, hookimpl, to_uint8
from gfp_bench_generators._shared.gan import between, slopes
from gfp_bench_generators._shared.networks import channels
from gfp_bench_generators._shared.progressive import GrowingCritic, GrowingGenerator, blended, drawn_weights
from gfp_bench_generators._shared.refusals import check_pool
from gfp_bench_generators._shared.sampling import OneNetwork, decode
from gfp_bench_generators._shared.stages import Stage, stages, train_stage
from gfp_bench_generators._shared.training import Draw, descend, mixed

_PREVIEWS = 16  # images


@hookimpl
def register_generators(register: Register) -> None:
    """Offer `ProGAN`."""
    register(ProGAN)


class ProGAN(OneNetwork):
    """A stage of training for each resolution: its blocks are faded in, then all go on together."""

    name = "progan"
    paper = "arXiv:1710.10196"
    version = 1
    metadata: ClassVar[dict[str, str]] = {
        "family": "gan",
        "loss": "wasserstein, gradient penalty, drift",
        "upsampling": "nearest, convolution 3x3",
        "downsampling": "average pooling",
        "normalisation": "pixel",
        "nonlinearity": "none",
        "skips": "none",
    }

    def __init__(
        self,
        width: Annotated[int, "channels at the full side, twice as many at half of it and so on", Ge(1)] = 8,
        most: Annotated[int, "channels at any resolution; the paper's is 512", Ge(1)] = 64,
        latent: Annotated[int, "standard normal values, brought to the hypersphere; the paper's is 512", Ge(1)] = 128,
        batch: Annotated[int, "images per step, the paper's up to 128 pixels", Ge(1)] = 16,
        rate: Annotated[float, "Adam's learning rate, for both networks; the paper's is 0.001", Ge(0)] = 0.003,
        penalty: Annotated[float, "the weight lambda of the gradient penalty", Ge(0)] = 10.0,
        drift: Annotated[float, "the weight of the squared verdicts on real images", Ge(0)] = 0.001,
        longer: Annotated[
            float,
            "steps at a resolution against those at the one before; the paper's is 1",
            Interval(ge=0.1, le=10),
        ] = 1.0,
        fade: Annotated[float, "share of a resolution's steps in which it is faded in", Interval(ge=0, le=1)] = 0.5,
    ) -> None:
        self.width = width
        self.most = most
        self.latent = latent
        self.batch = batch
        self.rate = rate
        self.penalty = penalty
        self.drift = drift
        self.longer = longer
        self.fade = fade

    def train(self, pool: Images, *, steps: int, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        """Grow to the side of a pool of at least one batch of square images, a power of two from 8 up.

        Raises:
            UsageError: If the pool does not fit.
            FloatingPointError: If the training diverges; the message names the step.
        """
        check_pool(self.name, pool, self.batch)
        self.side = pool.shape[-1]
        generator, critic = self.build(self.side), GrowingCritic(self._widths(self.side))
        for network in (generator, critic):
            drawn_weights(network, rng)
            network.to(pool.device)
        generator_optimiser, critic_optimiser = (
            torch.optim.Adam(network.parameters(), lr=self.rate, betas=(0.0, 0.99)) for network in (generator, critic)
        )

        def grow(stage: Stage) -> GrowingGenerator:
            fading = _Fading(self.fade * (stage.end - stage.start), faded=stage.number == 0)

            def update(draw: Draw) -> dict[str, float]:
                grown = stage.number, fading.advance()
                score = partial(critic, level=grown[0], alpha=grown[1])
                real = blended(draw(), *grown)
                with torch.no_grad(), mixed(real):
                    fake = generator(self._latents(self.batch, rng).to(real), *grown).float()
                with mixed(real):
                    loss = self._critic_loss(score, real, fake, rng)
                judged = descend(critic_optimiser, loss)
                with mixed(real):
                    verdicts = score(generator(self._latents(self.batch, rng).to(real), *grown))
                return {"critic": judged, "generator": descend(generator_optimiser, -verdicts.float().mean())}

            @torch.no_grad()
            def preview(copied: GrowingGenerator) -> Images:
                latents = self._latents(_PREVIEWS, torch.Generator().manual_seed(0)).to(pool.device)
                images = copied(latents, stage.number, fading.alpha.item())
                return to_uint8((F.interpolate(images, self.side) + 1) * 127.5)

            parts: dict[str, nn.Module | Optimizer] = {
                "critic": critic,
                "fading": fading,
                "generator_optimiser": generator_optimiser,
                "critic_optimiser": critic_optimiser,
            }
            return train_stage(stage, update, generator, parts, pool, batch=self.batch, rng=rng, preview=preview)

        for stage in stages(monitor, self._ends(steps)):
            self.network = grow(stage)

    def sample(self, n: int, *, rng: torch.Generator) -> Images:
        return decode(self.network, self._latents(n, rng))

    def build(self, side: int) -> GrowingGenerator:
        """Return the untrained generator: latents (n, latent) to images, real ones in [-1, 1]."""
        return GrowingGenerator(self._widths(side), self.latent)

    def _widths(self, side: int) -> list[int]:
        """Return the channels at 4 x 4, 8 x 8, ..., side."""
        widths = [2 * width for width in channels(side, self.width)]
        return [min(width, self.most) for width in [*widths, self.width]]

    def _ends(self, steps: int) -> list[int]:
        """Return the step at which each resolution's training ends."""
        totals = list(accumulate(self.longer**level for level in range(len(self._widths(self.side)))))
        return [round(steps * total / totals[-1]) for total in totals]

    def _critic_loss(
        self, score: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, rng: torch.Generator
    ) -> Tensor:
        verdicts = score(real).float()
        slope = (slopes(score, between(real, fake, rng)) - 1).square().mean()
        distance = verdicts.mean() - score(fake).float().mean()
        return self.penalty * slope - distance + self.drift * verdicts.square().mean()

    def _latents(self, n: int, rng: torch.Generator) -> Tensor:
        return torch.randn(n, self.latent, generator=rng)


class _Fading(nn.Module):
    """How far the newest resolution is faded in: a module, so that checkpoints keep it."""

    alpha: Tensor

    def __init__(self, steps: float, *, faded: bool) -> None:
        super().__init__()
        self.register_buffer("alpha", torch.tensor(float(faded), dtype=torch.float64))
        self._rise = 1 / max(1, steps)

    def advance(self) -> float:
        """Return the share of the new resolution in the next step, above 0."""
        self.alpha = (self.alpha + self._rise).clamp(max=1)
        return self.alpha.item()
