"""What an image shows, whatever its file: a digest of its pixels, and a hash that alike images share. Torch-free.

Source of the hash: the sign pattern of low DCT coefficients, as in pHash (Zauner, 2010, section 3.2).
"""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import dct
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from gfp_bench.files import sha256

NEAR = 4  # bits of 64 in which near duplicates may differ; at least one of five parts is then the same
_PARTS, _PART = 5, 13  # bits of each
_SIDE, _LOW = 32, 8
_BASIS = dct(np.eye(_SIDE), axis=0, norm="ortho")[:_LOW]
_ROWS = 256  # hashes that are compared with all of their part at a time


def pixel_digest(image: NDArray[np.uint8]) -> str:
    """Return the sha256 of a (3, h, w) image's shape and values, hexadecimal."""
    return sha256(f"{image.shape}".encode() + np.ascontiguousarray(image).tobytes())


def perceptual_hash(image: NDArray[np.uint8]) -> str:
    """Return 64 bits, as 16 hexadecimal digits, of what a (3, h, w) image shows at large.

    They say which of the 8 x 8 lowest DCT coefficients of the image, grey and 32 x 32, are above their median.
    """
    grey = Image.fromarray(image.transpose(1, 2, 0)).convert("L").resize((_SIDE, _SIDE), Image.Resampling.BOX)
    low = (_BASIS @ np.asarray(grey, dtype=np.float64) @ _BASIS.T).ravel()
    low[0] = 0  # brightness
    return np.packbits(low > np.median(low)).tobytes().hex()


def alike(hashes: list[str]) -> NDArray[np.int64]:
    """Return (n,) labels: images whose hashes differ by at most `NEAR` bits, or by a chain of such, have one label."""
    unique, members = np.unique(np.array([int(text, 16) for text in hashes], dtype=np.uint64), return_inverse=True)
    found = np.concatenate([_pairs(unique, part) for part in range(_PARTS)])
    graph = coo_array((np.ones(len(found), np.int8), (found[:, 0], found[:, 1])), shape=(len(unique),) * 2)
    labels: NDArray[np.int64] = connected_components(graph, directed=False)[1].astype(np.int64)[members]
    return labels


def _pairs(hashes: NDArray[np.uint64], part: int) -> NDArray[np.int64]:
    """Return (m, 2) the near pairs among those that agree in one of the five parts."""
    keys = (hashes >> np.uint64(_PART * part) & np.uint64(2**_PART - 1)).astype(np.int64)
    order = np.argsort(keys, kind="stable")
    ends = np.flatnonzero(np.diff(keys[order], prepend=-1, append=-1))
    found = [np.empty((0, 2), np.int64)]
    for start, end in pairwise(ends):
        for row in range(start, end, _ROWS) if end - start > 1 else ():
            some = order[row : min(row + _ROWS, end)]
            differing = np.bitwise_count(hashes[some, None] ^ hashes[None, order[start:end]])
            left, right = np.nonzero(differing <= NEAR)
            found.append(np.stack([some[left], order[start + right]], axis=1))
    return np.concatenate(found)
