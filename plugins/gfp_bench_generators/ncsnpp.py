"""NCSN++, small: a network estimates the score of images at every noise level, and an ordinary equation is solved.

Source: Song et al., "Score-based generative modeling through stochastic differential equations", ICLR 2021,
arXiv:2011.13456, eq. 7, eq. 13 and appendices C and D.1 (variance exploding), H (the network).
Differs from the paper: a fifth of its width, one block a level, three levels, no attention; the network sees each
2 x 2 square of pixels as the channels of one (``fold``) and images scaled to variance 1, and what it adds to the score
of a Gaussian of the same variance is the score (Karras et al., arXiv:2206.00364, section 5), which is learnt in far
fewer steps; images lie in [-1, 1] and not [0, 1], so noise levels are twice the settings; batches of 32 and not 128, a
rate of 0.001 without warm-up or clipped gradients; averaged over the last 1,000 steps. The probability-flow equation is
solved in the noise level and not in time, by Euler's or Heun's method from level to level, as many as there are steps,
evenly spaced in the logarithm, and then to none (Karras et al., algorithm 1); the paper has an adaptive solver, and a
predictor and a corrector of the stochastic equation.
"""

from functools import partial
from itertools import pairwise
from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt, MultipleOf
from torch import Tensor, nn

from gfp_bench import Images, Register, hookimpl
from gfp_bench_generators._shared.denoising import LEVELS, Estimate, Folded, Loss, ScoreBased, geometry, walked
from gfp_bench_generators._shared.libraries import library

_DEVIATION = 0.5  # of the values of images, as Karras et al. take it


@hookimpl
def register_generators(register: Register) -> None:
    """Offer `NCSNpp`."""
    register(NCSNpp)


class NCSNpp(ScoreBased):
    """A network learns by which direction noisy images become likelier; samples follow it from pure noise."""

    name = "ncsnpp"
    paper = "arXiv:2011.13456"
    version = 1
    metadata: ClassVar[dict[str, str]] = {
        "family": "score",
        "loss": "denoising score matching",
        "upsampling": "fir 1-3-3-1; sub-pixel",
        "downsampling": "fir 1-3-3-1",
        "normalisation": "group",
        "nonlinearity": "none",
        "skips": "u-net, image pyramids",
    }

    def __init__(
        self,
        width: Annotated[int, "channels at the finest level; the paper's is 128", Ge(8), MultipleOf(8)] = 24,
        fold: Annotated[int, "pixels of a side that become channels; the paper's is 1", Ge(1)] = 2,
        batch: Annotated[int, "images per step; the paper's is 128", Ge(1)] = 32,
        rate: Annotated[float, "Adam's learning rate; the paper's is 0.0002", Ge(0)] = 0.001,
        sigma_min: Annotated[float, "least noise, for images in [0, 1]", Gt(0)] = 0.01,
        sigma_max: Annotated[float, "most noise, for images in [0, 1]", Gt(0)] = 50.0,
        steps: Annotated[int, "steps of sampling; one run of the network each with euler, two with heun", Ge(1)] = 50,
        solver: Annotated[Literal["euler", "heun"], "what solves the differential equation of samples"] = "euler",
    ) -> None:
        if sigma_min >= sigma_max:
            raise ValueError(
                f"settings 'sigma_min' and 'sigma_max' got {sigma_min} and {sigma_max}, expected sigma_min < sigma_max"
            )
        self.width = width
        self.fold = fold
        self.batch = batch
        self.rate = rate
        self.sigma_min = sigma_min
        self.sigma_max = sigma_max
        self.steps = steps
        self.solver = solver

    def build(self, side: int) -> Folded:
        """Return the untrained network: noisy images of variance about 1 and noise levels to the score."""
        network = library("diffusers").UNet2DModel(
            **geometry(side, self.width, self.fold),
            norm_num_groups=None,  # a group has 4 channels
            time_embedding_type="fourier",
            down_block_types=("SkipDownBlock2D",) * LEVELS,
            up_block_types=("SkipUpBlock2D",) * LEVELS,
            mid_block_scale_factor=2**0.5,
            add_attention=False,
        )
        _widen_pyramids(network, 3 * self.fold**2)
        _hasten_filters(network)
        return Folded(network, self.fold)

    def sigmas(self, times: Tensor) -> Tensor:
        """Return the noise levels, for images in [-1, 1], at times from 0 (least noise) to 1 (most)."""
        return 2 * self.sigma_min * (self.sigma_max / self.sigma_min) ** times  # appendix C

    def _loss(self, network: Folded, rng: torch.Generator) -> Loss:
        def loss(real: Tensor) -> Tensor:
            sigmas = self.sigmas(torch.rand(len(real), generator=rng)).to(real)
            noise = torch.randn(real.shape, generator=rng).to(real)
            return matching(partial(score, network), real, noise, sigmas)

        return loss

    def _draw(self, network: nn.Module, n: int, rng: torch.Generator, steps: int) -> Images:
        sigmas = [*self.sigmas(torch.linspace(1, 0, steps, dtype=torch.float64)).tolist(), 0.0]
        walk = partial(transport, partial(score, network), sigmas, heun=self.solver == "heun")
        return walked(lambda noise: walk(noise * sigmas[0]), n, network, self.side, rng)


