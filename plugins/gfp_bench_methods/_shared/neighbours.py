"""Exact nearest neighbours among 8-bit images, and the vote of neighbours."""

import torch
import torch.nn.functional as F
from torch import Tensor

from gfp_bench import Scores

_REFERENCES = 4096  # compared at once
_VALUES = 1024  # summed at once: in -128..127 their products add up to 2^24 at most, which float32 holds exactly
_NEVER = torch.iinfo(torch.int64).max


def nearest(queries: Tensor, references: Tensor, k: int, without: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the ``k`` nearest references of every query, nearest first, the lower index where distances are equal.

    Args:
        queries: (n, d) uint8.
        references: (m, d) uint8.
        k: How many, 1 to m, or to m - 1 with ``without``.
        without: (n,) the index of a reference that each query must not find, or -1.

    Returns:
        Squared Euclidean distances (n, k) int64, exact, and indices (n, k) int64.
    """
    count = len(references)
    best = torch.empty((len(queries), 0), dtype=torch.int64, device=queries.device)
    for start in range(0, count, _REFERENCES):
        block = references[start : start + _REFERENCES]
        index = torch.arange(start, start + len(block), device=queries.device)
        keys = squared_distances(queries, block) * count + index  # sorts by distance, then by index
        if without is not None:
            keys = keys.masked_fill(index == without[:, None], _NEVER)
        best = torch.cat([best, keys], dim=1)
        best = best.topk(min(k, best.shape[1]), dim=1, largest=False).values
    return best // count, best % count


def squared_distances(queries: Tensor, references: Tensor) -> Tensor:
    """Return the exact squared Euclidean distances (n, m) int64 of (n, d) and (m, d) uint8 rows."""
    total = torch.zeros(len(queries), len(references), dtype=torch.float64, device=queries.device)
    for start in range(0, queries.shape[1], _VALUES):
        a, b = (rows[:, start : start + _VALUES].float() - 128 for rows in (queries, references))
        squares = (part.square().sum(dim=1).double() for part in (a, b))
        total += next(squares)[:, None] + next(squares) - 2 * (a @ b.T).double()
    return total.long()


def ranked_votes(distances: Tensor, voices: Tensor, n_sources: int) -> Scores:
    """Return (n, s) votes, minus each source's rank by mean distance over s: one vote outweighs every rank.

    Args:
        distances: (n, k) squared.
        voices: (n, k) the voters' sources.
        n_sources: How many sources there are.
    """
    member = F.one_hot(voices, n_sources).double()
    votes = member.sum(dim=1)
    sums = (member * distances.double().sqrt()[:, :, None]).sum(dim=1)
    means = torch.where(votes > 0, sums / votes, torch.inf)
    ranks = means.argsort(dim=1, stable=True).argsort(dim=1)
    return (votes - ranks / n_sources).float()
