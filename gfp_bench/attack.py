"""The contract of an attack: what changes test images before a method sees them."""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from gfp_bench.rng import ImageRng
from gfp_bench.types import Images


class Perturbation(ABC):
    """An attack that knows nothing of the method: noise, blur, crop, JPEG, relighting.

    Settings are keyword arguments of ``__init__``, kept under their own names; the defaults are the paper's.
    """

    name: ClassVar[str]
    version: ClassVar[int]  # raised by hand whenever attacked images change

    @abstractmethod
    def perturb(self, images: Images, rng: ImageRng) -> Images:
        """Return attacked images of the same shape, one set of parameters drawn from ``rng`` for each image.

        An image's result depends on its pixels and its own stream alone, never on the rest of the batch. ``images``
        is left as it was.
        """


def to_uint8(values: Tensor) -> Images:
    """Return values rounded to the nearest grey level (halves to even) and clipped to 0..255."""
    return values.round().clamp_(0, 255).to(torch.uint8)
