"""Gaussian blur with a random kernel size.

Source: Yu et al., ICCV 2019, arXiv:1811.08180, section 4.4: kernel sizes 1, 3, 5, 7, 9; the deviation is not said and
read as OpenCV's rule for a size. Frank et al., ICML 2020, arXiv:2003.08685, use sizes 3 to 9 and, for every size, a
deviation of 4: ``smallest=3,sigma=frank4``.

The filter is defined by 8-bit fixed-point kernels, borders mirrored without repeating the edge, and one rounding after
both passes. OpenCV's filter of 8-bit images does just that.
"""

import math
from typing import Annotated, Literal

import cv2
import numpy as np
import torch
from annotated_types import Interval
from numpy.typing import NDArray
from torch import Tensor

from gfp_bench import ImageRng, Images, Perturbation, Register, hookimpl
from gfp_bench_attacks._shared.settings import check_odd, check_order
from gfp_bench_attacks._shared.threads import by_parameters, in_parts, take

_LARGEST = 31  # size from which 256ths are too coarse for a Gaussian
_OPENCV = {1: (256,), 3: (64, 128, 64), 5: (16, 64, 96, 64, 16), 7: (8, 28, 56, 72, 56, 28, 8)}  # its binomial tables


@hookimpl
def register_attacks(register: Register) -> None:
    """Offer `Blur`."""
    register(Blur)


class Blur(Perturbation):
    """Filters with one kernel per image, its size uniform among the odd ones."""

    name = "blur"
    version = 1

    def __init__(
        self,
        smallest: Annotated[int, "side of the smallest kernel, odd, in pixels", Interval(ge=1, le=_LARGEST)] = 1,
        largest: Annotated[int, "side of the largest kernel, odd, in pixels", Interval(ge=1, le=_LARGEST)] = 9,
        sigma: Annotated[
            float | Literal["opencv0", "frank4"],
            "deviation in pixels, or a rule: opencv0 (by the kernel's size) or frank4 (always 4)",
            Interval(ge=0.1, le=100),
        ] = "opencv0",
    ) -> None:
        check_odd(smallest=smallest, largest=largest)
        check_order(smallest=smallest, largest=largest)
        self.smallest, self.largest = smallest, largest
        self.sigma = sigma

    def perturb(self, images: Images, rng: ImageRng) -> Images:
        """Return blurred images; a kernel of size 1 changes nothing."""
        sizes = 2 * rng.integers(self.smallest // 2, self.largest // 2) + 1
        if images.is_cuda:
            return filter_tensor(images, sizes, self.sigma)

        def attack(chosen: Tensor, size: list[int]) -> Images:
            return _filter(take(images, chosen), size[0], self.sigma)

        return by_parameters(images, sizes[:, None], attack, own_threads=True)


def _filter(images: Images, size: int, sigma: float | str) -> Images:
    """Return filtered images: all planes in one wide picture, for long rows, with a mirrored border between them."""
    if size == 1:
        return images
    count, _, height, width = images.shape
    radius = size // 2
    planes = images.numpy().reshape(-1, height, width).transpose(1, 0, 2)
    places = _mirrored(width, radius)
    wide = np.empty((height, 3 * count, width + 2 * radius), dtype=np.uint8)
    wide[..., radius : radius + width] = planes
    wide[..., :radius] = planes[..., places[:radius]]
    wide[..., -radius:] = planes[..., places[-radius:]]
    blurred = cv2.GaussianBlur(wide.reshape(height, -1), (size, size), _deviation(size, sigma)).reshape(wide.shape)
    return torch.from_numpy(blurred[..., radius : radius + width].transpose(1, 0, 2)).reshape(images.shape)


def _mirrored(size: int, radius: int) -> NDArray[np.int64]:
    """Return the places that a side takes its values from, from ``radius`` before to ``radius`` after it."""
    period = max(1, 2 * (size - 1))
    place = np.arange(-radius, size + radius) % period
    return np.minimum(place, period - place) % size


def _deviation(size: int, sigma: float | str) -> float:
    """Return a kernel's deviation in pixels; 0 stands for OpenCV's table of that size."""
    if isinstance(sigma, float | int):
        return sigma
    if sigma == "frank4":
        return 4.0
    return 0.0 if size in _OPENCV else 0.3 * ((size - 1) / 2 - 1) + 0.8  # versions 4 and 5 differ in the table of 9


def filter_tensor(images: Images, sizes: Tensor, sigma: float | str) -> Images:
    """Return each image filtered by the kernel of its size: `Blur`'s definition, on the images' device.

    Args:
        images: Of any height and width.
        sizes: (n,) odd kernel sizes.
        sigma: As `Blur` takes it.
    """
    largest = int(sizes.max())
    tables = torch.tensor([_centred(size, largest, sigma) for size in range(1, largest + 1, 2)], dtype=torch.int32)
    weights = tables.to(images.device)[sizes // 2]

    def attack(part: slice) -> Images:
        sums = _weighted(_weighted(images[part].int(), weights[part], dim=3), weights[part], dim=2)
        return ((sums + (1 << 15)) >> 16).to(torch.uint8)

    return in_parts(images, attack, bytes_a_value=8)


def _weighted(values: Tensor, weights: Tensor, dim: int) -> Tensor:
    """Return sums of neighbours along ``dim``, weighted by each image's row of ``weights``."""
    size, radius = values.shape[dim], weights.shape[1] // 2
    mirrored = values.index_select(dim, torch.from_numpy(_mirrored(size, radius)).to(values.device))
    sums = torch.zeros_like(values)
    for step, weight in enumerate(weights.T):
        sums.addcmul_(mirrored.narrow(dim, step, size), weight[:, None, None, None])
    return sums


def _centred(size: int, largest: int, sigma: float | str) -> list[int]:
    margin = [0] * ((largest - size) // 2)
    return [*margin, *fixed_kernel(size, sigma), *margin]


def fixed_kernel(size: int, sigma: float | str) -> list[int]:
    """Return the weights of a kernel in 256ths; they sum to 256, rounding errors carried inwards."""
    deviation = _deviation(size, sigma)
    if size == 1 or not deviation:
        return list(_OPENCV[size])
    bell = [math.exp(-((place - size // 2) ** 2) / (2 * deviation**2)) for place in range(size)]
    side, error = [], 0.0
    for weight in bell[: size // 2]:
        exact = 256 * weight / sum(bell) + error
        side.append(round(exact))
        error = exact - side[-1]
    return [*side, 256 - 2 * sum(side), *reversed(side)]
