"""A convolutional variational autoencoder, up-sampling by sub-pixel convolutions.

Source: Kingma and Welling, "Auto-encoding variational Bayes", ICLR 2014, arXiv:1312.6114, eq. 10 and appendix C.2.
Differs from the paper: convolutional networks; the decoder's one variance is the optimal one of each batch (Rybkin et
al., arXiv:2006.13202, eq. 4), samples are its means, drawn with averaged weights, and latents follow a mixture of
Gaussians fitted to the encoded pool (Ghosh et al., arXiv:1903.12436, section 4), not the prior.
"""

from pathlib import Path
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge
from torch import nn

from gfp_bench import SILENT, Generator, Images, Monitor, Register, hookimpl
from gfp_bench_generators._shared.networks import SEED_SIDE, channels, channels_last, fresh, tower
from gfp_bench_generators._shared.posteriors import divergence, drawn, fit_mixture, mixture_latents
from gfp_bench_generators._shared.refusals import check_pool
from gfp_bench_generators._shared.sampling import decode, load_network, save_network
from gfp_bench_generators._shared.training import Draw, descend, mixed, train


@hookimpl
def register_generators(register: Register) -> None:
    """Offer `VAE`."""
    register(VAE)


class VAE(Generator):
    """An encoder to Gaussian posteriors and a decoder of their draws, trained on the evidence lower bound."""

    name = "vae"
    paper = "arXiv:1312.6114"
    version = 1
    truncation: float = 1.0
    metadata: ClassVar[dict[str, str]] = {
        "family": "vae",
        "loss": "evidence lower bound, gaussian",
        "upsampling": "sub-pixel convolution 3x3",
        "downsampling": "strided convolution 4x4",
        "normalisation": "none",
        "nonlinearity": "tanh",
        "skips": "none",
    }

    def __init__(
        self,
        width: Annotated[int, "channels at half the image's side", Ge(1)] = 32,
        latent: Annotated[int, "standard normal values, as a prior", Ge(1)] = 64,
        batch: Annotated[int, "images per step", Ge(1)] = 32,
        rate: Annotated[float, "Adam's learning rate", Ge(0)] = 0.0005,
        mixture: Annotated[int, "Gaussians that the latents of samples follow", Ge(1)] = 20,
    ) -> None:
        self.width = width
        self.latent = latent
        self.batch = batch
        self.rate = rate
        self.mixture = mixture

    def train(self, pool: Images, *, steps: int, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        check_pool(self.name, pool, self.batch)
        self.side = pool.shape[-1]
        encoder = fresh(tower(self.side, self.width, 2 * self.latent, norm=False), rng)
        decoder = fresh(self.build(self.side), rng)
        both = nn.ModuleDict({"encoder": encoder, "decoder": decoder}).to(pool.device)
        optimiser = torch.optim.Adam(both.parameters(), lr=self.rate)

        def update(draw: Draw) -> dict[str, float]:
            real = draw()
            with mixed(real):
                mean, spread = encoder(real).float().chunk(2, dim=1)
                rebuilt = decoder(drawn(mean, spread, rng))
            error = (rebuilt.float() - real).square().mean()
            nats = divergence(mean, spread).mean()
            values = real[0].numel()
            bound = descend(optimiser, error.log() / 2 + nats / values)
            return {"bound": bound, "error": error.item(), "divergence": nats.item()}

        def preview(both: nn.ModuleDict) -> Images:
            return decode(
                both["decoder"].eval(), torch.randn(16, self.latent, generator=torch.Generator().manual_seed(0))
            )

        parts = {"optimiser": optimiser}
        averaged = train(
            update, both, parts, pool, steps=steps, batch=self.batch, rng=rng, monitor=monitor, preview=preview
        ).eval()
        self.network = averaged["decoder"]
        self.weights, self.means, self.factors = fit_mixture(averaged["encoder"], pool, self.mixture, rng)

    def sample(self, n: int, *, rng: torch.Generator) -> Images:
        mixture = self.weights, self.means, self.factors
        return decode(self.network, self.truncation * mixture_latents(mixture, n, rng))

    def save(self, folder: Path) -> None:
        mixture = {"weights": self.weights, "means": self.means, "factors": self.factors}
        save_network(folder, self.network, side=self.side, **mixture)

    def load(self, folder: Path, *, device: torch.device | str = "cpu") -> None:
        self.network, state = load_network(folder, lambda side: channels_last(self.build(side)), device)
        self.side = state["side"]
        self.weights, self.means, self.factors = (state[name].cpu() for name in ("weights", "means", "factors"))

    def build(self, side: int) -> nn.Sequential:
        """Return the untrained decoder: latents (n, latent) to images in [-1, 1]."""
        widths = channels(side, self.width)
        layers: list[nn.Module] = [
            nn.Linear(self.latent, widths[0] * SEED_SIDE**2),
            nn.Unflatten(1, (widths[0], SEED_SIDE, SEED_SIDE)),
        ]
        for before, after in zip(widths, [*widths[1:], 3], strict=True):
            layers += [nn.ReLU(), nn.Conv2d(before, 4 * after, 3, padding=1), nn.PixelShuffle(2)]
        return nn.Sequential(*layers, nn.Tanh())
