"""Cropping and resizing back.

Source: Yu et al., ICCV 2019, arXiv:1811.08180, section 4.4: "a random offset between 5% and 20% of the image side
lengths", resized back; the filter is not said. Read as: a share p ~ U[0.05, 0.2] of both sides goes, in whole pixels,
and what is left lies anywhere (``offset=uniform``). The other reading removes it from the top left corner
(``offset=corner``). Frank et al., ICML 2020, arXiv:2003.08685, remove the same from all four sides (``offset=centre``).
Pixels that are cropped away have no part in the result.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gfp_bench import ImageRng, Images, Perturbation, Register, hookimpl
from gfp_bench_attacks._resample import FILTERS, resize_pillow, resize_tensor
from gfp_bench_attacks._settings import check_choice, check_interval
from gfp_bench_attacks._threads import by_parameters


@hookimpl
def register_attacks(register: Register) -> None:
    """Offer `Crop`."""
    register(Crop)


class Crop(Perturbation):
    """Removes a share of both sides, one share and one place an image, and resizes to the old size with Pillow."""

    name = "crop"
    version = 1

    def __init__(
        self, low: float = 0.05, high: float = 0.2, offset: str = "uniform", resample: str = "bicubic"
    ) -> None:
        check_interval(low, high, 0, 0.99)
        check_choice("offset", offset, ("uniform", "corner", "centre"))
        check_choice("resample", resample, FILTERS)
        self.low, self.high = low, high  # removed share of a side
        self.offset = offset  # where the kept part lies
        self.resample = resample  # Pillow's filter

    def perturb(self, images: Images, rng: ImageRng) -> Images:
        """Return the kept parts, resized to the images' size."""
        boxes = self.boxes(images, rng)
        start, kept = boxes[:, :2], boxes[:, 2:]
        if images.is_cuda:
            return crop_tensor(images, start, kept, self.resample)
        height, width = images.shape[2:]
        pixels, places = images.numpy(), start.numpy()

        def attack(members: NDArray[np.int64], size: list[int]) -> NDArray[np.uint8]:
            return resize_pillow(_parts(pixels, members, places[members], *size), height, width, self.resample)

        return by_parameters(images, kept, attack)

    def boxes(self, images: Images, rng: ImageRng) -> Tensor:
        """Return (n, 4) whole numbers: top, left, kept height, kept width."""
        sides = torch.tensor(images.shape[2:], device=images.device)
        share = rng.uniform(self.low, self.high)[:, None]
        place = rng.uniform(shape=(2,))
        kept = ((1 - share) * sides).round().long().clamp_(min=1)
        removed = sides - kept
        match self.offset:
            case "uniform":
                start = (place * (removed + 1)).floor().long()
            case "corner":
                start = removed
            case _:
                start = removed // 2
        return torch.cat([start, kept], dim=1)


def _parts(
    pixels: NDArray[np.uint8], members: NDArray[np.int64], start: NDArray[np.int64], height: int, width: int
) -> NDArray[np.uint8]:
    parts = np.empty((len(members), 3, height, width), dtype=np.uint8)
    for part, member, (top, left) in zip(parts, members, start, strict=True):
        part[:] = pixels[member, :, top : top + height, left : left + width]
    return parts


def crop_tensor(images: Images, start: Tensor, kept: Tensor, resample: str) -> Images:
    """Return each image's box, resized to the size of the images: `Crop`'s definition, on the images' device.

    Args:
        images: Of any height and width.
        start: (n, 2) top and left, in pixels.
        kept: (n, 2) height and width, in pixels.
        resample: A Pillow filter of `FILTERS`.
    """
    attacked = torch.empty_like(images)
    sizes, kind = torch.unique(kept, dim=0, return_inverse=True)
    for number, (height, width) in enumerate(sizes.tolist()):
        chosen = (kind == number).nonzero()[:, 0]
        top, left = start[chosen].T
        rows = (top[:, None] + torch.arange(height, device=images.device))[:, None, :, None]
        columns = (left[:, None] + torch.arange(width, device=images.device))[:, None, None, :]
        planes = torch.arange(3, device=images.device)[:, None, None]
        part = images[chosen[:, None, None, None], planes, rows, columns]
        attacked[chosen] = resize_tensor(part, images.shape[2], images.shape[3], resample)
    return attacked
