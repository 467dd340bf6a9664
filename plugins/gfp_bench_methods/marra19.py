"""One averaged noise residual per source, matched by correlation: the PRNU of a generator.

Source: Marra et al., "Do GANs leave artificial fingerprints?", MIPR 2019, arXiv:1812.11842. The denoiser ``wavelet``,
the estimator ``mle`` and ``post=dde`` are those of camera PRNU: Chen et al., "Determining image origin and integrity
using sensor noise", IEEE TIFS 2008, in the form of polimi-ispl/prnu-python; with ``channels=grey`` and ``images=none``
they make up its whole procedure.
Readings of ours, as no code was published: the denoiser, its sigma of 1 (a camera's 5 takes much of a generated image
for noise; Frank et al., arXiv:2003.08685, find the best below 1) and its levels; colours are kept; the mean rather than
``mle``; nothing is done afterwards, since what ``dde`` clears away, lines and peaks of the spectrum, is what
up-sampling leaves behind.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt
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
from gfp_bench_methods._shared.correlation import evenly, peak_to_energy, source_sums, unit
from gfp_bench_methods._shared.features import balanced_accuracy
from gfp_bench_methods._shared.residuals import Denoiser, to_grey, without_linear_patterns

_SIGMAS = (0.25, 0.5, 1.0, 2.0, 5.0)
_LEVELS = (1, 2, 3, 4)
_LEAST = 8  # pixels, the taps of the wavelet


@hookimpl
def register_methods(register: Register) -> None:
    """Offer `Marra19`."""
    register(Marra19)


class Marra19(Method):
    """A source's fingerprint is what a denoiser takes out of its images, on average."""

    name = "marra19"
    paper = "arXiv:1812.11842"
    version = 1
    stochastic = False

    def __init__(
        self,
        denoiser: Annotated[
            Literal["wavelet", "wiener", "box"],
            "Wiener filter among db4 wavelet coefficients, Wiener filter or mean in windows of 3 x 3",
        ] = "wavelet",
        sigma: Annotated[
            float | Literal["val"],
            "standard deviation of the noise that wavelet looks for, in grey levels; "
            "val: the best of 0.25, 0.5, 1, 2, 5 on the validation images",
            Gt(0),
        ] = 1.0,
        levels: Annotated[
            int | Literal["val"] | None,
            "how often wavelet halves an image; none: as often as is of use, at most 4 times; "
            "val: the best of 1 to 4 on the validation images",
            Ge(1),
        ] = None,
        channels: Annotated[Literal["rgb", "grey"], "a residual is kept in colour or turned grey"] = "rgb",
        post: Annotated[
            Literal["none", "dde"],
            "dde: lines and peaks of the spectrum are cleared from residuals and fingerprints, as for cameras",
        ] = "none",
        estimator: Annotated[
            Literal["mean", "mle"],
            "a fingerprint is the mean residual, or the likeliest share of the intensity, as in a camera's PRNU",
        ] = "mean",
        images: Annotated[int | None, "training images per source, spread evenly; none: all", Ge(1)] = 512,
        score: Annotated[
            Literal["ncc", "pce"], "correlation, or peak-to-correlation energy over all cyclic shifts"
        ] = "ncc",
    ) -> None:
        if denoiser != "wavelet" and (sigma == "val" or levels is not None):
            raise ValueError(f"sigma=val and levels are the wavelet denoiser's, but the denoiser is {denoiser!r}")
        self.denoiser, self.sigma, self.levels = denoiser, sigma, levels
        self.channels, self.post, self.estimator = channels, post, estimator
        self.images, self.score = images, score
        self.deviations = (f"denoiser ({self._phrase()}) and {channels} residuals are readings of ours",)
        if images is None:
            self.deviations += ("every training image averaged (paper: 512 per source)",)

    def skip(self, dataset: DatasetFacts) -> str | None:
        """Return why images that are smaller than the wavelet cannot be taken."""
        _, height, width = dataset.image_shape
        if self.denoiser == "wavelet" and min(height, width) < _LEAST:
            return f"images of {height} x {width} pixels, fewer than the {_LEAST} taps of the wavelet"
        return None

    def fit(self, train: ImageSet, val: ImageSet, *, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        """Average residuals; of several denoisers, keep the one that names most sources right.

        Raises:
            ValueError: If a source has no training image.
        """
        some = train.subset(evenly(train.labels, self.images))
        candidates = self._candidates()
        found = self._estimates(candidates, some)
        chosen = 0 if len(candidates) == 1 else self._best(candidates, found, val)
        self.fingerprint = found[chosen]
        self.strength, self.depth = candidates[chosen].sigma, candidates[chosen].levels

    def scores(self, images: Images) -> Scores:
        """Return correlations in [-1, 1], or energies, with a source's fingerprint."""
        return self._match(self._residuals(images, self._fitted_denoiser()), self.fingerprint)

    def fingerprints(self, images: Images) -> Fingerprints:
        """Return (n, 3*h*w) residuals, or (n, h*w) grey ones, in grey levels."""
        return self._residuals(images, self._fitted_denoiser()).flatten(1)

    def _candidates(self) -> list[Denoiser]:
        sigmas = _SIGMAS if self.sigma == "val" else (self.sigma,)
        depths: Sequence[int | None] = _LEVELS if self.levels == "val" else (self.levels,)
        return [Denoiser(self.denoiser, sigma, levels) for sigma in sigmas for levels in depths]

    def _fitted_denoiser(self) -> Denoiser:
        return Denoiser(self.denoiser, self.strength, self.depth)

    def _estimates(self, candidates: Sequence[Denoiser], images: ImageSet) -> list[Tensor]:
        """Return the (s, c, h, w) float32 fingerprints by each denoiser."""

        def patterns(batch: Images) -> list[Tensor]:
            residuals = [denoiser.residuals(batch) for denoiser in candidates]
            if self.estimator == "mean":
                return residuals
            return [reliance(batch).square(), *(residual * (batch / 255) for residual in residuals)]

        sums = source_sums(patterns, images)
        if self.estimator == "mean":
            counts = torch.bincount(images.labels)
            estimates = [total / counts[:, None, None, None] for total in sums]
        else:
            estimates = [total / (sums[0] + 1) for total in sums[1:]]
        return [self._finish(estimate).float() for estimate in estimates]

    def _best(self, candidates: Sequence[Denoiser], found: Sequence[Tensor], val: ImageSet) -> int:
        answers = [
            torch.stack([self._match(self._residuals(images, one), own).argmax(dim=1)
                         for one, own in zip(candidates, found, strict=True)])
            for images, _ in val.batches()
        ]  # fmt: skip
        accuracies = [balanced_accuracy(predicted, val.labels) for predicted in torch.cat(answers, dim=1)]
        return accuracies.index(max(accuracies))

    def _residuals(self, images: Images, denoiser: Denoiser) -> Tensor:
        return self._finish(denoiser.residuals(images))

    def _finish(self, residuals: Tensor) -> Tensor:
        residuals = to_grey(residuals) if self.channels == "grey" else residuals
        return without_linear_patterns(residuals) if self.post == "dde" else residuals

    def _match(self, residuals: Tensor, fingerprint: Tensor) -> Scores:
        if self.score == "pce":
            return peak_to_energy(residuals, fingerprint).float()
        return unit(residuals) @ unit(fingerprint).T

    def _phrase(self) -> str:
        if self.denoiser != "wavelet":
            return f"{self.denoiser}, 3 x 3"
        sigma = "sigma chosen on validation images" if self.sigma == "val" else f"sigma {self.sigma:g}"
        levels = "levels chosen on validation images" if self.levels == "val" else f"levels: {self.levels or 'up to 4'}"
        return f"db4 wavelet-Wiener, {sigma}, {levels}"


def reliance(images: Images) -> Tensor:
    """Return (n, 3, h, w) float32 intensities in [0, 1] as far as PRNU can be told from them: near white it cannot.

    They fall off above 252 and are 0 where a value is its channel's largest, that is above 250, and has an equal
    neighbour. In a channel whose largest is not above 250, although another channel reaches 250, prnu-python keeps
    values with an equal neighbour alone, and so does this.
    """
    values = images.float()
    scaled = torch.where(values < 252, values / 252, (-(values - 252).square() / 6).exp())
    largest = images.amax(dim=(2, 3), keepdim=True)
    equal = torch.zeros_like(images, dtype=torch.bool)
    for dim in (2, 3):
        same = images == images.roll(1, dim)
        equal |= same | same.roll(-1, dim)
    reliable = torch.where(largest > 250, (images != largest) | ~equal, equal)
    return scaled * (reliable | (largest.amax(dim=1, keepdim=True) < 250))
