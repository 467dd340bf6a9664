"""Glow, small: an invertible network from images to noise, trained on the exact likelihood.

Source: Kingma and Dhariwal, "Glow: generative flow with invertible 1x1 convolutions", NeurIPS 2018, arXiv:1807.03039,
sections 2 and 3; blocks and levels of the library normflows (Stimper et al., JOSS 2023).
Differs from the paper: an eighth of its width and a quarter of its depth, no activation normalisation inside the
couplings' networks; the rate has no warm-up; samples come from averaged weights. Pixels have all 8 bits and uniform
noise below them (Theis et al., arXiv:1511.01844, section 3.1).
"""

import math
from functools import partial
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor, nn

from gfp_bench import SILENT, Images, Monitor, Register, hookimpl
from gfp_bench_generators._shared.libraries import drawn, library
from gfp_bench_generators._shared.networks import SEED_SIDE, channels
from gfp_bench_generators._shared.refusals import check_pool
from gfp_bench_generators._shared.sampling import OneNetwork, decode
from gfp_bench_generators._shared.training import Draw, descend, to_unit, train

_BATCH = 256  # latents drawn at a time


@hookimpl
def register_generators(register: Register) -> None:
    """Offer `Glow`."""
    register(Glow)


class Glow(OneNetwork):
    """A chain of invertible steps at several scales; half of the values leave it at each scale."""

    name = "glow"
    paper = "arXiv:1807.03039"
    version = 1
    truncation: float = 1.0
    metadata: ClassVar[dict[str, str]] = {
        "family": "flow",
        "loss": "likelihood",
        "upsampling": "unsqueeze",
        "downsampling": "squeeze",
        "normalisation": "activation",
        "nonlinearity": "none",
        "skips": "none",
    }

    def __init__(
        self,
        width: Annotated[int, "channels inside the couplings' networks; the paper's is 512", Ge(1)] = 64,
        depth: Annotated[int, "steps of flow per level; the paper's is 32", Ge(1)] = 8,
        batch: Annotated[int, "images per step", Ge(1)] = 32,
        rate: Annotated[float, "Adam's learning rate", Ge(0)] = 0.001,
        temperature: Annotated[
            float,
            "standard deviation of the latents of samples; the paper's choice for faces",
            Ge(0),
        ] = 0.7,
    ) -> None:
        self.width = width
        self.depth = depth
        self.batch = batch
        self.rate = rate
        self.temperature = temperature

    def train(self, pool: Images, *, steps: int, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        check_pool(self.name, pool, self.batch)
        self.side = pool.shape[-1]
        flow = drawn(partial(self.build, self.side), rng).to(pool.device)
        first = pool[torch.randint(len(pool), (self.batch,), generator=rng)]
        with torch.no_grad():
            flow.bits(to_unit(first), torch.rand(first.shape, generator=rng))  # section 3.1: sets the normalisations
        optimiser = torch.optim.Adam(flow.parameters(), lr=self.rate)

        def update(draw: Draw) -> dict[str, float]:
            real = draw()
            bits = flow.bits(real, torch.rand(real.shape, generator=rng)).mean()
            return {"bits": descend(optimiser, bits)}

        def preview(averaged: Flow) -> Images:
            return self._draw(averaged, 16, torch.Generator().manual_seed(0), self.temperature)

        self.network = train(
            update,
            flow,
            {"optimiser": optimiser},
            pool,
            steps=steps,
            batch=self.batch,
            rng=rng,
            monitor=monitor,
            preview=preview,
        ).eval()

    def sample(self, n: int, *, rng: torch.Generator) -> Images:
        return self._draw(self.network, n, rng, self.temperature * self.truncation)

    def build(self, side: int) -> "Flow":
        """Return the untrained flow, its normalisations not yet set."""
        return Flow(side, self.width, self.depth)

    def _draw(self, flow: nn.Module, n: int, rng: torch.Generator, temperature: float) -> Images:
        sizes = [min(_BATCH, n - start) for start in range(0, n, _BATCH)]
        latents = (torch.randn(size, 3 * self.side**2, generator=rng) for size in sizes)
        return torch.cat([decode(flow, part * temperature) for part in latents])


class Flow(nn.Module):
    """Squeezes, steps of flow and splits, from images down to 4 x 4; called with latents it returns images."""

    def __init__(self, side: int, width: int, depth: int) -> None:
        super().__init__()
        normflows = library("normflows")
        self.side, self.levels = side, len(channels(side, 1))
        self.shapes = [self._shape(level) for level in range(self.levels)]
        self.flow = normflows.MultiscaleFlow(
            [normflows.distributions.DiagGaussian(shape, trainable=False) for shape in self.shapes],
            [self._steps(normflows, level, width, depth) for level in range(self.levels)],
            [normflows.flows.Merge() for _ in self.shapes[1:]],
            class_cond=False,
        )

    def forward(self, latents: Tensor) -> Tensor:
        """Return images in about [-1, 1] for latents (n, 3 * side^2), standard normal under the model."""
        parts = torch.split(latents, [math.prod(shape) for shape in self.shapes], dim=1)
        values: Tensor = self.flow.forward_and_log_det(
            [part.view(-1, *shape) for part, shape in zip(parts, self.shapes, strict=True)]
        )[0]
        return ((values + 0.5) * 256 - 0.5) / 127.5 - 1  # grey level g holds [g, g + 1), whose middle is not g

    def bits(self, images: Tensor, noise: Tensor) -> Tensor:
        """Return (n,) bits per value to code images in [-1, 1] with, noise in [0, 1) filling up their grey levels."""
        values = ((images + 1) * 127.5 + noise.to(images)) / 256 - 0.5
        likelihood: Tensor = self.flow.log_prob(values, None)
        return 8 - likelihood / (values[0].numel() * math.log(2))  # eq. 2, in bits per value

    def _shape(self, level: int) -> tuple[int, int, int]:
        """Return the shape of the values that leave at a level; level 0 is the innermost, where all do."""
        values = 12 << (self.levels - 1 - level)
        return (values if level == 0 else values // 2, SEED_SIDE << level, SEED_SIDE << level)

    def _steps(self, normflows: Any, level: int, width: int, depth: int) -> list[nn.Module]:
        """Return a level in the order of sampling: the distribution of what enters here, steps of flow, a squeeze."""
        flows, (leaving, *_) = normflows.flows, self._shape(level)
        values = leaving if level == 0 else 2 * leaving
        if level == 0:
            prior = flows.AffineConstFlow(self._shape(0))
        else:  # mean and deviation of the values that leave, given those that stay
            prior = flows.AffineCouplingBlock(normflows.nets.ConvNet2d((leaving, values), (3,)))
        steps = [flows.GlowBlock(values, width, use_lu=False) for _ in range(depth)]
        return [prior, *steps, flows.Squeeze()]
