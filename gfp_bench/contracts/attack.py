"""The contract of an attack: what changes test images before a method sees them."""

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from jaxtyping import UInt8
from torch import Tensor

from gfp_bench.contracts.rng import ImageRng
from gfp_bench.contracts.settings import Configurable
from gfp_bench.contracts.types import Images


class Perturbation(Configurable, ABC):
    """An attack that knows nothing of the method: noise, blur, crop, JPEG, relighting.

    Settings are keyword arguments of ``__init__``, kept under their own names; the defaults are the paper's.

    Attributes:
        name: What protocols call it.
        version: Raised by hand whenever attacked images change.
        note: What boards put in brackets after its label, a word or two; may be set in ``__init__``.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    note: str = ""

    @abstractmethod
    def perturb(self, images: Images, rng: ImageRng) -> Images:
        """Return attacked images of the same shape, one set of parameters drawn from ``rng`` for each image.

        An image's result depends on its pixels and its own stream alone, never on the rest of the batch. ``images``
        is left as it was. Subclasses find their arguments checked, and at least one image.

        Raises:
            ValueError: If ``images`` is not uint8 (n, 3, h, w), or ``rng`` does not hold its streams.
        """

    def __init_subclass__(cls, **options: Any) -> None:  # whatever a mix-in takes
        """Put the check of the arguments before every attack, so that no plugin has to write it."""
        super().__init_subclass__(**options)
        if "perturb" in vars(cls):
            setattr(cls, "perturb", _checked(cls.perturb))  # noqa: B010 - mypy refuses to assign a method


def to_uint8(values: Tensor) -> UInt8[Tensor, "..."]:
    """Return values rounded to the nearest grey level (halves to even) and clipped to 0..255."""
    return values.round().clamp_(0, 255).to(torch.uint8)


def _checked(perturb: Callable[..., Images]) -> Callable[..., Images]:
    @functools.wraps(perturb)
    def checked(self: Perturbation, images: Tensor, rng: ImageRng) -> Images:
        _check(self.name, images, rng)
        return perturb(self, images, rng) if images.numel() else images.clone()

    return checked


def _check(attack: str, images: Tensor, rng: ImageRng) -> None:
    if images.dtype != torch.uint8:
        raise ValueError(
            f"attack {attack!r} got images of dtype {images.dtype}, expected torch.uint8: grey levels from 0 to 255; "
            "convert with gfp_bench.to_uint8"
        )
    if images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape[2:]:
        raise ValueError(
            f"attack {attack!r} got images of shape {tuple(images.shape)}, expected (n, 3, h, w): RGB, at least 1 x 1"
        )
    if len(rng) != len(images):
        raise ValueError(
            f"attack {attack!r} got {len(rng)} random streams for {len(images)} images, expected one per image; "
            "make them with ImageRng.for_images or ImageSet.attack_rng"
        )
    if rng.device.type != images.device.type:
        raise ValueError(
            f"attack {attack!r} got images on {images.device} and random streams on {rng.device}, expected one device"
        )
