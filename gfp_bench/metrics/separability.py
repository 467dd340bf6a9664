"""How far apart the sources lie in a fingerprint space: Frechet distance between sources over that within them.

Source: Yu et al., arXiv:1811.08180, appendix A; Song et al., arXiv:2402.10401, appendix F.4.
Differs from the papers: every source counts with the same number of images, and `fdr_equal` is added. The papers set
all images of two sources against halves of one; a Frechet distance shrinks as the number of images grows, so without
any signal their ratio lies between 1/2 (n >> d) and 1 (n << d), and it is comparable at equal n and d only. Time grows
with the square of the number of sources, so of more than 20 sources 20 are drawn, the same ones for every method.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import combinations

import numpy as np
from jaxtyping import Float, Int64, Integer

from gfp_bench.contracts.task import COMPARED
from gfp_bench.errors import PluginError
from gfp_bench.metrics.distances import Distances, gram_distances, moment_distances

LIMIT = 200  # images per source
HALVINGS = 20
PERMUTATIONS = 100
_NOISE = 1e-12  # what rounding alone leaves of a distance, relative to the features' spread


@dataclass(frozen=True)
class Separability:
    """FD ratios; None where undefined.

    Attributes:
        n: Images per source that were used.
        d: Dimension of the fingerprints.
        fdr: The papers' ratio: all n images of a source between sources, halves of n within.
        fdr_equal: The same with halves on both sides, so that it is 1 without any signal.
        permuted_low: 2.5th percentile of ``fdr_equal`` under permuted labels.
        permuted_high: 97.5th percentile likewise.
        reason: Why values are undefined, or "".
    """

    n: int
    d: int
    fdr: float | None = None
    fdr_equal: float | None = None
    permuted_low: float | None = None
    permuted_high: float | None = None
    reason: str = ""


def separability(
    features: Float[np.ndarray, "n d"],
    labels: Integer[np.ndarray, " n"],
    n_sources: int,
    *,
    seed: int,
    permutations: int = PERMUTATIONS,
    tick: Callable[[], None] = lambda: None,
) -> Separability:
    """Return the FD ratios of features, the same for the same arguments.

    Of more than `COMPARED` sources so many are drawn, and the others do not count.

    Args:
        features: One row per image.
        labels: Source index of each row.
        n_sources: How many sources there are.
        seed: Of the draw of images, the halvings and the permutations.
        permutations: How many the range comes from; 0 leaves it out.
        tick: Called again and again, as a sign of life.

    Raises:
        PluginError: If a feature is not finite.
    """
    if not np.isfinite(features).all():
        raise PluginError(f"fingerprints hold {int((~np.isfinite(features)).sum())} values that are not finite")
    rng = np.random.Generator(np.random.Philox(seed))
    rows = _draw(labels, n_sources, rng)
    if n_sources > COMPARED:
        rows = rows[np.sort(np.argsort(rng.random(n_sources))[:COMPARED])]
    (compared, n), d = rows.shape, features.shape[1]
    if n_sources < 2 or n < 4:
        return Separability(n, d, reason=f"{n_sources} sources of {n} images, needs 2 of 4 or more")
    chosen = features[rows.ravel()].astype(np.float64, copy=False)  # a copy already; large, so no other is made
    largest = _largest(chosen)
    chosen -= chosen.mean(axis=0)  # distances stay; Gram entries would lose digits to a common offset
    if _largest(chosen) <= _NOISE * largest:
        return Separability(n, d, reason="0/0: all fingerprints are equal")
    return _ratios(chosen, compared, rng, permutations, tick)


def _largest(values: Float[np.ndarray, "n d"]) -> float:
    return max(float(values.max()), -float(values.min()))


def _draw(labels: Integer[np.ndarray, " n"], n_sources: int, rng: np.random.Generator) -> Int64[np.ndarray, "s k"]:
    """Return as many rows of every source as the smallest has, at most `LIMIT`, in ascending order."""
    order = np.argsort(rng.random(len(labels)))  # not rng.permutation: only raw draws are stable across NumPy versions
    size = min(LIMIT, *np.bincount(labels, minlength=n_sources).tolist())
    return np.stack([np.sort(order[labels[order] == source][:size]) for source in range(n_sources)])


def _ratios(
    centred: Float[np.ndarray, "n d"],
    n_sources: int,
    rng: np.random.Generator,
    permutations: int,
    tick: Callable[[], None],
) -> Separability:
    images, d = centred.shape
    n = images // n_sources
    if n // 2 >= d:
        distances: Distances = partial(moment_distances, centred)
    else:
        distances = partial(gram_distances, centred @ centred.T)
    sources = np.arange(images).reshape(n_sources, n)
    noise = _NOISE * float(np.vdot(centred, centred)) / images

    def halve(parts: Int64[np.ndarray, "s n"]) -> tuple[float, float]:
        tick()
        return _halve(distances, parts, rng)

    halvings = [halve(sources) for _ in range(HALVINGS)]
    between, within = np.mean(halvings, axis=0).tolist()
    if within <= noise:
        return Separability(n, d, reason=f"{'0' if between <= noise else 'x'}/0: no source varies within itself")
    whole = float(distances(sources, _pairs(n_sources)).mean())

    shuffles = [np.argsort(rng.random(images)).reshape(sources.shape) for _ in range(permutations)]
    permuted = np.array([halve(shuffled) for shuffled in shuffles]).reshape(-1, 2)
    low = high = None
    if permutations and permuted[:, 1].min() > noise:
        low, high = np.quantile(permuted[:, 0] / permuted[:, 1], [0.025, 0.975]).tolist()
    reason = "range: x/0 under permuted labels" if permutations and low is None else ""
    return Separability(n, d, whole / within, between / within, low, high, reason)


def _halve(distances: Distances, sources: Int64[np.ndarray, "s n"], rng: np.random.Generator) -> tuple[float, float]:
    """Return mean distances between first halves of different sources and between the two halves of each."""
    count, n = sources.shape
    shuffled = np.take_along_axis(sources, np.argsort(rng.random((count, n)), axis=1), axis=1)
    halves = shuffled[:, : n // 2 * 2].reshape(2 * count, n // 2)
    between, first = _pairs(count) * 2, np.arange(0, 2 * count, 2)
    found = distances(halves, np.concatenate([between, np.stack([first, first + 1], axis=1)]))
    return float(found[: len(between)].mean()), float(found[len(between) :].mean())


def _pairs(count: int) -> Int64[np.ndarray, "q 2"]:
    return np.array(list(combinations(range(count), 2)), dtype=np.int64)
