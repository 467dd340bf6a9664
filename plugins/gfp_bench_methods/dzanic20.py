"""How fast a spectrum falls off at its highest frequencies, classified by nearest neighbours.

Source: Dzanic, Shah, Witherden, "Fourier spectrum discrepancies in deep network generated images", NeurIPS 2020,
arXiv:1911.06465; ``variant=code`` as the authors' published MATLAB code computes it, grey conversion, centre and all.
Code and paper disagree: the paper divides magnitudes by that of frequency 0 and fits from 0.75 of the largest frequency
on; the code does not divide and fits from 0.85 on. Its centre lies one pixel above and to the left of frequency 0 where
the side is even. The default is the code, which made the published numbers.
"""

from functools import cache
from typing import Annotated, Literal

import torch
from annotated_types import Ge
from torch import Tensor

from gfp_bench import (
    SILENT,
    DatasetFacts,
    Fingerprints,
    Images,
    ImageSet,
    Method,
    Monitor,
    Register,
    Scores,
    hookimpl,
)
from gfp_bench_methods._shared.features import gather, spread
from gfp_bench_methods._shared.neighbours import ranked_votes

_BINS = 200  # at most; the code has as many whatever the size, and most of them empty below 512 pixels
_FROM = 0.5  # of the largest radius: where bins start
_FIT_FROM = {"code": 70, "paper": 50}  # per cent of the bins, which is 0.85 and 0.75 of the largest radius
_NOTHING = 1e-6  # magnitudes of whole grey levels below this are rounding
_LEAST = 16  # pixels: two bins to fit
_SPAN = 20.0  # exponents are looked for from -_SPAN to _SPAN
_STEPS = 320  # of the first look
_HALVINGS = 50
_PIXELS = 2**21  # transformed at once
_DISTANCES = 2**22  # held at once


@hookimpl
def register_methods(register: Register) -> None:
    """Offer `Dzanic20`."""
    register(Dzanic20)


