"""VQ-VAE, narrow: an autoencoder through a map of codes from a learned codebook, then a PixelCNN over these maps.

Source: van den Oord, Vinyals and Kavukcuoglu, "Neural discrete representation learning", NeurIPS 2017,
arXiv:1711.00937, sections 3 and 4.1, appendix A.1.
Differs from the paper: 64 channels and not 256, 256 codes of 32 values and not 512 of 64; entries start as encodings of
the first batch and, if hardly used, begin anew as those of a later one; bfloat16 where faster. The reconstruction's
likelihood is a Gaussian of fixed variance: the mean squared error of values in [-1, 1] has weight 1. The prior is one
stack of gated layers (arXiv:1606.05328) without labels. Autoencoder and prior are averaged over their own steps; the
prior learns the averaged encoder's codes.
"""

import math
from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from annotated_types import Ge, Interval
from torch import Tensor, nn
from torch.optim import Optimizer

from gfp_bench import SILENT, Images, Monitor, Register, hookimpl, to_uint8
from gfp_bench_generators._shared.networks import channels, fresh
from gfp_bench_generators._shared.pixelcnn import PixelCNN
from gfp_bench_generators._shared.quantisation import Autoencoder, Codebook, straight_through
from gfp_bench_generators._shared.refusals import check_pool
from gfp_bench_generators._shared.sampling import OneNetwork, decode
from gfp_bench_generators._shared.stages import Stage, stages, train_stage
from gfp_bench_generators._shared.training import Draw, descend, mixed, to_unit

_PREVIEWS = 16  # images


@hookimpl
def register_generators(register: Register) -> None:
    """Offer `VQVAE`."""
    register(VQVAE)


