"""Squared Fréchet distances between normal distributions fitted to samples, and distances of images to the nearest."""

import math
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

_ROUNDING = 1e-10  # of a sum of singular values, as a share of it
_SAMPLED = 32  # one matrix in so many

Distances = Callable[[Int64[np.ndarray, "p m"], Int64[np.ndarray, "q 2"]], Float[np.ndarray, " q"]]
"""Squared Fréchet distances of q pairs among p samples, each given as the m rows that it holds."""


def moment_distances(
    features: Float[np.ndarray, "n d"], parts: Int64[np.ndarray, "p m"], pairs: Int64[np.ndarray, "q 2"]
) -> Float[np.ndarray, " q"]:
    """Return ``|mu1 - mu2|^2 + Tr(S1 + S2 - 2 (S1 S2)^(1/2))`` by singular values of (d, d) matrices: for m >= d.

    With X centred and X = QR, the root's trace is the nuclear norm of ``R1 R2^T / (m - 1)``.
    """
    first, second = pairs.T
    m, d = parts.shape[1], features.shape[1]
    samples = features[parts]
    means = samples.mean(axis=1)
    factors = torch.linalg.qr(torch.from_numpy(samples - means[:, None]), mode="r").R.numpy() / math.sqrt(m - 1)
    norms = nuclear_norms(factors[first] @ factors[second].swapaxes(1, 2), min(d, m - 1))
    traces = np.square(factors).sum(axis=(1, 2))
    shift = np.square(means[first] - means[second]).sum(axis=1)
    return _never_negative(shift + traces[first] + traces[second] - 2 * norms)


def gram_distances(
    gram: Float[np.ndarray, "n n"], parts: Int64[np.ndarray, "p m"], pairs: Int64[np.ndarray, "q 2"]
) -> Float[np.ndarray, " q"]:
    """Return the same from the rows' inner products, by singular values of (m, m) matrices: for m < d.

    With X centred, ``Tr (S1 S2)^(1/2)`` is the nuclear norm of ``X1 X2^T / (m - 1)``.
    """
    first, second = pairs.T
    (_, m), n = parts.shape, len(gram)
    own = gram.take(parts[:, :, None] * n + parts[:, None, :])  # one flat index: half the time of two
    cross = gram.take((parts * n)[first][:, :, None] + parts[second][:, None, :])
    mean = np.full(m, 1 / m)  # products with it take a third of the time of np.mean
    lengths, across, down = own @ mean @ mean, cross @ mean, mean @ cross
    overlap = across @ mean
    traces = (np.trace(own, axis1=1, axis2=2) - m * lengths) / (m - 1)
    cross -= across[:, :, None]
    cross -= (down - overlap[:, None])[:, None, :]
    shift = lengths[first] + lengths[second] - 2 * overlap
    return _never_negative(shift + traces[first] + traces[second] - 2 * nuclear_norms(cross, m - 1) / (m - 1))


def nuclear_norms(matrices: Float[np.ndarray, "q k k"], rank: int) -> Float[np.ndarray, " q"]:
    """Return the sums of singular values of matrices of at most this rank.

    By eigenvalues of ``A A^T``, which cost two thirds of singular values. An eigenvalue is off by the rounding of the
    largest one, its root the more the smaller it is: where the sum would be off by more than `_ROUNDING`, singular
    values are taken after all, and at once where most matrices of a sample are like that.
    """
    norms, rough = np.empty(len(matrices)), np.ones(len(matrices), dtype=bool)
    if _roots(matrices[::_SAMPLED], rank)[1].mean() <= 0.5:
        norms, rough = _roots(matrices, rank)
    if rough.any():
        norms[rough] = np.linalg.svd(matrices[rough], compute_uv=False).sum(axis=1)
    return norms


def _roots(matrices: Float[np.ndarray, "q k k"], rank: int) -> tuple[Float[np.ndarray, " q"], Bool[np.ndarray, " q"]]:
    """Return the sums by eigenvalues, and which of them rounding leaves too rough; those that are 0 are left out."""
    values = torch.linalg.eigvalsh(torch.from_numpy(matrices @ matrices.swapaxes(1, 2))).numpy()[:, -rank:]
    roots = np.sqrt(values.clip(np.finfo(np.float64).tiny))
    norms: Float[np.ndarray, " q"] = roots.sum(axis=1)
    rounding = np.finfo(np.float64).eps * values[:, -1] * (1 / roots).sum(axis=1)
    return norms, rounding > _ROUNDING * norms


def _never_negative(rounded: Float[np.ndarray, " q"]) -> Float[np.ndarray, " q"]:
    distances: Float[np.ndarray, " q"] = rounded.clip(0)
    return distances


def nearest(images: Tensor, others: Tensor) -> Tensor:
    """Return (n,) root-mean-square distances, in grey levels, from each of (n, ...) images to the nearest of others."""
    distances = torch.cdist(images.flatten(1).float(), others.flatten(1).float())
    return distances.amin(dim=1) / math.sqrt(images[0].numel())
