"""Median filter with a random window.

Source: the median filter of image forensics' robustness tests; its 8-bit result is exact whoever computes it.
"""

from typing import Annotated

import cv2
import numpy as np
import torch
from annotated_types import Interval
from torch import Tensor

from gfp_bench import ImageRng, Images, Perturbation, Register, hookimpl
from gfp_bench_attacks._shared.settings import check_odd, check_order
from gfp_bench_attacks._shared.threads import by_parameters, take


@hookimpl
def register_attacks(register: Register) -> None:
    """Offer `Median`."""
    register(Median)


class Median(Perturbation):
    """Takes each value from the middle of its window, whose side is uniform among the odd ones, one per image."""

    name = "median"
    version = 1

    def __init__(
        self,
        smallest: Annotated[int, "side of the smallest window, odd, in pixels", Interval(ge=1, le=15)] = 3,
        largest: Annotated[int, "side of the largest window, odd, in pixels", Interval(ge=1, le=15)] = 5,
    ) -> None:
        check_odd(smallest=smallest, largest=largest)
        check_order(smallest=smallest, largest=largest)
        self.smallest, self.largest = smallest, largest

    def perturb(self, images: Images, rng: ImageRng) -> Images:
        """Return filtered images; the edge is repeated beyond the edge."""
        sizes = 2 * rng.integers(self.smallest // 2, self.largest // 2) + 1
        form = median_tensor if images.is_cuda else _median

        def attack(chosen: Tensor, size: list[int]) -> Images:
            return form(take(images, chosen), size[0])

        return by_parameters(images, sizes[:, None], attack)


def _median(images: Images, size: int) -> Images:
    planes = images.flatten(0, 1).numpy()
    return torch.from_numpy(np.stack([cv2.medianBlur(plane, size) for plane in planes])).view(images.shape)


def median_tensor(images: Images, size: int) -> Images:
    """Return the same, on the images' device."""
    for dim in (2, 3):
        place = torch.arange(-(size // 2), images.shape[dim] + size // 2, device=images.device)
        images = images.index_select(dim, place.clamp_(0, images.shape[dim] - 1))
    return images.unfold(2, size, 1).unfold(3, size, 1).flatten(4).median(dim=4).values
