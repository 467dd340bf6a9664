"""Cramer GAN, narrow: the energy distance between transformed images, up-sampling by bilinear interpolation.

Source: Bellemare et al., "The Cramer distance as a solution to biased Wasserstein gradients", 2017, arXiv:1705.10743,
section 5 and algorithm 1: f(x) = E|h(x) - h(g)| - E|h(x)|, with 256 values of h and a gradient penalty on f.
Differs from the paper: expectations run over all pairs of a batch of generated images and not over two batches; plain
convolutional networks, batches of 32 and not 64, bfloat16 where faster; samples come from averaged weights.
"""

from typing import Annotated, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor, nn

from gfp_bench import Register, hookimpl
from gfp_bench_generators._shared.gan import GAN, Score, between, judged, slopes
from gfp_bench_generators._shared.networks import enlarging, tower


@hookimpl
def register_generators(register: Register) -> None:
    """Offer `CramerGAN`."""
    register(CramerGAN)


class CramerGAN(GAN):
    """The critic widens the energy distance of its values for real and generated images, the generator narrows it."""

    name = "cramergan"
    paper = "arXiv:1705.10743"
    version = 1
    metadata: ClassVar[dict[str, str]] = {
        "family": "gan",
        "loss": "energy distance, gradient penalty",
        "upsampling": "bilinear, convolution 3x3",
        "downsampling": "strided convolution 4x4",
        "normalisation": "batch",
        "nonlinearity": "tanh",
        "skips": "none",
    }
    betas = (0.5, 0.9)

    def __init__(
        self,
        width: Annotated[int, "channels at half the image's side", Ge(1)] = 24,
        critic_width: Annotated[int, "channels at half the image's side, in the critic", Ge(1)] = 16,
        features: Annotated[int, "values of the transform h", Ge(1)] = 256,
        latent: Annotated[int, "standard normal values that an image is made of", Ge(1)] = 128,
        batch: Annotated[int, "images per step; the paper's is 64", Ge(1)] = 32,
        rate: Annotated[float, "Adam's learning rate, for both networks", Ge(0)] = 0.0001,
        critic_steps: Annotated[int, "steps of the critic for each one of the generator", Ge(1)] = 5,
        penalty: Annotated[float, "the weight lambda of the gradient penalty", Ge(0)] = 10.0,
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
        return enlarging(side, self.width, self.latent, lambda: nn.Upsample(scale_factor=2, mode="bilinear"))

    def build_critic(self, side: int) -> nn.Sequential:
        return tower(side, self.critic_width, self.features, norm=False)

    def critic_loss(self, critic: Score, real: Tensor, fake: Tensor, rng: torch.Generator) -> Tensor:
        seen, made = judged(critic, real, fake)
        distance = witness(seen, made).mean() - witness(made, made).mean()
        steepness = slopes(lambda images: witness(critic(images).float(), made), between(real, fake, rng))
        return self.penalty * (steepness - 1).square().mean() - distance

    def generator_loss(self, critic: Score, real: Tensor, fake: Tensor) -> Tensor:
        seen, made = judged(critic, real, fake)
        return energy(seen, made)


def witness(values: Tensor, made: Tensor) -> Tensor:
    """Return (n,): how much farther each of (n, d) values is from generated ones than from zero, f of section 5."""
    lengths: Tensor = torch.linalg.vector_norm(values, dim=1)
    return distances(values, made).mean(dim=1) - lengths


def energy(seen: Tensor, made: Tensor) -> Tensor:
    """Return the energy distance of two samples, (n, d) each: unbiased, so that it may fall below zero."""
    return 2 * distances(seen, made).mean() - distances(made, made).mean() - distances(seen, seen).mean()


def distances(rows: Tensor, others: Tensor) -> Tensor:
    """Return (n, n - 1) Euclidean distances from each row to all others but the one of its own number.

    That one is no independent draw: it is the row itself, or what an image between real and generated was made from.
    """
    n = len(rows)
    apart = rows[:, None] - others[None]
    different = ~torch.eye(n, dtype=torch.bool, device=rows.device)
    lengths: Tensor = torch.linalg.vector_norm(apart[different].view(n, n - 1, -1), dim=2)
    return lengths
