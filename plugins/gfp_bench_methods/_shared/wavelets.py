"""The noise in images as an adaptive Wiener filter finds it among wavelet coefficients.

Source: Mihcak, Kozintsev, Ramchandran, "Spatially adaptive statistical modeling of wavelet image coefficients",
ICASSP 1999, in the form that PRNU code uses: Daubechies' wavelet of eight taps (db4), the edge mirrored, the mean
energy of each coefficient the smallest of those in windows of 3, 5, 7 and 9.
"""

import math
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

_LOW = (
    0.2303778133088965,
    0.7148465705529157,
    0.6308807679298589,
    -0.027983769416859854,
    -0.18703481171909309,
    0.030841381835560764,
    0.0328830116668852,
    -0.010597401785069032,
)  # of the synthesis; the high pass is (-1)^(k + 1) times these backwards
_TAPS = len(_LOW)


def useful_levels(side: int) -> int:
    """Return how often an image can be halved until its mirrored edges fill it; at least 1."""
    return max(1, int(math.log2(side / (_TAPS - 1))) if side >= _TAPS else 0)


def wavelet_noise(planes: Tensor, sigma: float, levels: int) -> Tensor:
    """Return the estimated noise of (..., h, w) planes, in their unit, type and shape.

    Args:
        planes: Images, whose mean does not matter: the coarsest approximation counts as free of noise.
        sigma: Standard deviation of the noise, in the unit of the planes.
        levels: How often to halve, 1 or more.
    """
    (apart_down, join_down), (apart_across, join_across) = (
        [matrix.to(planes) for matrix in _bank(size)] for size in planes.shape[-2:]
    )
    height, width = len(apart_down) // 2, len(apart_across) // 2
    bands = (apart_down @ planes @ apart_across.T).view(*planes.shape[:-2], 2, height, 2, width)
    quarters = bands.transpose(-3, -2).flatten(-4, -3)
    coarse, details = quarters[..., :1, :, :], quarters[..., 1:, :, :]
    coarse = wavelet_noise(coarse, sigma, levels - 1) if levels > 1 else torch.zeros_like(coarse)
    noise = torch.cat([coarse, wiener_noise(details, sigma**2)], dim=-3)
    noise = noise.view(*planes.shape[:-2], 2, 2, height, width).transpose(-3, -2)
    joined: Tensor = join_down @ noise.reshape(*planes.shape[:-2], 2 * height, 2 * width) @ join_across.T
    return joined


def wiener_noise(values: Tensor, variance: float | Tensor) -> Tensor:
    """Return the share of (..., h, w) values that noise of a variance explains, by the energy around each value.

    ``variance`` is above 0, or a tensor to broadcast in which 0 stands for no noise at all.
    """
    energy = _smallest_mean(values.square())
    least = torch.as_tensor(variance, dtype=values.dtype, device=values.device)
    return values * torch.where(least > 0, least / torch.maximum(energy, least), 0)


@cache
def _bank(size: int) -> tuple[Tensor, Tensor]:
    """Return the float64 matrices that take a line of ``size`` values apart, low half first, and join the halves.

    The line goes on as its mirror image beyond either edge, edge value included, so that (size + 7) // 2 values come
    out of each filter.
    """
    low = torch.tensor(_LOW, dtype=torch.float64)
    high = low.flip(0) * torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(_TAPS // 2)
    half = (size + _TAPS - 1) // 2
    place = torch.arange(half)[:, None]
    apart = torch.zeros(2, half, size, dtype=torch.float64)
    join = torch.zeros(2, 2 * half - _TAPS + 2, half, dtype=torch.float64)
    for tap in range(_TAPS):
        source = (2 * place + 1 - tap) % (2 * size)
        source = torch.minimum(source, 2 * size - 1 - source)
        target = 2 * place + tap - _TAPS + 2
        inside = (target >= 0) & (target < join.shape[1])
        for band, synthesis in enumerate((low, high)):
            apart[band].scatter_add_(1, source, synthesis[_TAPS - 1 - tap].expand(half, 1))
            join[band][target[inside], place[inside]] = synthesis[tap]
    return apart.flatten(0, 1), torch.cat([join[0], join[1]], dim=1)[:size]


def _smallest_mean(values: Tensor) -> Tensor:
    """Return the smallest of the means of (..., h, w) values in windows of 3, 5, 7 and 9 around each, zero beyond."""
    padded, width = F.pad(values, (4, 4, 4, 4)), values.shape[-1]
    across = padded[..., 4 : 4 + width].clone()
    smallest = torch.full_like(values, torch.inf)
    for reach in (1, 2, 3, 4):
        across += padded[..., 4 - reach : 4 - reach + width]
        across += padded[..., 4 + reach : 4 + reach + width]
        window = 2 * reach + 1
        sums = _sums_down(across[..., 4 - reach : across.shape[-2] - 4 + reach, :], window)
        torch.minimum(smallest, sums.div_(window**2), out=smallest)
    return smallest


def _sums_down(values: Tensor, window: int) -> Tensor:
    """Return the sums of every ``window`` rows, odd and 3 or more, of (..., h, w) values: by twos, fours and eights."""
    count = values.shape[-2] - window + 1
    found, sums, rows, done = values[..., :count, :], values, 1, 1
    while 2 * rows <= window:
        sums, rows = sums[..., :-rows, :] + sums[..., rows:, :], 2 * rows
        if window & rows:
            found, done = found + sums[..., done : done + count, :], done + rows
    return found
