"""What the adversarial generators share: two networks that learn by turns, gradient penalties, samples, files.

A plugin brings its networks, its two losses and its settings; the rest is here once.
"""

from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, TypeAlias

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gfp_bench import SILENT, Images, Monitor
from gfp_bench_generators._shared.networks import channels_last, fresh
from gfp_bench_generators._shared.refusals import check_pool
from gfp_bench_generators._shared.sampling import OneNetwork, decode, load_network
from gfp_bench_generators._shared.training import Draw, descend, mixed, recalibrate, train

Score: TypeAlias = Callable[[Tensor], Tensor]
"""Takes images, (n, 3, h, w) in [-1, 1]; a critic gives (n, values)."""

_PREVIEWS = 16  # images
_SETTLING = {"end": 64, "preview": 8}  # batches that batch statistics are estimated from


class GAN(OneNetwork):
    """A generator against a critic; the loss of each and both networks are a subclass's.

    Attributes:
        critic_name: What its paper calls the critic; its place in checkpoints and among the losses.
        betas: Adam's, for both networks.
        deviations: Of the initial weights, generator and critic; None for those of He et al.
        reuses_fakes: Whether the generator learns from the images that the critic has just seen, or from new ones.
        latent: Values that an image is made from.
        batch: Images a step.
        rate: Adam's.
        critic_steps: Of the critic for each one of the generator.
    """

    critic_name: ClassVar[str] = "critic"
    betas: ClassVar[tuple[float, float]]
    deviations: ClassVar[tuple[float | None, float | None]] = (None, None)
    reuses_fakes: ClassVar[bool] = False
    latent: int
    batch: int
    rate: float
    critic_steps: int = 1
    truncation: float = 1.0

    @abstractmethod
    def build(self, side: int) -> nn.Sequential:
        """Return the untrained generator: latents (n, latent) to images in [-1, 1]."""

    @abstractmethod
    def build_critic(self, side: int) -> nn.Sequential:
        """Return the untrained critic: images to (n, values)."""

    @abstractmethod
    def critic_loss(self, critic: Score, real: Tensor, fake: Tensor, rng: torch.Generator) -> Tensor:
        """Return what the critic lowers; images in [-1, 1], the fake ones without a way back to the generator."""

    @abstractmethod
    def generator_loss(self, critic: Score, real: Tensor, fake: Tensor) -> Tensor:
        """Return what the generator lowers."""

    def train(self, pool: Images, *, steps: int, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        """Learn from a pool of at least one batch of square images, their side a power of two from 8 up.

        Raises:
            UsageError: If a setting or the pool does not fit.
            FloatingPointError: If the training diverges.
        """
        check_pool(self.name, pool, self.batch)
        self.side = pool.shape[-1]
        generator = fresh(self.build(self.side), rng, self.deviations[0]).to(pool.device)
        critic = fresh(self.build_critic(self.side), rng, self.deviations[1]).to(pool.device)
        generator_optimiser, critic_optimiser = (
            torch.optim.Adam(network.parameters(), lr=rate, betas=self.betas)
            for network, rate in zip((generator, critic), self._rates(), strict=True)
        )

        def update(draw: Draw) -> dict[str, float]:
            for _ in range(self.critic_steps):
                real = draw()
                with torch.set_grad_enabled(self.reuses_fakes):
                    fake = self._fakes(generator, real, rng)
                with mixed(real):
                    loss = self.critic_loss(critic, real, fake.detach(), rng)
                judged = descend(critic_optimiser, loss)
            if not self.reuses_fakes:
                fake = self._fakes(generator, real, rng)
            with mixed(real):
                loss = self.generator_loss(critic, real, fake)
            return {self.critic_name: judged, "generator": descend(generator_optimiser, loss)}

        def preview(copied: nn.Module) -> Images:
            own = torch.Generator().manual_seed(0)
            return decode(self._settled(copied, pool, own, "preview"), self._latents(_PREVIEWS, own))

        parts: dict[str, nn.Module | Optimizer] = {
            self.critic_name: critic,
            "generator_optimiser": generator_optimiser,
            f"{self.critic_name}_optimiser": critic_optimiser,
        }
        averaged = train(
            update, generator, parts, pool, steps=steps, batch=self.batch, rng=rng, monitor=monitor, preview=preview
        )
        self.network = self._settled(averaged, pool, rng, "end")

    def sample(self, n: int, *, rng: torch.Generator) -> Images:
        return decode(self.network, self.truncation * self._latents(n, rng))

    def load(self, folder: Path, *, device: torch.device | str = "cpu") -> None:
        self.network, state = load_network(folder, lambda side: channels_last(self.build(side)), device)
        self.side = state["side"]

    def _latents(self, n: int, rng: torch.Generator) -> Tensor:
        return torch.randn(n, self.latent, generator=rng)

    def _rates(self) -> tuple[float, float]:
        """Return Adam's rates for the generator and the critic."""
        return self.rate, self.rate

    def _fakes(self, generator: nn.Module, real: Tensor, rng: torch.Generator) -> Tensor:
        with mixed(real):
            fake: Tensor = generator(self._latents(self.batch, rng).to(real))
        return fake.float()

    def _settled(self, network: nn.Module, pool: Images, rng: torch.Generator, when: str) -> nn.Module:
        return recalibrate(network, (self._latents(self.batch, rng).to(pool.device) for _ in range(_SETTLING[when])))


def judged(critic: Score, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """Return a critic's values of real and fake images in float32, from one pass; not for one with batch norms."""
    seen, made = critic(torch.cat([real, fake])).float().chunk(2)
    return seen, made


def slopes(score: Score, images: Tensor) -> Tensor:
    """Return (n,) norms of the gradient of each image's score by the image, themselves differentiable."""
    images = images.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(score(images).sum(), images, create_graph=True)
    norms: Tensor = torch.linalg.vector_norm(gradient.flatten(1), dim=1)
    return norms


def between(real: Tensor, fake: Tensor, rng: torch.Generator) -> Tensor:
    """Return one image on the way from each real one to its fake one, at a uniform share (WGAN-GP, section 4)."""
    share = torch.rand(len(real), 1, 1, 1, generator=rng).to(real)
    return real + share * (fake - real)