def score(network: Estimate, images: Tensor, sigmas: Tensor) -> Tensor:
    """Return the gradient of the log-density of noisy images (n, 3, h, w) at noise levels (n,), by a network."""
    scale = (_DEVIATION**2 + _spread(sigmas).square()).rsqrt()
    return _DEVIATION * scale * network(scale * images, sigmas) - scale.square() * images


def matching(score: Estimate, real: Tensor, noise: Tensor, sigmas: Tensor) -> Tensor:
    """Return the loss of denoising score matching, a mean over values: levels weighted by their squares (eq. 7)."""
    spread = _spread(sigmas)
    return (spread * score(real + spread * noise, sigmas) + noise).square().mean()


def transport(score: Estimate, sigmas: list[float], images: Tensor, *, heun: bool) -> Tensor:
    """Return noisy images carried along the probability flow, dx/dsigma = -sigma score(x, sigma) (eq. 13).

    Args:
        score: The gradient of the log-density of (n, 3, h, w) at noise levels (n,).
        sigmas: Noise levels, falling: the first is that of ``images``; the last may be 0.
        images: At the first noise level.
        heun: Whether each step is corrected by the slope at its end, except to level 0, where there is none.
    """

    def slope(images: Tensor, sigma: float) -> Tensor:
        return -sigma * score(images, torch.full((len(images),), sigma, dtype=images.dtype, device=images.device))

    for sigma, following in pairwise(sigmas):
        first = slope(images, sigma)
        ahead = images + (following - sigma) * first
        if heun and following > 0:
            ahead = images + (following - sigma) * (first + slope(ahead, following)) / 2
        images = ahead
    return images


def _spread(sigmas: Tensor) -> Tensor:
    return sigmas[:, None, None, None]


def _widen_pyramids(network: nn.Module, channels: int) -> None:
    """Give the image pyramids beside the network as many channels as a folded image has; diffusers has 3."""
    for block in network.down_blocks:  # type: ignore[union-attr]  # of diffusers, untyped
        if block.skip_conv is not None:
            block.skip_conv = nn.Conv2d(channels, block.skip_conv.out_channels, 1)
    for block in network.up_blocks:  # type: ignore[union-attr]  # likewise
        if block.skip_conv is not None:
            block.skip_conv = nn.Conv2d(block.skip_conv.in_channels, channels, 3, padding=1)


def _hasten_filters(network: nn.Module) -> None:
    """Replace diffusers' FIR resampling by equal operations that a processor runs some eight times as fast."""
    for block in network.down_blocks:  # type: ignore[union-attr]  # likewise
        if block.downsamplers is not None:
            block.downsamplers = nn.ModuleList([_Halve()])
            block.resnet_down.downsample = halve
    for block in network.up_blocks:  # type: ignore[union-attr]  # likewise
        block.upsampler = _Double()
        if block.resnet_up is not None:
            block.resnet_up.upsample = double


def halve(images: Tensor) -> Tensor:
    """Return images (n, c, h, w) at half their size: the filter 1-3-3-1 in both directions, zeros outside."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=images.dtype, device=images.device) / 8
    channels = images.shape[1]
    kernel = torch.outer(taps, taps).expand(channels, 1, 4, 4)
    return F.conv2d(images, kernel, stride=2, padding=1, groups=channels)


def double(images: Tensor) -> Tensor:
    """Return images (n, c, h, w) at twice their size: likewise, which is bilinear interpolation between zeros."""
    return F.interpolate(F.pad(images, (1, 1, 1, 1)), scale_factor=2, mode="bilinear")[..., 2:-2, 2:-2]


class _Halve(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return halve(images)


class _Double(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return double(images)
