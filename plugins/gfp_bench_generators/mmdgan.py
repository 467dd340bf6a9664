"""MMD GAN, narrow: maximum mean discrepancy with rational-quadratic kernels, transposed convolutions of size 5.

Source: Binkowski et al., "Demystifying MMD GANs", ICLR 2018, arXiv:1801.01401, sections 2.1 (the kernel rq*), 2.2 (the
unbiased estimate) and 4 (16 values of the critic, gradient penalty of weight 1 on the witness function).
Differs from the paper: no penalty on the critic's activations, no fall of the rates by a three-sample test; DCGAN's
generator at every side, narrow, batches of 32 and not 64, bfloat16 where faster; samples come from averaged weights.
"""

from itertools import pairwise
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor, nn

from gfp_bench import Register, hookimpl
from gfp_bench_generators._shared.gan import GAN, Score, between, judged, slopes
from gfp_bench_generators._shared.networks import channels, projection, tower

ALPHAS = (0.2, 0.5, 1.0, 2.0, 5.0)  # of the rational-quadratic kernels that are summed


@hookimpl
def register_generators(register: Register) -> None:
    """Offer `MMDGAN`."""
    register(MMDGAN)


class MMDGAN(GAN):
    """The critic maps images to where a kernel best tells real from generated ones; the generator closes the gap."""

    name = "mmdgan"
    paper = "arXiv:1801.01401"
    version = 1
    metadata: ClassVar[dict[str, str]] = {
        "family": "gan",
        "loss": "maximum mean discrepancy, rational quadratic and linear, gradient penalty",
        "upsampling": "transposed convolution 5x5",
        "downsampling": "strided convolution 4x4",
        "normalisation": "batch",
        "nonlinearity": "tanh",
        "skips": "none",
    }
    betas = (0.5, 0.9)
    deviations = (0.02, None)

    def __init__(
        self,
        width: Annotated[int, "channels at half the image's side", Ge(1)] = 24,
        critic_width: Annotated[int, "channels at half the image's side, in the critic", Ge(1)] = 16,
        features: Annotated[int, "values of the critic, which the kernel compares", Ge(1)] = 16,
        latent: Annotated[int, "standard normal values that an image is made of", Ge(1)] = 128,
        batch: Annotated[int, "images per step; the paper's is 64", Ge(1)] = 32,
        rate: Annotated[float, "Adam's learning rate, for both networks", Ge(0)] = 0.0001,
        critic_steps: Annotated[int, "steps of the critic for each one of the generator", Ge(1)] = 5,
        penalty: Annotated[float, "the weight lambda of the gradient penalty", Ge(0)] = 1.0,
    ) -> None:
        self.width = width
        self.critic_width = critic_width
        self.features = features
        self.latent = latent
        self.batch = batch
        self.rate = rate
        self.critic_steps = critic_steps
        self.penalty = penalty

    def build(self, side: int) -> nn.Sequential:
        widths = channels(side, self.width)
        layers = projection(self.latent, widths[0])
        for before, after in pairwise([*widths, 3]):
            enlarge = nn.ConvTranspose2d(before, after, 5, stride=2, padding=2, output_padding=1, bias=after == 3)
            layers += [nn.BatchNorm2d(before), nn.ReLU(), enlarge]
        return nn.Sequential(*layers, nn.Tanh())

    def build_critic(self, side: int) -> nn.Sequential:
        return tower(side, self.critic_width, self.features, norm=False)

    def critic_loss(self, critic: Score, real: Tensor, fake: Tensor, rng: torch.Generator) -> Tensor:
        seen, made = judged(critic, real, fake)

        def witness(images: Tensor) -> Tensor:
            values = critic(images).float()
            return kernel(values, seen).mean(dim=1) - kernel(values, made).mean(dim=1)

        steepness = slopes(witness, between(real, fake, rng))
        return self.penalty * (steepness - 1).square().mean() - discrepancy(seen, made)

    def generator_loss(self, critic: Score, real: Tensor, fake: Tensor) -> Tensor:
        seen, made = judged(critic, real, fake)
        return discrepancy(seen, made)


def discrepancy(seen: Tensor, made: Tensor) -> Tensor:
    """Return the squared maximum mean discrepancy of two samples, (n, d) each: unbiased, so it may fall below zero."""
    return _across(kernel(seen, seen)) + _across(kernel(made, made)) - 2 * kernel(seen, made).mean()


def kernel(rows: Tensor, others: Tensor) -> Tensor:
    """Return (n, m) values of rq*: the rational-quadratic kernels of all `ALPHAS` and the linear one, summed."""
    squares = (rows[:, None] - others[None]).square().sum(dim=2)
    linear = (rows[:, None] * others[None]).sum(dim=2)  # no `@`, which autocast would round to bfloat16
    return sum(((1 + squares / (2 * alpha)) ** -alpha for alpha in ALPHAS), linear)


def _across(values: Tensor) -> Tensor:
    """Return the mean of (n, n) values off the diagonal."""
    n = len(values)
    return (values.sum() - values.diagonal().sum()) / (n * (n - 1))
