"""Pillow's resampling of 8-bit images on tensors: 22-bit fixed-point weights, rounded to a grey level after each pass.

Source: Pillow's documentation of its filters and the arithmetic of its `Image.resize`. Sums run as float64 products of
whole numbers below 2**53, so they are exact in any order. OpenCV's bicubic filter is OpenCV's own, on the CPU.
"""

import functools
import math
from collections.abc import Callable

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from gfp_bench import Images

_BITS = 22
OPENCV = "opencv"  # its bicubic filter, of another sharpness than Pillow's, and not smoothing where it shrinks


def _bilinear(x: float) -> float:
    return max(0.0, 1 - abs(x))


def _bicubic(x: float) -> float:
    x, a = abs(x), -0.5
    if x < 1:
        return ((a + 2) * x - (a + 3)) * x * x + 1
    return (((x - 5) * x + 8) * x - 4) * a if x < 2 else 0.0


def _lanczos(x: float) -> float:
    return _sinc(x) * _sinc(x / 3) if -3 <= x < 3 else 0.0


def _sinc(x: float) -> float:
    return math.sin(x * math.pi) / (x * math.pi) if x else 1.0


FILTERS: dict[str, tuple[Callable[[float], float], float]] = {  # with the radius, in source pixels, outside of which 0
    "bilinear": (_bilinear, 1.0),
    "bicubic": (_bicubic, 2.0),
    "lanczos": (_lanczos, 3.0),
}


def resize(images: Images, height: int, width: int, kernel: str = "bicubic") -> Tensor:
    """Return (n, 3, height, width) uint8 images, by the library on the CPU and by Pillow's arithmetic elsewhere.

    Across first, then down. Pillow itself does so, except that version 13 goes down first where it shrinks mostly so.

    Args:
        images: Of any height and width.
        height: In pixels.
        width: In pixels.
        kernel: The name of one of `FILTERS`, or `OPENCV`.
    """
    if kernel == OPENCV:
        return resize_opencv(images, height, width)
    return (resize_tensor if images.is_cuda else resize_pillow)(images, height, width, kernel)


def resize_pillow(images: Images, height: int, width: int, kernel: str) -> Tensor:
    """Return `resize` by two calls: all rows in one tall picture, then all columns in one wide picture."""
    count, _, before, _ = images.shape
    planes = 3 * count
    tall = _pillow(images.numpy().reshape(planes * before, -1), width, planes * before, kernel)
    wide = tall.reshape(planes, before, width).transpose(1, 0, 2).reshape(before, -1)
    resized = _pillow(wide, planes * width, height, kernel).reshape(height, planes, width)
    return torch.from_numpy(np.array(resized.transpose(1, 0, 2))).reshape(count, 3, height, width)


def _pillow(pixels: NDArray[np.uint8], width: int, height: int, kernel: str) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling[kernel.upper()]))


def resize_opencv(images: Images, height: int, width: int) -> Tensor:
    """Return images resized by OpenCV's bicubic filter; those of a GPU go to the CPU and back."""
    planes = images.flatten(0, 1).cpu().numpy()
    resized = [cv2.resize(plane, (width, height), interpolation=cv2.INTER_CUBIC) for plane in planes]
    return torch.from_numpy(np.stack(resized)).view(len(images), 3, height, width).to(images.device)


def resize_tensor(images: Images, height: int, width: int, kernel: str) -> Tensor:
    """Return `resize` by matrix products, on the images' device."""
    across = weights(images.shape[3], width, kernel).to(images.device)
    down = weights(images.shape[2], height, kernel).to(images.device)
    wide = _grey_levels(images.double() @ across.T)
    return _grey_levels(down @ wide).to(torch.uint8)


def _grey_levels(sums: Tensor) -> Tensor:
    return sums.mul_(2.0**-_BITS).add_(0.5).floor_().clamp_(0, 255)


@functools.lru_cache(maxsize=1024)
def weights(before: int, after: int, kernel: str) -> Tensor:
    """Return the (after, before) float64 matrix of whole numbers that brings a side to a new length."""
    function, radius = FILTERS[kernel]
    scale = before / after
    stretch = max(1.0, scale)  # shrinking takes the mean of all that falls into a pixel
    matrix = torch.zeros(after, before, dtype=torch.float64)
    for row in range(after):
        centre = (row + 0.5) * scale
        first = max(0, int(centre - radius * stretch + 0.5))
        last = min(before, int(centre + radius * stretch + 0.5))
        taps = [function((place - centre + 0.5) / stretch) for place in range(first, last)]
        matrix[row, first:last] = torch.tensor([_fixed(tap / sum(taps)) for tap in taps], dtype=torch.float64)
    return matrix


def _fixed(weight: float) -> int:
    return int(weight * 2**_BITS + math.copysign(0.5, weight))
