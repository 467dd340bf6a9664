"""Relighting: brightness multiplied by a smooth random field.

Source: Yu et al., ICCV 2019, arXiv:1811.08180, section 4.4: SfSNet puts a random lighting in the place of the image's.
Differs from the paper: the weights and the lighting data cannot be shipped, so the shading is made here. It is a sum of
second-order spherical harmonics (Ramamoorthi and Hanrahan, SIGGRAPH 2001) of surface normals: of a hemisphere around
the image, or of the image's own smoothed brightness read as height. Kept is that low frequencies alone change.

The paper's own needs a folder with SfSNet's weights and lightings. ``normals=sfsnet:FOLDER`` is SfSNet's rendering,
albedo times the new shading. ``normals=sfsnet-ratio:FOLDER`` multiplies the image by new over old shading, which keeps
its fine detail. Images of other sizes go through the network at 128 x 128, by bilinear interpolation there and back.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import Interval
from torch import Tensor

from gfp_bench import ImageRng, Images, Perturbation, Register, hookimpl, to_uint8
from gfp_bench_attacks._shared.sfsnet import SIDE, decompose, load_lights, load_weights
from gfp_bench_attacks._shared.threads import in_parts, one_thread

_NORMALS = ("hemisphere", "image", "sfsnet:FOLDER", "sfsnet-ratio:FOLDER")
_GAMMA = 2.2  # grey level ~ light ** (1 / 2.2), so light times g is grey level times g ** (1 / 2.2)
_DIMMEST, _BRIGHTEST = 0.5, 1.6  # of the light that was there
_ATTENUATION = (1, 2 / 3, 1 / 4)  # of a harmonic's degree on a matt surface (Ramamoorthi and Hanrahan), over pi
_DARKEST = 0.05  # shading below which a ratio means nothing


@hookimpl
def register_attacks(register: Register) -> None:
    """Offer `Relight`."""
    register(Relight)


class Relight(Perturbation):
    """Multiplies light by 1 plus a random mixture of eight harmonics, one per image, whose mean over the image is 0."""

    name = "relight"
    version = 1

    def __init__(
        self,
        first: Annotated[float, "deviation of the coefficients of first order", Interval(ge=0, le=10)] = 0.35,
        second: Annotated[float, "deviation of the coefficients of second order", Interval(ge=0, le=10)] = 0.15,
        normals: Annotated[
            str,
            "whose normals: hemisphere, image, sfsnet:FOLDER or sfsnet-ratio:FOLDER; SfSNet's own lightings take "
            "the place of the coefficients",
        ] = "hemisphere",
    ) -> None:
        kind, _, folder = normals.partition(":")
        if (f"{kind}:FOLDER" if folder else kind) not in _NORMALS:
            raise ValueError(f"setting normals={normals!r}, expected one of {', '.join(_NORMALS)}")
        self.first, self.second = first, second
        self.normals = normals
        self.note = "" if folder else "synthetic"
        self._by_ratio = kind == "sfsnet-ratio"
        self._sfsnet = (load_weights(Path(folder)), load_lights(Path(folder))) if folder else None

    def perturb(self, images: Images, rng: ImageRng) -> Images:
        """Return relit images, rounded to the nearest grey level and clipped."""
        if self._sfsnet is not None:
            return self._by_sfsnet(images, rng, *self._sfsnet)
        deviations = torch.tensor([self.first] * 3 + [self.second] * 5, dtype=torch.float64, device=images.device)
        coefficients = rng.normal((8,)) * deviations
        hemisphere = _harmonics(_hemisphere(images))

        def attack(part: slice) -> Images:
            pixels = images[part].double()
            harmonics = hemisphere if self.normals == "hemisphere" else _harmonics(_relief(pixels))
            return to_uint8(pixels.mul_(_gain(coefficients[part], harmonics)))

        return in_parts(images, attack, bytes_a_value=8)

    def _by_sfsnet(self, images: Images, rng: ImageRng, weights: Mapping[str, Tensor], lights: Tensor) -> Images:
        """Return images under lightings drawn from a file, one by one: a network's sums vary with the batch."""
        drawn = lights.to(images.device)[rng.integers(0, len(lights) - 1)]
        here = {name: tensor.to(images.device) for name, tensor in weights.items()}

        def attack(part: slice) -> Images:
            pairs = zip(images[part].double() / 255, drawn[part], strict=True)
            return torch.cat([_relit(image[None], light, here, self._by_ratio) for image, light in pairs])

        return in_parts(images, attack)


def _relit(picture: Tensor, light: Tensor, weights: Mapping[str, Tensor], by_ratio: bool) -> Images:
    """Return a picture (1, 3, h, w), 0 to 1, under another lighting (27,)."""
    size = picture.shape[2:]
    with one_thread():
        normals, albedo, own = decompose(weights, _interpolated(picture, (SIDE, SIDE)).float())
    facing = F.normalize(_interpolated(normals.double(), size), dim=1)[0]
    shading = sfsnet_shading(facing, light)
    if not by_ratio:
        return to_uint8(255 * _interpolated(albedo.double(), size) * shading)
    old = sfsnet_shading(facing, own[0].double())
    return to_uint8(255 * picture * shading.clamp(min=_DARKEST) / old.clamp(min=_DARKEST))


def sfsnet_shading(normals: Tensor, light: Tensor) -> Tensor:
    """Return the (1, 3, h, w) light on normals (3, h, w) under a lighting (27,): nine harmonics of each colour."""
    x, y, z, xy, yz, xz, zz, squares = _harmonics((normals[0], normals[1], normals[2]))
    basis = torch.stack([torch.ones_like(x), z, x, y, zz, xz, yz, squares, xy])  # SfSNet's order
    scale = [math.pi * fall * math.sqrt((2 * degree + 1) / (4 * math.pi)) for degree, fall in enumerate(_ATTENUATION)]
    scales = torch.tensor([scale[0], *[scale[1]] * 3, *[scale[2]] * 5], dtype=torch.float64, device=light.device)
    return torch.einsum("ck,khw->chw", light.view(3, 9) * scales, basis)[None]


def _interpolated(maps: Tensor, size: Sequence[int]) -> Tensor:
    return F.interpolate(maps, size=tuple(size), mode="bilinear", antialias=True)


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
