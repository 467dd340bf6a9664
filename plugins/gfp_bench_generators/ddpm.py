"""DDPM, small: a U-Net predicts the noise in an image, and samples are freed of it in few steps.

Source: Ho, Jain and Abbeel, "Denoising diffusion probabilistic models", NeurIPS 2020, arXiv:2006.11239, algorithm 1,
eq. 14 and section 4; samples by Song, Meng and Ermon, "Denoising diffusion implicit models", ICLR 2021,
arXiv:2010.02502, eq. 12.
Differs from the paper: a quarter of its width, one block a level, three levels, attention at the innermost alone; the
network sees each 2 x 2 square of pixels as the channels of one (``fold``), and what it adds to its input, weighted, is
the noise (the "v" of Salimans and Ho, arXiv:2202.00512, appendix D, under the loss of the noise), which is learnt in
far fewer steps; batches of 32 and not 128, a rate of 0.001 without clipped gradients or dropout; averaged over the last
1,000 steps and not 10,000; 50 steps of DDIM.
"""

from functools import partial
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge, Interval, MultipleOf
from torch import Tensor, nn

from gfp_bench import Images, Register, hookimpl
from gfp_bench_generators._shared.denoising import LEVELS, Estimate, Folded, Loss, ScoreBased, geometry, walked
from gfp_bench_generators._shared.libraries import library

_GROUPS = 8  # of channels that are normalised together; they divide 1.5 times the width as well


@hookimpl
def register_generators(register: Register) -> None:
    """Offer `DDPM`."""
    register(DDPM)


class DDPM(ScoreBased):
    """A network learns the noise of a fixed diffusion; sampling runs the diffusion backwards."""

    name = "ddpm"
    paper = "arXiv:2006.11239"
    version = 1
    metadata: ClassVar[dict[str, str]] = {
        "family": "score",
        "loss": "noise prediction",
        "upsampling": "nearest, convolution 3x3; sub-pixel",
        "downsampling": "strided convolution 3x3",
        "normalisation": "group",
        "nonlinearity": "none",
        "skips": "u-net",
    }

    def __init__(
        self,
        width: Annotated[
            int,
            "channels at the finest level; the paper's is 128",
            Ge(2 * _GROUPS),
            MultipleOf(2 * _GROUPS),
        ] = 32,
        fold: Annotated[int, "pixels of a side that become channels; the paper's is 1", Ge(1)] = 2,
        batch: Annotated[int, "images per step; the paper's is 128", Ge(1)] = 32,
        rate: Annotated[float, "Adam's learning rate; the paper's is 0.0002", Ge(0)] = 0.001,
        times: Annotated[int, "steps of the diffusion, variances from 0.0001 to 0.02 in even steps", Ge(1)] = 1000,
        steps: Annotated[int, "steps of sampling, at most as many as times", Ge(1)] = 50,
        eta: Annotated[
            float,
            "fresh noise in sampling, from 0 (none, DDIM) to 1 (as much as DDPM)",
            Interval(ge=0, le=1),
        ] = 0.0,
    ) -> None:
        if steps > times:
            raise ValueError(f"setting 'steps' got {steps}, expected 1 to {times}, as many as 'times'")
        self.width = width
        self.fold = fold
        self.batch = batch
        self.rate = rate
        self.times = times
        self.steps = steps
        self.eta = eta

    def build(self, side: int) -> Folded:
        """Return the untrained network: noisy images in about [-1, 1] and steps of the diffusion to the noise."""
        network = library("diffusers").UNet2DModel(
            **geometry(side, self.width, self.fold),
            norm_num_groups=_GROUPS,
            down_block_types=("DownBlock2D",) * LEVELS,
            up_block_types=("UpBlock2D",) * LEVELS,
        )
        return Folded(network, self.fold)

    def _loss(self, network: Folded, rng: torch.Generator) -> Loss:
        diffusion = self._schedule("DDPMScheduler")
        predicted = partial(predict, network, diffusion.alphas_cumprod.to(next(network.parameters()).device))

        def loss(real: Tensor) -> Tensor:
            noise = torch.randn(real.shape, generator=rng).to(real)
            times = torch.randint(self.times, (len(real),), generator=rng).to(real.device)
            return error(predicted, diffusion, real, noise, times)

        return loss

    def _draw(self, network: nn.Module, n: int, rng: torch.Generator, steps: int) -> Images:
        scheduler = self._schedule("DDIMScheduler")
        predicted = partial(predict, network, scheduler.alphas_cumprod.to(next(network.parameters()).device))
        return walked(
            lambda noise: denoise(predicted, noise, scheduler, steps, self.eta, rng), n, network, self.side, rng
        )

    def _schedule(self, name: str) -> Any:  # a scheduler of diffusers
        return getattr(library("diffusers"), name)(
            num_train_timesteps=self.times, beta_start=0.0001, beta_end=0.02, beta_schedule="linear"
        )


def predict(network: Estimate, kept: Tensor, images: Tensor, times: Tensor) -> Tensor:
    """Return the noise in images (n, 3, h, w) at times (n,); ``kept`` is the image's share of the variance at each."""
    share = kept[times][:, None, None, None]
    return (1 - share).sqrt() * images + share.sqrt() * network(images, times)


def error(
    network: Estimate,
    diffusion: Any,  # a DDPMScheduler
    real: Tensor,
    noise: Tensor,
    times: Tensor,
) -> Tensor:
    """Return the mean squared error of a network that should know the noise at some steps of the diffusion (eq. 14)."""
    return (network(diffusion.add_noise(real, noise, times), times) - noise).square().mean()


def denoise(
    network: Estimate,
    noise: Tensor,
    scheduler: Any,  # a DDIMScheduler
    steps: int,
    eta: float,
    rng: torch.Generator,
) -> Tensor:
    """Return images in [-1, 1], freed of their noise in some steps (arXiv:2010.02502, eq. 12).

    Args:
        network: Predicts the noise of (n, 3, h, w) at times (n,).
        noise: Standard normal, (n, 3, h, w).
        scheduler: Takes the steps.
        steps: How many, evenly spaced.
        eta: How much fresh noise each step brings, 0 to 1.
        rng: Draws it.
    """
    scheduler.set_timesteps(steps)
    images = noise
    for time in scheduler.timesteps.tolist():
        predicted = network(images, torch.full((len(images),), time, device=images.device))
        fresh = torch.randn(images.shape, generator=rng).to(images) if eta else None
        images = scheduler.step(predicted, time, images, eta=eta, variance_noise=fresh).prev_sample
    return images
