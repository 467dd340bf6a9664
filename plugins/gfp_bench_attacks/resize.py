"""Resizing down and back up.

Source: the resizing sweeps of SIDBench, arXiv:2404.18552; two calls of Pillow, whose filter smooths on the way down.
"""

from typing import Annotated, Literal

import torch
from annotated_types import Interval
from torch import Tensor

from gfp_bench import ImageRng, Images, Perturbation, Register, hookimpl
from gfp_bench_attacks._shared.resample import resize
from gfp_bench_attacks._shared.settings import check_order
from gfp_bench_attacks._shared.threads import by_parameters, take


@hookimpl
def register_attacks(register: Register) -> None:
    """Offer `Resize`."""
    register(Resize)


class Resize(Perturbation):
    """Brings both sides to a share of their length, one share per image, and back."""

    name = "resize"
    version = 1

    def __init__(
        self,
        low: Annotated[
            float,
            "least share of a side that is kept, rounded to whole pixels",
            Interval(ge=0.01, le=1),
        ] = 0.5,
        high: Annotated[float, "largest share of a side that is kept", Interval(ge=0.01, le=1)] = 0.95,
        resample: Annotated[Literal["bilinear", "bicubic", "lanczos"], "Pillow's filter, both ways"] = "bicubic",
    ) -> None:
        check_order(low=low, high=high)
        self.low, self.high = low, high
        self.resample = resample

    def perturb(self, images: Images, rng: ImageRng) -> Images:
        """Return images of the old size."""
        height, width = images.shape[2:]
        share = rng.uniform(self.low, self.high)[:, None]
        sizes = (share * torch.tensor([height, width], device=images.device)).round().long().clamp_(min=1)

        def attack(chosen: Tensor, size: list[int]) -> Images:
            small = resize(take(images, chosen), size[0], size[1], self.resample)
            return resize(small, height, width, self.resample)

        return by_parameters(images, sizes, attack)
