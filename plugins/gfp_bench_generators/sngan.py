"""SNGAN, narrow: residual networks, nearest-neighbour up-sampling, a spectrally normalised discriminator, hinge loss.

Source: Miyato et al., "Spectral normalization for generative adversarial networks", ICLR 2018, arXiv:1802.05957,
algorithm 1, eq. 16 and 17, appendix B.4.
Differs from the paper: a sixteenth of its width and half the channels at each doubling of the side, batches of 32 and
not 64, weights drawn as He et al. do, bfloat16 where faster; samples come from averaged weights. A 1 x 1 convolution
comes before the up-sampling and after the down-sampling beside it: the same function for a quarter of the work.
"""

from itertools import pairwise
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from annotated_types import Ge
from torch import Tensor, nn

from gfp_bench import Register, hookimpl
from gfp_bench_generators._shared.gan import GAN, Score, judged
from gfp_bench_generators._shared.networks import SEED_SIDE, Residual, channels, projection


@hookimpl
def register_generators(register: Register) -> None:
    """Offer `SNGAN`."""
    register(SNGAN)


class SNGAN(GAN):
    """Every layer of the discriminator is divided by its spectral norm, which bounds how steep the whole can be."""

    name = "sngan"
    paper = "arXiv:1802.05957"
    version = 1
    metadata: ClassVar[dict[str, str]] = {
        "family": "gan",
        "loss": "hinge",
        "upsampling": "nearest, convolution 3x3, residual",
        "downsampling": "convolution 3x3, average pooling 2x2, residual",
        "normalisation": "batch; spectral in the discriminator",
        "nonlinearity": "tanh",
        "skips": "residual",
    }
    critic_name = "discriminator"
    betas = (0.0, 0.9)

    def __init__(
        self,
        width: Annotated[
            int,
            "channels at the image's side and at half of it; the paper's is 256 everywhere",
            Ge(1),
        ] = 16,
        discriminator_width: Annotated[
            int,
            "channels at half the image's side, in the discriminator; the paper's is 128 everywhere",
            Ge(1),
        ] = 16,
        latent: Annotated[int, "standard normal values that an image is made of", Ge(1)] = 128,
        batch: Annotated[int, "images per step; the paper's is 64", Ge(1)] = 32,
        rate: Annotated[float, "Adam's learning rate, for both networks", Ge(0)] = 0.0002,
        critic_steps: Annotated[int, "steps of the discriminator for each one of the generator", Ge(1)] = 5,
    ) -> None:
        self.width = width
        self.discriminator_width = discriminator_width
        self.latent = latent
        self.batch = batch
        self.rate = rate
        self.critic_steps = critic_steps

    def build(self, side: int) -> nn.Sequential:
        widths = channels(side, self.width)
        widths.append(self.width)
        layers = projection(self.latent, widths[0])
        layers += [_enlarging(before, after) for before, after in pairwise(widths)]
        layers += [nn.BatchNorm2d(widths[-1]), nn.ReLU(), nn.Conv2d(widths[-1], 3, 3, padding=1)]
        return nn.Sequential(*layers, nn.Tanh())

    def build_critic(self, side: int) -> nn.Sequential:
        widths = channels(side, self.discriminator_width)[::-1]
        layers = [_shrinking(before, after) for before, after in pairwise([3, *widths])]
        total = nn.AvgPool2d(SEED_SIDE, divisor_override=1)
        return nn.Sequential(*layers, nn.ReLU(), total, SpectralConv2d(widths[-1], 1, 1), nn.Flatten())

    def critic_loss(self, critic: Score, real: Tensor, fake: Tensor, rng: torch.Generator) -> Tensor:
        seen, made = judged(critic, real, fake)
        return (1 - seen).relu().mean() + (1 + made).relu().mean()

    def generator_loss(self, critic: Score, real: Tensor, fake: Tensor) -> Tensor:
        return -critic(fake).float().mean()


class SpectralConv2d(nn.Conv2d):
    """A convolution whose weights, as a matrix (outputs, rest), are divided by an estimate of its spectral norm.

    In training mode every call improves the estimate by one step of the power iteration (algorithm 1).
    """

    left: Tensor

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__(inputs, outputs, kernel, padding=kernel // 2)
        self.register_buffer("left", torch.full((outputs,), outputs**-0.5))  # the paper draws its start

    def forward(self, images: Tensor) -> Tensor:
        return F.conv2d(images, self.normalised(), self.bias, padding=self.padding)

    def normalised(self) -> Tensor:
        """Return the weights over their spectral norm, differentiable through both."""
        with torch.autocast(self.weight.device.type, enabled=False):
            matrix = self.weight.flatten(1)
            with torch.no_grad():
                right = F.normalize(matrix.T @ self.left, dim=0)
                left = F.normalize(matrix @ right, dim=0)
            if self.training:
                self.left = left  # a new tensor: the last call's graph keeps its own
            normalised: Tensor = self.weight / (left @ matrix @ right)
        return normalised


def _enlarging(before: int, after: int) -> Residual:
    body = nn.Sequential(
        nn.BatchNorm2d(before),
        nn.ReLU(),
        nn.Upsample(scale_factor=2),
        nn.Conv2d(before, after, 3, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(),
        nn.Conv2d(after, after, 3, padding=1),
    )
    return Residual(body, nn.Sequential(nn.Conv2d(before, after, 1), nn.Upsample(scale_factor=2)))


def _shrinking(before: int, after: int) -> Residual:
    first = before == 3  # images come without a ReLU, and are widened at once
    inner = after if first else before
    body = [SpectralConv2d(before, inner, 3), nn.ReLU(), SpectralConv2d(inner, after, 3), nn.AvgPool2d(2)]
    shortcut = nn.Sequential(nn.AvgPool2d(2), SpectralConv2d(before, after, 1))
    return Residual(nn.Sequential(*([] if first else [nn.ReLU()]), *body), shortcut)
