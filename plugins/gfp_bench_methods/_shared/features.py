"""From images to the float64 feature vectors that classical classifiers take."""

from collections.abc import Callable

import torch
from torch import Tensor

from gfp_bench import Images, ImageSet, Labels


def gather(features: Callable[[Images], Tensor], images: ImageSet) -> tuple[Tensor, Labels]:
    """Return the (n, d) float64 features of a whole set, read in batches, and its labels."""
    gathered = torch.empty(0)
    start = 0
    for batch, _ in images.batches():
        rows = features(batch)
        if not start:  # at once: small parts kept between large ones that are freed would leave holes in memory
            gathered = rows.new_empty((len(images), rows.shape[1]), dtype=torch.float64)
        gathered[start : start + len(rows)] = rows
        start += len(rows)
    return gathered, images.labels


def spread(features: Tensor) -> tuple[Tensor, Tensor]:
    """Return each column's mean and standard deviation, the latter 1 where a column never varies."""
    deviation = features.std(dim=0, correction=0)
    return features.mean(dim=0), torch.where(deviation > 0, deviation, 1.0)


def luma(images: Images) -> Tensor:
    """Return (n, h, w) int32 grey levels 0..255: BT.601 in 15-bit fixed point, as OpenCV converts RGB."""
    red, green, blue = images.int().unbind(dim=1)
    return (9798 * red + 19235 * green + 3735 * blue + 2**14) >> 15


def balanced_accuracy(predicted: Labels, labels: Labels) -> float:
    """Return the mean over the labels that occur of the share of right answers, 0 to 1."""
    counts = torch.bincount(labels)
    right = torch.bincount(labels[predicted == labels], minlength=len(counts))
    return float((right[counts > 0].double() / counts[counts > 0]).mean())
