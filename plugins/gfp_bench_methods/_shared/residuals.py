"""What denoisers take out of images, and what PRNU code does to it afterwards."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from gfp_bench import Images
from gfp_bench_methods._shared.wavelets import useful_levels, wavelet_noise, wiener_noise

_VALUES = 2**18  # filtered at once: what then lies beside them stays in a processor's cache
_GREY = (0.29893602, 0.58704307, 0.11402090)  # of PRNU code; sums to 1


@dataclass(frozen=True)
class Denoiser:
    """A way to part an image from its noise.

    Attributes:
        name: ``wavelet``, ``wiener`` or ``box``.
        sigma: Standard deviation of the noise that ``wavelet`` looks for, in grey levels.
        levels: How often ``wavelet`` halves the image; None: as often as is of use, at most 4 times.
        window: Side of the window of ``wiener`` and ``box``, in pixels, odd and at most 9.
    """

    name: str
    sigma: float = 1.0
    levels: int | None = None
    window: int = 3

    def residuals(self, images: Images) -> Tensor:
        """Return (n, 3, h, w) float32 grey levels: the images less what the denoiser leaves of them."""
        size = max(1, _VALUES // images[0].numel()) if len(images) else 1
        return torch.cat([self._residuals(part) for part in torch.split(images, size)])

    def _residuals(self, images: Images) -> Tensor:
        if self.name == "wavelet":
            levels = min(4, useful_levels(min(images.shape[2:]))) if self.levels is None else self.levels
            means = images.double().mean(dim=(2, 3), keepdim=True)
            return wavelet_noise(images - means.float(), self.sigma, levels)  # a constant image has exactly no noise
        filtered = wiener_residuals if self.name == "wiener" else box_residuals
        return filtered(images, self.window).float()


def box_residuals(images: Images, window: int) -> Tensor:
    """Return (n, 3, h, w) float64 differences from the mean of a window around each value, the edge repeated beyond."""
    reach = window // 2
    padded = F.pad(images.float(), (reach,) * 4, mode="replicate").int()
    return images - _box_sums(padded, window).double() / window**2


def wiener_residuals(images: Images, window: int) -> Tensor:
    """Return (n, 3, h, w) float64 differences from Wiener's filter as ``scipy.signal.wiener`` has it.

    Each channel is by itself, zero beyond its edge; the variance of the noise is the mean of the windows' variances.
    """
    reach, count = window // 2, window**2
    values = F.pad(images.int(), (reach,) * 4)
    sums, squares = _box_sums(values, window).double(), _box_sums(values.square(), window).double()
    variance = (count * squares - sums.square()) / count**2  # of whole numbers: nothing is lost before the division
    noise = variance.mean(dim=(2, 3), keepdim=True)
    share = torch.where(variance > noise, noise / variance, 1)
    return (images - sums / count) * share


def to_grey(residuals: Tensor) -> Tensor:
    """Return the (n, 1, h, w) grey part of (n, 3, h, w) residuals."""
    red, green, blue = residuals.unbind(dim=1)
    return (_GREY[0] * red + _GREY[1] * green + _GREY[2] * blue)[:, None]


def without_linear_patterns(residuals: Tensor) -> Tensor:
    """Return (n, c, h, w) residuals less what PRNU code takes to be a camera model's: lines and peaks of the spectrum.

    In each of the four lattices of every second row and column, the mean, then those of rows and columns are taken
    away; what is left passes a Wiener filter among the magnitudes of its spectrum, whose noise is as strong as it is.
    """
    cleared = residuals.double().clone()
    for top in (0, 1):
        for left in (0, 1):
            lattice = cleared[..., top::2, left::2]
            lattice -= lattice.mean(dim=(-2, -1), keepdim=True)
            lattice -= lattice.mean(dim=-1, keepdim=True) + lattice.mean(dim=-2, keepdim=True)
    height, width = cleared.shape[-2:]
    spectra = torch.fft.fft2(cleared)
    magnitudes = spectra.abs() / (height * width) ** 0.5
    noise = wiener_noise(magnitudes, cleared.var(dim=(-2, -1), correction=1, keepdim=True))
    share = torch.where(magnitudes > 0, noise / magnitudes, 0)
    remaining: Tensor = torch.fft.ifft2(spectra * share).real
    return remaining.to(residuals.dtype)


def _box_sums(values: Tensor, window: int) -> Tensor:
    """Return the (n, c, h, w) sums of windows of (n, c, h + window - 1, w + window - 1) whole numbers."""
    for dim in (2, 3):
        count = values.shape[dim] - window + 1
        values = torch.stack([values.narrow(dim, start, count) for start in range(window)]).sum(dim=0)
    return values
