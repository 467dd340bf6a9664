"""Relighting: brightness multiplied by a smooth random field.

Source: Yu et al., ICCV 2019, arXiv:1811.08180, section 4.4: SfSNet puts a random lighting in the place of the image's.
Differs from the paper: the weights and the lighting data cannot be shipped, so the shading is made here. It is a sum of
second-order spherical harmonics (Ramamoorthi and Hanrahan, SIGGRAPH 2001) of surface normals: of a hemisphere around
the image, or of the image's own smoothed brightness read as height. Kept is that low frequencies alone change.
"""

import math

import torch
from torch import Tensor

from gfp_bench import ImageRng, Images, Perturbation, Register, hookimpl, to_uint8
from gfp_bench_attacks._settings import check_choice, check_number
from gfp_bench_attacks._threads import in_parts

_GAMMA = 2.2  # grey level ~ light ** (1 / 2.2), so light times g is grey level times g ** (1 / 2.2)
_DIMMEST, _BRIGHTEST = 0.5, 1.6  # of the light that was there


@hookimpl
def register_attacks(register: Register) -> None:
    """Offer `Relight`."""
    register(Relight)


class Relight(Perturbation):
    """Multiplies light by 1 plus a random mixture of eight harmonics, one an image, whose mean over the image is 0."""

    name = "relight"
    version = 1

    def __init__(self, first: float = 0.35, second: float = 0.15, normals: str = "hemisphere") -> None:
        check_number("first", first, 0, 10)
        check_number("second", second, 0, 10)
        check_choice("normals", normals, ("hemisphere", "image"))
        self.first, self.second = first, second  # deviations of the coefficients of first and second order
        self.normals = normals

    def perturb(self, images: Images, rng: ImageRng) -> Images:
        """Return relit images, rounded to the nearest grey level and clipped."""
        deviations = torch.tensor([self.first] * 3 + [self.second] * 5, dtype=torch.float64, device=images.device)
        coefficients = rng.normal((8,)) * deviations
        hemisphere = _harmonics(_hemisphere(images))

        def attack(part: slice) -> Images:
            pixels = images[part].double()
            harmonics = hemisphere if self.normals == "hemisphere" else _harmonics(_relief(pixels))
            return to_uint8(pixels.mul_(_gain(coefficients[part], harmonics)))

        return in_parts(images, attack, bytes_a_value=8)


def _gain(coefficients: Tensor, harmonics: list[Tensor]) -> Tensor:
    """Return (n, 1, h, w) factors of grey levels."""
    shading = torch.zeros(len(coefficients), *harmonics[0].shape[-2:], dtype=torch.float64, device=coefficients.device)
    for weight, harmonic in zip(coefficients.T, harmonics, strict=True):  # a product of matrices sums in any order
        shading.addcmul_(weight[:, None, None], harmonic)
    light = shading.add_(1 - shading.mean(dim=(1, 2), keepdim=True))
    return light.clamp_(_DIMMEST, _BRIGHTEST).pow_(1 / _GAMMA)[:, None]


def _harmonics(normals: tuple[Tensor, Tensor, Tensor]) -> list[Tensor]:
    """Return the three harmonics of first and the five of second order (Racah's normalisation: at most 1)."""
    x, y, z = normals
    root = math.sqrt(3)
    return [x, y, z, root * x * y, root * y * z, root * x * z, (3 * z * z - 1) / 2, root / 2 * (x * x - y * y)]


def _hemisphere(images: Images) -> tuple[Tensor, Tensor, Tensor]:
    """Return the normals (h, w) of a half ball on whose rim the image's corners lie."""
    (height, width), device = images.shape[2:], images.device
    y = ((torch.arange(height, dtype=torch.float64, device=device) + 0.5) / height * 2 - 1)[:, None] / math.sqrt(2)
    x = ((torch.arange(width, dtype=torch.float64, device=device) + 0.5) / width * 2 - 1)[None, :] / math.sqrt(2)
    return x.expand(height, width), y.expand(height, width), (1 - x * x - y * y).sqrt()


def _relief(pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the normals (n, h, w) of brightness, smoothed over an eighth of the image, as height."""
    height = pixels.mean(dim=1) / 255
    for dim in (1, 2):
        for _ in range(3):  # three box filters are close to a Gaussian
            height = _box(height, dim, radius=pixels.shape[dim + 1] // 16)
    steps = [_slope(height, dim) * height.shape[dim] for dim in (2, 1)]  # over the side of the image
    length = (1 + steps[0] ** 2 + steps[1] ** 2).sqrt()
    return -steps[0] / length, -steps[1] / length, 1 / length


def _box(values: Tensor, dim: int, radius: int) -> Tensor:
    size = values.shape[dim]
    total = torch.zeros_like(values)
    for shift in range(-radius, radius + 1):
        total += values.index_select(dim, _clamped(size, shift, values.device))
    return total / (2 * radius + 1)


def _slope(values: Tensor, dim: int) -> Tensor:
    before, after = (values.index_select(dim, _clamped(values.shape[dim], step, values.device)) for step in (-1, 1))
    return (after - before) / 2


def _clamped(size: int, shift: int, device: torch.device) -> Tensor:
    return (torch.arange(size, device=device) + shift).clamp_(0, size - 1)