class VQVAE(OneNetwork):
    """Two stages of training: the autoencoder and its codebook, then the distribution of codes."""

    name = "vq_vae"
    paper = "arXiv:1711.00937"
    version = 1
    metadata: ClassVar[dict[str, str]] = {
        "family": "vae",
        "loss": "squared error, vector quantisation",
        "upsampling": "transposed convolution 4x4",
        "downsampling": "strided convolution 4x4",
        "normalisation": "none",
        "nonlinearity": "none",
        "skips": "residual",
    }

    def __init__(
        self,
        width: Annotated[int, "channels of the autoencoder; the paper's is 256", Ge(4)] = 64,
        codes: Annotated[int, "entries of the codebook; the paper's is 512", Ge(2)] = 256,
        values: Annotated[int, "numbers in an entry; the paper's is 64", Ge(1)] = 32,
        factor: Annotated[Literal[2, 4, 8], "the image's side against that of the map of codes"] = 4,
        codebook: Annotated[
            Literal["ema", "loss"],
            "entries follow their encodings' moving average (appendix A.1) or a loss (eq. 3)",
        ] = "ema",
        decay: Annotated[float, "weight that the moving average keeps, per step", Interval(ge=0, le=1)] = 0.99,
        least: Annotated[
            float,
            "part of the mean number of encodings below which an entry begins anew; the paper's is 0",
            Interval(ge=0, le=1),
        ] = 0.1,
        commitment: Annotated[
            float,
            "weight of the encodings' distance from their entries, the paper's beta",
            Interval(ge=0, le=1e6),
        ] = 0.25,
        batch: Annotated[int, "images per step; the paper's is 128", Ge(1)] = 32,
        rate: Annotated[float, "Adam's learning rate for the autoencoder; the paper's is 0.0002", Ge(0)] = 0.0005,
        share: Annotated[
            float,
            "share of the steps that the autoencoder takes; the prior has the rest",
            Interval(ge=0, le=1),
        ] = 0.5,
        prior_width: Annotated[int, "channels of the PixelCNN", Ge(1)] = 64,
        prior_layers: Annotated[int, "gated layers of the PixelCNN", Ge(1)] = 6,
        reach: Annotated[int, "rows above and columns to the left that one layer sees", Ge(1)] = 2,
        prior_rate: Annotated[float, "Adam's learning rate for the prior", Ge(0)] = 0.0005,
    ) -> None:
        self.width = width
        self.codes = codes
        self.values = values
        self.factor = factor
        self.codebook = codebook
        self.decay = decay
        self.least = least
        self.commitment = commitment
        self.batch = batch
        self.rate = rate
        self.share = share
        self.prior_width = prior_width
        self.prior_layers = prior_layers
        self.reach = reach
        self.prior_rate = prior_rate

    def train(self, pool: Images, *, steps: int, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        """Learn from a pool of at least one batch of square images, their side a power of two from 8 up.

        A training that is lengthened once the prior is begun gives all further steps to the prior.

        Raises:
            UsageError: If the pool does not fit.
            FloatingPointError: If the training diverges; the message names the step.
        """
        check_pool(self.name, pool, self.batch)
        self.side = pool.shape[-1]
        channels(self.side, 1)  # refuses other sides
        autoencoder, prior = self._networks()
        for network in (autoencoder.encoder, autoencoder.decoder, prior.layers, prior.head):
            fresh(network, rng)
        nn.init.normal_(prior.embedding.weight, generator=rng)
        autoencoder.to(pool.device), prior.to(pool.device)
        for stage in stages(monitor, [math.ceil(self.share * steps), steps]):
            if stage.number == 0:
                autoencoder = self._train_autoencoder(autoencoder, pool, stage, rng)
            else:
                prior = self._train_prior(prior, autoencoder, pool, stage, rng)
        self.network = Sampler(prior, autoencoder, self.side // self.factor)

    def sample(self, n: int, *, rng: torch.Generator) -> Images:
        return decode(self.network, self._latents(n, rng))

    def build(self, side: int) -> nn.Module:
        """Return the untrained prior, codebook and decoder: latents in [0, 1), one per code, to images."""
        autoencoder, prior = self._networks()
        return Sampler(prior, autoencoder, side // self.factor)

    def _networks(self) -> tuple[Autoencoder, PixelCNN]:
        autoencoder = Autoencoder(self.width, Codebook(self.codes, self.values), self.factor)
        return autoencoder, PixelCNN(self.codes, self.prior_width, self.prior_layers, self.reach)

    def _train_autoencoder(
        self, autoencoder: Autoencoder, pool: Images, stage: Stage, rng: torch.Generator
    ) -> Autoencoder:
        codebook = autoencoder.codebook
        codebook.entries.requires_grad_(self.codebook == "loss")
        learned = [weights for weights in autoencoder.parameters() if weights.requires_grad]
        optimiser = torch.optim.Adam(learned, lr=self.rate)

        def update(draw: Draw) -> dict[str, float]:
            real = draw()
            with mixed(real):
                encodings = autoencoder.encoder(real).float()
            codebook.begin(encodings, rng)
            codes = codebook.nearest(encodings)
            entries = codebook(codes)
            with mixed(real):
                rebuilt = autoencoder.decoder(straight_through(encodings, entries)).float()
            error = (rebuilt - real).square().mean()
            loss = error + self.commitment * (encodings - entries.detach()).square().mean()
            if self.codebook == "loss":
                loss = loss + (entries - encodings.detach()).square().mean()
            losses = {"loss": descend(optimiser, loss), "error": error.item()}
            codebook.follow(encodings, codes, self.decay, move=self.codebook == "ema")
            codebook.renew(encodings, self.least, rng)
            return {**losses, "used": len(torch.bincount(codes.flatten()).nonzero())}

        def preview(copied: Autoencoder) -> Images:
            """Return images of the pool as they come back: there is no prior yet to draw codes from."""
            with torch.no_grad():
                return to_uint8((copied(to_unit(pool[:_PREVIEWS])) + 1) * 127.5)

        parts: dict[str, nn.Module | Optimizer] = {"optimiser": optimiser}
        return train_stage(stage, update, autoencoder, parts, pool, batch=self.batch, rng=rng, preview=preview)

    def _train_prior(
        self, prior: PixelCNN, autoencoder: Autoencoder, pool: Images, stage: Stage, rng: torch.Generator
    ) -> PixelCNN:
        optimiser = torch.optim.Adam(prior.parameters(), lr=self.prior_rate)

        def update(draw: Draw) -> dict[str, float]:
            real = draw()
            with torch.no_grad(), mixed(real):
                encodings = autoencoder.encoder(real).float()
            codes = autoencoder.codebook.nearest(encodings)
            with mixed(real):
                logits = prior(codes).float()
            return {"nats": descend(optimiser, F.cross_entropy(logits, codes))}

        def preview(copied: PixelCNN) -> Images:
            latents = self._latents(_PREVIEWS, torch.Generator().manual_seed(0))
            return decode(Sampler(copied, autoencoder, self.side // self.factor), latents)

        parts: dict[str, nn.Module | Optimizer] = {"autoencoder": autoencoder, "prior_optimiser": optimiser}
        return train_stage(stage, update, prior, parts, pool, batch=self.batch, rng=rng, preview=preview)

    def _latents(self, n: int, rng: torch.Generator) -> Tensor:
        return torch.rand(n, (self.side // self.factor) ** 2, generator=rng)


class Sampler(nn.Module):
    """Latents (n, codes per image) in [0, 1), a share of each code's distribution, to images, real ones in [-1, 1]."""

    def __init__(self, prior: PixelCNN, autoencoder: Autoencoder, side: int) -> None:
        super().__init__()
        self.prior, self.codebook, self.decoder, self.side = prior, autoencoder.codebook, autoencoder.decoder, side

    def forward(self, latents: Tensor) -> Tensor:
        images: Tensor = self.decoder(self.codebook(self.prior.draw(latents.reshape(-1, self.side, self.side))))
        return images
