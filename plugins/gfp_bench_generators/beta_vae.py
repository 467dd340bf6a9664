"""beta-VAE: a variational autoencoder whose divergence from the prior counts beta times.

Source: Higgins et al., "beta-VAE: learning basic visual concepts with a constrained variational framework", ICLR 2017,
eq. 4 and table 1 (CelebA: convolutions of 32, 32, 64 and 64 channels, transposed ones back, beta 250; recalled).
Differs from the paper: Adam's rate is 0.0005 and not 0.0001, bfloat16 where faster. The likelihood is Gaussian, as in
the paper for CelebA; its deviation, not stated there, is 8 grey levels. A latent pays if it explains a variance, summed
over all values, above beta times the likelihood's: 141 principal components of the photographs' 64-px crops do so,
with a deviation of 127.5 (1 for values in [-1, 1]) two. Samples are means, drawn with averaged weights, and latents
follow a mixture of Gaussians fitted to the encoded pool (Ghosh et al., arXiv:1903.12436, section 4) unless ``mixture``
is none.
"""

from pathlib import Path
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Interval
from torch import nn

from gfp_bench import SILENT, Generator, Images, Monitor, Register, hookimpl
from gfp_bench_generators._shared.networks import SEED_SIDE, channels, channels_last, fresh
from gfp_bench_generators._shared.posteriors import Mixture, divergence, drawn, fit_mixture, mixture_latents
from gfp_bench_generators._shared.refusals import check_pool
from gfp_bench_generators._shared.sampling import decode, load_network, save_network
from gfp_bench_generators._shared.training import Draw, descend, mixed, train

_HIDDEN = 256  # values between the convolutions and the latents
_PREVIEWS = 16  # images


@hookimpl
def register_generators(register: Register) -> None:
    """Offer `BetaVAE`."""
    register(BetaVAE)


class BetaVAE(Generator):
    """An encoder to Gaussian posteriors that may tell little, and a decoder of their draws."""

    name = "beta_vae"
    paper = "Higgins et al., ICLR 2017"
    version = 1
    truncation: float = 1.0
    metadata: ClassVar[dict[str, str]] = {
        "family": "vae",
        "loss": "evidence lower bound, gaussian, weighted divergence",
        "upsampling": "transposed convolution 4x4",
        "downsampling": "strided convolution 4x4",
        "normalisation": "none",
        "nonlinearity": "none",
        "skips": "none",
    }

    def __init__(
        self,
        beta: Annotated[
            float,
            "weight of the divergence; 1 is the evidence lower bound",
            Interval(ge=0, le=1e6),
        ] = 250.0,
        deviation: Annotated[float, "that of the likelihood, in 8-bit grey levels", Interval(ge=0.1, le=1000)] = 8.0,
        width: Annotated[
            int,
            "channels in the outer half of the convolutions, twice as many in the inner half",
            Ge(1),
        ] = 32,
        latent: Annotated[int, "standard normal values, as a prior", Ge(1)] = 32,
        batch: Annotated[int, "images per step", Ge(1)] = 64,
        rate: Annotated[float, "Adam's learning rate; the paper's is 0.0001", Ge(0)] = 0.0005,
        mixture: Annotated[int | None, "Gaussians that the latents of samples follow; none: the prior", Ge(1)] = 20,
    ) -> None:
        self.beta = beta
        self.deviation = deviation
        self.width = width
        self.latent = latent
        self.batch = batch
        self.rate = rate
        self.mixture = mixture

    def train(self, pool: Images, *, steps: int, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        """Learn from a pool of at least one batch of square images, their side a power of two from 8 up.

        Raises:
            UsageError: If the pool does not fit.
            FloatingPointError: If the training diverges; the message names the step.
        """
        check_pool(self.name, pool, self.batch)
        self.side = pool.shape[-1]
        encoder = fresh(self._encoder(self.side), rng)
        decoder = fresh(self.build(self.side), rng)
        both = nn.ModuleDict({"encoder": encoder, "decoder": decoder}).to(pool.device)
        optimiser = torch.optim.Adam(both.parameters(), lr=self.rate)
        variance = (self.deviation / 127.5) ** 2

        def update(draw: Draw) -> dict[str, float]:
            real = draw()
            with mixed(real):
                mean, spread = encoder(real).float().chunk(2, dim=1)
                rebuilt = decoder(drawn(mean, spread, rng))
            error = (rebuilt.float() - real).square().mean()
            nats = divergence(mean, spread).mean()
            weight = self.beta * variance / real[0].numel()  # eq. 4 by the variance of all values together
            bound = descend(optimiser, error / 2 + weight * nats)
            return {"bound": bound, "error": error.item(), "divergence": nats.item()}

        def preview(copied: nn.ModuleDict) -> Images:
            latents = torch.randn(_PREVIEWS, self.latent, generator=torch.Generator().manual_seed(0))
            return decode(copied["decoder"], latents)

        parts = {"optimiser": optimiser}
        averaged = train(
            update, both, parts, pool, steps=steps, batch=self.batch, rng=rng, monitor=monitor, preview=preview
        ).eval()
        self.network = averaged["decoder"]
        self.gaussians: Mixture | None = None
        if self.mixture is not None:
            self.gaussians = fit_mixture(averaged["encoder"], pool, self.mixture, rng)

    def sample(self, n: int, *, rng: torch.Generator) -> Images:
        if self.gaussians is None:
            return decode(self.network, self.truncation * torch.randn(n, self.latent, generator=rng))
        return decode(self.network, self.truncation * mixture_latents(self.gaussians, n, rng))

    def save(self, folder: Path) -> None:
        save_network(folder, self.network, side=self.side, gaussians=self.gaussians)

    def load(self, folder: Path, *, device: torch.device | str = "cpu") -> None:
        self.network, state = load_network(folder, lambda side: channels_last(self.build(side)), device)
        self.side, gaussians = state["side"], state["gaussians"]
        self.gaussians = gaussians and tuple(part.cpu() for part in gaussians)

    def build(self, side: int) -> nn.Sequential:
        """Return the untrained decoder: latents (n, latent) to images, real ones in [-1, 1]."""
        widths = self._widths(side)[::-1]
        layers: list[nn.Module] = [
            nn.Linear(self.latent, _HIDDEN),
            nn.ReLU(),
            nn.Linear(_HIDDEN, widths[0] * SEED_SIDE**2),
            nn.Unflatten(1, (widths[0], SEED_SIDE, SEED_SIDE)),
        ]
        for before, after in zip(widths, [*widths[1:], 3], strict=True):
            layers += [nn.ReLU(), nn.ConvTranspose2d(before, after, 4, 2, 1)]
        return nn.Sequential(*layers)

    def _encoder(self, side: int) -> nn.Sequential:
        widths = self._widths(side)
        layers: list[nn.Module] = []
        for before, after in zip([3, *widths], widths, strict=False):
            layers += [nn.Conv2d(before, after, 4, 2, 1), nn.ReLU()]
        hidden = [nn.Linear(widths[-1] * SEED_SIDE**2, _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, 2 * self.latent)]
        return nn.Sequential(*layers, nn.Flatten(), *hidden)

    def _widths(self, side: int) -> list[int]:
        """Return the channels at side / 2, side / 4, ..., 4."""
        count = len(channels(side, self.width))
        return [self.width << (2 * place // count) for place in range(count)]
