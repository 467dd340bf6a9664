"""What variational autoencoders share: Gaussian posteriors, and a mixture of Gaussians fitted to their draws."""

from typing import TypeAlias

import torch
from torch import Tensor, nn

from gfp_bench import Images
from gfp_bench_generators._shared.sampling import batches
from gfp_bench_generators._shared.training import to_unit

Mixture: TypeAlias = tuple[Tensor, Tensor, Tensor]
"""The weights (k), means (k, d) and Cholesky factors (k, d, d) of k Gaussians."""


def drawn(mean: Tensor, spread: Tensor, rng: torch.Generator) -> Tensor:
    """Return a draw of each posterior; ``spread`` is the logarithm of its standard deviations."""
    return mean + spread.exp() * torch.randn(mean.shape, generator=rng).to(mean)


def divergence(mean: Tensor, spread: Tensor) -> Tensor:
    """Return (n,) Kullback-Leibler divergences from the standard normal prior (arXiv:1312.6114, appendix B)."""
    return (mean.square() + (2 * spread).exp() - 1 - 2 * spread).sum(dim=1) / 2


@torch.no_grad()
def fit_mixture(encoder: nn.Module, pool: Images, size: int, rng: torch.Generator) -> Mixture:
    """Return ``size`` Gaussians fitted to one posterior draw an image; at most as many as there are images."""
    from sklearn.mixture import (
        GaussianMixture,
    )  # here, since a second to load it is too long for all that only sample

    posteriors = (encoder(to_unit(part)).cpu().chunk(2, dim=1) for part in batches(pool))
    draws = torch.cat([drawn(mean, spread, rng) for mean, spread in posteriors])
    seed = int(torch.randint(2**31, (), generator=rng))
    fitted = GaussianMixture(min(size, len(pool)), reg_covar=1e-3, random_state=seed).fit(draws.numpy())
    factors = torch.linalg.cholesky(torch.from_numpy(fitted.covariances_))
    return torch.from_numpy(fitted.weights_).float(), torch.from_numpy(fitted.means_).float(), factors.float()


def mixture_latents(mixture: Mixture, n: int, rng: torch.Generator) -> Tensor:
    """Return (n, d) draws of a mixture."""
    weights, means, factors = mixture
    chosen = torch.multinomial(weights, n, replacement=True, generator=rng)
    noise = torch.randn(n, means.shape[1], 1, generator=rng)
    return means[chosen] + (factors[chosen] @ noise).squeeze(2)
