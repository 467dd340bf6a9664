"""The average spectrum of what a median filter removes, one per source, matched by correlation.

Source: the analysis in Wang et al., "CNN-generated images are surprisingly easy to spot... for now", CVPR 2020,
arXiv:1912.11035, whose figure shows such averages; the paper's detector is a network and no part of this. Song et al.,
"ManiFPT", CVPR 2024, arXiv:2402.10401, list "2D average spectra" among their baselines.
Readings of ours: an image is attributed by the largest correlation; the logarithm is taken of 1 + |F|, as |F| is 0 at
some frequencies, where a logarithm of rounding would outweigh all others.
"""

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from gfp_bench import SILENT, Fingerprints, Images, ImageSet, Method, Monitor, Register, Scores, hookimpl
from gfp_bench_methods._shared.correlation import source_sums, unit
from gfp_bench_methods._shared.features import luma

_PIXELS = 2**20  # transformed at once


@hookimpl
def register_methods(register: Register) -> None:
    """Offer `Wang20Spectrum`."""
    register(Wang20Spectrum)


class Wang20Spectrum(Method):
    """Up-sampling leaves peaks in spectra, at frequencies of its own."""

    name = "wang20-spectrum"
    paper = "arXiv:1912.11035"
    version = 1
    stochastic = False
    deviations = ("average spectra matched by correlation (paper: shown as pictures, its detector is a network)",)

    def __init__(
        self,
        channels: Annotated[Literal["rgb", "grey"], "spectra of each channel, or of the grey image"] = "rgb",
    ) -> None:
        self.channels = channels

    def fit(self, train: ImageSet, val: ImageSet, *, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        """Average the spectra of each source.

        Raises:
            ValueError: If a source has no training image.
        """
        (sums,) = source_sums(lambda images: [self.fingerprints(images)], train)
        self.spectra = unit(sums)  # a sum and a mean point the same way

    def scores(self, images: Images) -> Scores:
        """Return correlations with the sources' average spectra, in [-1, 1]."""
        return (unit(self.fingerprints(images)) @ self.spectra.T).float()

    def fingerprints(self, images: Images) -> Fingerprints:
        """Return (n, 3*h*w) or (n, h*w) float64 logarithms of 1 + |F| of the high-pass image, frequency 0 centred."""
        size = max(1, _PIXELS // images[0].numel()) if len(images) else 1
        return torch.cat([self._spectra(part) for part in torch.split(images, size)])

    def _spectra(self, images: Images) -> Tensor:
        planes = luma(images)[:, None].to(torch.uint8) if self.channels == "grey" else images
        magnitudes = torch.fft.fft2(planes.double() - median3(planes)).abs()
        spectra: Tensor = torch.fft.fftshift(magnitudes.log1p(), dim=(2, 3))
        return spectra.flatten(1)


def median3(planes: Tensor) -> Tensor:
    """Return the medians of 3 x 3 windows of (n, c, h, w) uint8 values, the edge repeated beyond the edge.

    Columns of three are sorted first; the median of nine is that of the largest of the lows, the median of the middles
    and the smallest of the highs.
    """
    padded = F.pad(planes.float(), (1, 1, 1, 1), mode="replicate").to(planes.dtype)
    low, middle, high = _sorted3(*(padded[..., row : row + planes.shape[2], :] for row in range(3)))
    lows, middles, highs = (
        [column[..., left : left + planes.shape[3]] for left in range(3)] for column in (low, middle, high)
    )
    return _sorted3(_sorted3(*lows)[2], _sorted3(*middles)[1], _sorted3(*highs)[0])[1]


def _sorted3(a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    least, most = torch.minimum(a, b), torch.maximum(a, b)
    return torch.minimum(least, c), torch.maximum(least, torch.minimum(most, c)), torch.maximum(most, c)