class Dzanic20(Method):
    """Generated images decay otherwise than real ones where the spectrum ends."""

    name = "dzanic20"
    paper = "arXiv:1911.06465"
    version = 1
    stochastic = False

    def __init__(
        self,
        variant: Annotated[
            Literal["code", "paper"],
            "paper: magnitudes are divided by that of frequency 0 and fitted from 0.75 of the largest frequency on; "
            "code: they are not, from 0.85 on",
        ] = "code",
        k: Annotated[int, "training images that vote", Ge(1)] = 5,
    ) -> None:
        self.variant, self.k = variant, k
        self.deviations = (
            *(["magnitudes not divided by that of frequency 0, as in the authors' code"] if variant == "code" else []),
            "bins: 0.35 of the side, at most 200, so that none is empty (code: always 200)",
            "nearest neighbours of all sources and training images (paper: real against fake, 100 per source)",
        )

    def skip(self, dataset: DatasetFacts) -> str | None:
        """Return why images that are too small for a decay cannot be taken."""
        _, height, width = dataset.image_shape
        if min(height, width) < _LEAST:
            return (
                f"images of {height} x {width} pixels, expected {_LEAST} x {_LEAST} at least for a decay to be fitted"
            )
        return None

    def fit(self, train: ImageSet, val: ImageSet, *, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        """Keep the training images' decays.

        Raises:
            ValueError: If there are fewer training images than ``k``.
        """
        if self.k > len(train):
            raise ValueError(
                f"setting 'k' of 'dzanic20' got {self.k}, expected at most the {len(train)} training images"
            )
        features, self.labels = gather(self.features, train)
        self.mean, self.scale = spread(features)
        self.references = (features - self.mean) / self.scale
        self.n_sources = len(train.sources)

    def scores(self, images: Images) -> Scores:
        """Return votes less a rank below 1: between equal votes the smaller mean distance wins."""
        queries = (self.features(images) - self.mean) / self.scale
        found = []
        for part in torch.split(queries, max(1, _DISTANCES // len(self.references))):
            distances = torch.cdist(part, self.references, compute_mode="donot_use_mm_for_euclid_dist")
            nearest, voters = distances.topk(self.k, dim=1, largest=False)
            found.append(ranked_votes(nearest.square(), self.labels[voters], self.n_sources))
        return torch.cat(found)

    def fingerprints(self, images: Images) -> Fingerprints:
        """Return the (n, 3) decays, standardised over the training images."""
        return (self.features(images) - self.mean) / self.scale

    def features(self, images: Images) -> Fingerprints:
        """Return (n, 3) float64: the exponent of the decay, the magnitudes where the fit begins and where it ends."""
        size = max(1, _PIXELS // images[0].numel()) if len(images) else 1
        return torch.cat([decay(part, self.variant) for part in torch.split(images, size)])


def decay(images: Images, variant: str) -> Tensor:
    """Return (n, 3) float64 exponents, first and last magnitudes of the fitted bins."""
    spectra = torch.fft.fft2(matlab_grey(images).double())
    magnitudes = torch.fft.fftshift(spectra.abs(), dim=(1, 2)).flatten(1)
    magnitudes = torch.where(magnitudes > _NOTHING, magnitudes, 0)
    if variant == "paper":
        magnitudes = magnitudes / spectra[:, :1, 0].abs().clamp_min(1)  # a black image has 0
    order, sizes, radii = _bins(*images.shape[2:])
    rings = torch.split(magnitudes[:, order.to(images.device)], sizes, dim=1)
    means = _smoothed(torch.stack([ring.mean(dim=1) for ring in rings], dim=1))
    start = len(sizes) * _FIT_FROM[variant] // 100
    kept = means[:, start:]
    exponents = _exponents(radii[start:].to(images.device), kept)
    return torch.stack([exponents, kept[:, 0], kept[:, -1]], dim=1)


def matlab_grey(images: Images) -> Tensor:
    """Return (n, h, w) int64 grey levels 0..255 as MATLAB's rgb2gray rounds them; whole numbers all the way."""
    red, green, blue = images.long().unbind(dim=1)
    return (298_936 * red + 587_043 * green + 114_021 * blue + 500_000) // 1_000_000


@cache
def _bins(height: int, width: int) -> tuple[Tensor, list[int], Tensor]:
    """Return the frequencies beyond half of the largest radius, sorted by bin, each bin's size and its middle.

    Bins are equally wide from the smallest to the largest radius kept; a radius between two falls into the inner one.
    """
    middle_row, middle_column = (height + 1) // 2, (width + 1) // 2  # counted from 1, as MATLAB does
    rows = torch.arange(1, height + 1, dtype=torch.float64)[:, None] - middle_row
    columns = torch.arange(1, width + 1, dtype=torch.float64) - middle_column
    radii = torch.hypot(rows, columns).flatten()
    kept = (radii > _FROM * (middle_row**2 + middle_column**2) ** 0.5).nonzero()[:, 0]
    count = min(_BINS, 35 * min(height, width) // 100)
    edges = torch.linspace(float(radii[kept].min()), float(radii[kept].max()), count + 1, dtype=torch.float64)
    places = torch.bucketize(radii[kept], edges[1:]).clamp_max(count - 1)
    return kept[places.argsort(stable=True)], torch.bincount(places).tolist(), (edges[1:] + edges[:-1]) / 2


def _smoothed(values: Tensor) -> Tensor:
    """Return moving averages of five of (n, m) values; the window narrows to three and one towards either end."""
    count = values.shape[1]
    reaches = [min(2, place, count - 1 - place) for place in range(count)]
    means = [values[:, place - reach : place + reach + 1].mean(dim=1) for place, reach in enumerate(reaches)]
    return torch.stack(means, dim=1)


def _exponents(radii: Tensor, values: Tensor) -> Tensor:
    """Return the (n,) b for which values[0] * (radii / radii[0]) ** b is nearest to (n, m) values, in [-20, 20].

    Where the first value is 0 every b is as near, and -2 is returned, from which the authors' search starts.
    """
    logs = (radii / radii[0]).log()
    grid = torch.linspace(-_SPAN, _SPAN, _STEPS + 1, dtype=torch.float64, device=values.device)
    powers = (grid[:, None] * logs).exp()  # (g, m)
    first = values[:, :1]
    ratios = values / torch.where(first > 0, first, 1)
    errors = torch.stack([(ratios - power).square().sum(dim=1) for power in powers], dim=1)
    best = grid[errors.argmin(dim=1)]
    low, high = (best - 2 * _SPAN / _STEPS).clamp_min(-_SPAN), (best + 2 * _SPAN / _STEPS).clamp_max(_SPAN)  # a step
    for _ in range(_HALVINGS):  # the error's slope changes its sign at the optimum
        middle = (low + high) / 2
        power = (middle[:, None] * logs).exp()
        rising = ((power - ratios) * power * logs).sum(dim=1) > 0
        low, high = torch.where(rising, low, middle), torch.where(rising, middle, high)
    return torch.where(values[:, 0] > 0, (low + high) / 2, -2.0)
