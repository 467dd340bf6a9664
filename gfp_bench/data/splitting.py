"""Splits drawn by shares: groups stay whole, and every source gets its share of each split. Torch-free."""

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gfp_bench.errors import DatasetError
from gfp_bench.files import sha256

_PASSES = 20  # of moves and swaps; a few do
_SWAPPED = 500  # groups that are tried against each other: many level out by themselves


def drawn_splits(index: pd.DataFrame, shares: Mapping[str, float], seed: int) -> "pd.Series[str]":
    """Return each image's split.

    Groups in the same sources are ranked by a hash of their name and dealt out by the shares as far as these go into
    whole groups. What is left is dealt, moved and swapped so that sources come as near to their shares as they can.

    Args:
        index: Has the columns ``group`` and ``source``.
        shares: Of each split.
        seed: Of the hash.

    Raises:
        DatasetError: If the shares are not positive or do not add up to 1.
    """
    if not shares or abs(sum(shares.values()) - 1) > 1e-9 or min(shares.values()) <= 0:
        raise DatasetError(f"shares are {dict(shares)}, expected positive numbers that add up to 1; change them")
    counts = pd.crosstab(index["group"], index["source"])  # images
    order = sorted(range(len(counts)), key=lambda row: sha256(f"{seed}/{counts.index[row]}".encode()))
    images = counts.to_numpy(np.int64)[order]
    part = np.array(list(shares.values()))
    split, left = _whole(images > 0, part)
    _level(split, left, images, part)
    names = dict(zip(counts.index[order], np.array(list(shares))[split], strict=True))
    return index["group"].map(names)


def missed_shares(index: pd.DataFrame, shares: Mapping[str, float]) -> list[str]:
    """Return a sentence for each source and split that is further from its share than one of the source's groups."""
    largest = index.groupby(["source", "group"]).size().groupby("source").max().to_dict()
    found = []
    for source, rows in index.groupby("source"):
        for split, share in shares.items():
            got, meant = int((rows["split"] == split).sum()), share * len(rows)
            if abs(got - meant) > largest[source] + 1e-9:
                found.append(
                    f"{source} has {got} of its {len(rows)} images in {split}, not {meant:.1f}: groups stay whole"
                )
    return found


def _whole(present: NDArray[np.bool_], part: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (g,) splits, -1 where none is dealt yet, and the rows of those; ``present`` is (g, s), in rank order."""
    split = np.full(len(present), -1)
    for rows in _strata(present):
        each = np.floor(part * len(rows) + 1e-9).astype(int)
        for number, (start, end) in enumerate(pairwise([0, *np.cumsum(each)])):
            split[rows[start:end]] = number
    return split, np.flatnonzero(split < 0)


def _strata(present: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    """Return the rows, in order, of the groups that have images of the same sources."""
    _, kind = np.unique(present, axis=0, return_inverse=True)
    order = np.argsort(kind, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(kind[order])) + 1)


def _level(
    split: NDArray[np.int64], left: NDArray[np.int64], images: NDArray[np.int64], part: NDArray[np.float64]
) -> None:
    """Give the ``left`` rows of ``split`` a split each, in place.

    What is made small is the sum, over sources and splits, of squared distances to the shares, each in images.
    """
    off = -part[:, None] * images.sum(axis=0)  # (k, s): how many too many
    for number in range(len(part)):
        off[number] += images[split == number].sum(axis=0)
    for row in left:
        split[row] = np.argmin((2 * off + images[row]) @ images[row])
        off[split[row]] += images[row]
    for _ in range(_PASSES):
        if not any(
            [_moved(split, row, images, off) for row in left.tolist()] + [_swapped(split, left[:_SWAPPED], images, off)]
        ):
            return


def _moved(split: NDArray[np.int64], row: int, images: NDArray[np.int64], off: NDArray[np.float64]) -> bool:
    """Move a group to the split where it does most good; returns whether it did any."""
    here, own = split[row], images[row]
    gains = 2 * (off - off[here]) @ own + 2 * own @ own
    gains[here] = 0
    best = int(np.argmin(gains))
    if gains[best] >= -1e-6:
        return False
    off[here] -= own
    off[best] += own
    split[row] = best
    return True


def _swapped(
    split: NDArray[np.int64], left: NDArray[np.int64], images: NDArray[np.int64], off: NDArray[np.float64]
) -> bool:
    """Swap pairs of groups in different splits as long as that does good; returns whether it did any."""
    done = False
    for row in left:
        here = split[row]
        change = images[left] - images[row]  # (m, s): what this split would gain and the other lose
        gains = 2 * ((off[here] - off[split[left]]) * change).sum(axis=1) + 2 * (change * change).sum(axis=1)
        gains[split[left] == here] = 0
        other = int(np.argmin(gains))
        if gains[other] < -1e-6:
            off[here] += change[other]
            off[split[left[other]]] -= change[other]
            split[[row, left[other]]] = split[[left[other], row]]
            done = True
    return done
