"""Squared Fréchet distances between normal distributions fitted to samples, and distances of images to the nearest."""

import math
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

_ROUNDING = 1e-10  # of a sum of singular values, as a share of it

Distances = Callable[[Int64[np.ndarray, "p m"], Int64[np.ndarray, "q 2"]], Float[np.ndarray, " q"]]
"""Squared Fréchet distances of q pairs among p samples, each given as the m rows that it holds."""


def moment_distances(
    features: Float[np.ndarray, "n d"], parts: Int64[np.ndarray, "p m"], pairs: Int64[np.ndarray, "q 2"]
) -> Float[np.ndarray, " q"]:
    """Return ``|mu1 - mu2|^2 + Tr(S1 + S2 - 2 (S1 S2)^(1/2))`` by eigenvalues of (d, d) matrices: for m >= d.

    The root's trace is that of ``(S1^(1/2) S2 S1^(1/2))^(1/2)``, which is symmetric, so all stays real.
    """
    first, second = pairs.T
    samples = features[parts]
    means = samples.mean(axis=1)
    centred = samples - means[:, None]
    covariances = centred.swapaxes(1, 2) @ centred / (parts.shape[1] - 1)
    values, vectors = np.linalg.eigh(covariances)
    roots = (vectors * np.sqrt(values.clip(0))[:, None]) @ vectors.swapaxes(1, 2)
    products = roots[first] @ covariances[second] @ roots[first]
    cross = np.sqrt(np.linalg.eigvalsh(products).clip(0)).sum(axis=1)
    traces = np.trace(covariances, axis1=1, axis2=2)
    shift = np.square(means[first] - means[second]).sum(axis=1)
    return _never_negative(shift + traces[first] + traces[second] - 2 * cross)


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
    lengths, overlap = own.mean(axis=(1, 2)), cross.mean(axis=(1, 2))
    traces = (np.trace(own, axis1=1, axis2=2) - m * lengths) / (m - 1)
    cross -= cross.mean(axis=2, keepdims=True)
    cross -= cross.mean(axis=1, keepdims=True)
    shift = lengths[first] + lengths[second] - 2 * overlap
    return _never_negative(shift + traces[first] + traces[second] - 2 * nuclear_norms(cross) / (m - 1))


def nuclear_norms(centred: Float[np.ndarray, "q m m"]) -> Float[np.ndarray, " q"]:
    """Return the sums of singular values of matrices whose rows and columns have mean 0.

    By eigenvalues of ``C C^T``, which cost two thirds of singular values. An eigenvalue is off by the rounding of the
    largest one, its root the more the smaller it is: where the sum would be off by more than `_ROUNDING`, singular
    values are taken after all. The eigenvalue that is 0 because rows are centred is left out.
    """
    values = torch.linalg.eigvalsh(torch.from_numpy(centred @ centred.swapaxes(1, 2))).numpy()[:, 1:]
    roots = np.sqrt(values.clip(np.finfo(np.float64).tiny))
    norms: Float[np.ndarray, " q"] = roots.sum(axis=1)
    rounding = np.finfo(np.float64).eps * values[:, -1] * (1 / roots).sum(axis=1)
    rough = rounding > _ROUNDING * norms
    if rough.any():
        norms[rough] = np.linalg.svd(centred[rough], compute_uv=False).sum(axis=1)
    return norms


def _never_negative(rounded: Float[np.ndarray, " q"]) -> Float[np.ndarray, " q"]:
    distances: Float[np.ndarray, " q"] = rounded.clip(0)
    return distances


def nearest(images: Tensor, others: Tensor) -> Tensor:
    """Return (n,) root-mean-square distances, in grey levels, from each of (n, ...) images to the nearest of others."""
    distances = torch.cdist(images.flatten(1).float(), others.flatten(1).float())
    return distances.amin(dim=1) / math.sqrt(images[0].numel())
