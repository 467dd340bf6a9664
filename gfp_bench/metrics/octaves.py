"""How an image's energy is spread over octaves, orientations and colours: 21 numbers that are fixed beforehand."""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from gfp_bench.contracts.types import Images
from gfp_bench.errors import UsageError

LEVELS = 3  # octaves of detail; what is left at the last has an eighth of the side
_ROUNDING = 1 / 12  # variance of an 8-bit value's rounding, in grey levels squared: less energy than that says nothing
_COLOURS = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))  # BT.601: Y, Cb, Cr
_VALUES = 2**18  # transformed at once: 2 MiB of float64, which stay near the processor


def octaves(images: Images) -> Float[Tensor, "n 21"]:
    """Return how an image's energy is spread over octaves, orientations and colours, float64.

    Of luma and the two colour differences (BT.601), in grey levels, the orthonormal Haar transform is taken three
    times. Columns: 3 means; for each octave, from the finest, the natural logarithms of 5 mean squared details (luma
    across, down and diagonally, then all of Cb, all of Cr); 3 logarithms of the variance of what is left. To each
    energy 1/12 is added, the variance of rounding. Odd last rows and columns are left out.

    Raises:
        UsageError: If images are smaller than 8 x 8.
    """
    if min(images.shape[2:]) < 2**LEVELS:
        raise UsageError(f"images are {images.shape[3]} x {images.shape[2]} pixels, expected 8 x 8 or more for octaves")
    size = max(1, _VALUES // images.shape[1:].numel())
    return torch.cat([torch.cat([*_columns(part)], dim=1) for part in torch.split(images, size)])


def _columns(images: Images) -> Iterator[Tensor]:
    """Yield the columns of `octaves` as (n, k) blocks."""
    red, green, blue = images.double().unbind(dim=1)
    rest = torch.stack([r * red + g * green + b * blue for r, g, b in _COLOURS], dim=1)
    yield rest.mean(dim=(2, 3))
    for _ in range(LEVELS):
        rest, *details = _haar(rest)
        energies = torch.stack([detail.square().mean(dim=(2, 3)) for detail in details])  # (3, n, 3 colours)
        yield _log(energies[:, :, 0].T)
        yield _log(energies[:, :, 1:].mean(dim=0))
    yield _log(rest.var(dim=(2, 3), correction=0))


def _haar(values: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return averages and details (across, down, diagonal) of an orthonormal Haar transform, (n, c, h/2, w/2) each."""
    height, width = (side // 2 * 2 for side in values.shape[2:])
    left, right = values[..., :height, 0:width:2], values[..., :height, 1:width:2]
    means, steps = (left + right) / 2, (left - right) / 2
    (upper, lower), (upper_step, lower_step) = ((rows[..., ::2, :], rows[..., 1::2, :]) for rows in (means, steps))
    return upper + lower, upper_step + lower_step, upper - lower, upper_step - lower_step


def _log(energies: Tensor) -> Tensor:
    return (energies + _ROUNDING).log()
