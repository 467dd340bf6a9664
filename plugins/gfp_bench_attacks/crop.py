"""Cropping and resizing back.

Source: Yu et al., ICCV 2019, arXiv:1811.08180, section 4.4: "a random offset between 5% and 20% of the image side
lengths", resized back; the filter is not said. Read as: a share p ~ U[0.05, 0.2] of both sides goes, in whole pixels,
and what is left lies anywhere (``offset=uniform``). The other reading removes it from the top left corner
(``offset=corner``), or the same from all sides (``offset=centre``). Frank et al., ICML 2020, arXiv:2003.08685, remove
p/2 of a side from each of the four, in whole pixels, fractions cut off (``offset=frank``), and resize with OpenCV's
bicubic filter (``resample=opencv``). Pixels that are cropped away have no part in the result.
"""

from typing import Annotated, Literal

import torch
from annotated_types import Interval
from torch import Tensor

from gfp_bench import ImageRng, Images, Perturbation, Register, hookimpl
from gfp_bench_attacks._shared.resample import resize
from gfp_bench_attacks._shared.settings import check_order
from gfp_bench_attacks._shared.threads import by_parameters


@hookimpl
def register_attacks(register: Register) -> None:
    """Offer `Crop`."""
    register(Crop)


class Crop(Perturbation):
    """Removes a share of both sides, one share and one place per image, and resizes to the old size."""

    name = "crop"
    version = 1

    def __init__(
        self,
        low: Annotated[float, "least share of a side that is removed", Interval(ge=0, le=0.99)] = 0.05,
        high: Annotated[float, "largest share of a side that is removed", Interval(ge=0, le=0.99)] = 0.2,
        offset: Annotated[Literal["uniform", "corner", "centre", "frank"], "where the kept part lies"] = "uniform",
        resample: Annotated[
            Literal["bilinear", "bicubic", "lanczos", "opencv"],
            "Pillow's filter by which it is brought back to size, or opencv",
        ] = "bicubic",
    ) -> None:
        check_order(low=low, high=high)
        self.low, self.high = low, high
        self.offset = offset
        self.resample = resample

    def perturb(self, images: Images, rng: ImageRng) -> Images:
        """Return the kept parts, resized to the images' size."""
        boxes = self.boxes(images, rng)
        start, kept = boxes[:, :2], boxes[:, 2:]
        height, width = images.shape[2:]
        parts = parts_tensor if images.is_cuda else parts_by_slices

        def attack(chosen: Tensor, size: list[int]) -> Images:
            return resize(parts(images, chosen, start[chosen], *size), height, width, self.resample)

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
            case "centre":
                start = removed // 2
            case _:
                start = (share * sides / 2).floor().long()
                kept = sides - 2 * start
        return torch.cat([start, kept], dim=1)


def parts_by_slices(images: Images, chosen: Tensor, start: Tensor, height: int, width: int) -> Tensor:
    """Return the (m, 3, height, width) parts of the ``chosen`` images whose top left pixels are ``start`` (m, 2)."""
    corners = zip(chosen.tolist(), start.tolist(), strict=True)
    return torch.stack([images[i, :, top : top + height, left : left + width] for i, (top, left) in corners])


def parts_tensor(images: Images, chosen: Tensor, start: Tensor, height: int, width: int) -> Tensor:
    """Return the same in one call, for a GPU."""
    rows = start[:, :1] + torch.arange(height, device=images.device)
    columns = start[:, 1:] + torch.arange(width, device=images.device)
    planes = torch.arange(3, device=images.device)[:, None, None]
    return images[chosen[:, None, None, None], planes, rows[:, None, :, None], columns[:, None, None, :]]
