"""Wiener residuals, one fingerprint per source, and a threshold on the correlation with that of real images.

Source: Akay and Akkor, "Identification of GAN images fingerprints", course report, University of Trento. An image is
real if its residual correlates with the fingerprint of real images at the threshold or above.
Readings of ours: which Wiener filter (that of ``scipy.signal.wiener``, 3 x 3); the report's threshold of 0.005 belongs
to its images of 1024 pixels, as correlations shrink with the number of pixels, so it is chosen on validation images;
what is not real gets the generated source whose fingerprint it agrees with most.
"""

from typing import Annotated, Literal

import torch
from annotated_types import Interval
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
from gfp_bench_methods._shared.correlation import evenly, source_sums, unit
from gfp_bench_methods._shared.residuals import Denoiser

_REAL = "real"
_IMAGES = 500  # per source, as in the report


@hookimpl
def register_methods(register: Register) -> None:
    """Offer `Akay`."""
    register(Akay)


class Akay(Method):
    """Real images share a residual that generated ones lack."""

    name = "akay"
    paper = "Akay and Akkor, course report, University of Trento"
    version = 1
    stochastic = False
    preload = ("sklearn.metrics",)

    def __init__(
        self,
        rule: Annotated[
            Literal["threshold", "argmax"],
            "threshold: real from a correlation with real images on, else the best generated source; "
            "argmax: the source of the largest correlation",
        ] = "threshold",
        threshold: Annotated[
            float | None,
            "that correlation, 0.005 in the report; none: the one that best separates the validation images",
            Interval(ge=-1, le=1),
        ] = None,
        denoiser: Annotated[
            Literal["wiener", "wavelet"],
            "Wiener filter in windows of 3 x 3, or among db4 wavelet coefficients",
        ] = "wiener",
    ) -> None:
        if rule == "argmax" and threshold is not None:
            raise ValueError(f"rule=argmax has no threshold, but threshold is {threshold:g}")
        self.rule, self.threshold, self.denoiser = rule, threshold, denoiser
        self.deviations = (
            "generated images attributed to the source of the largest correlation (report: real against generated)",
            f"residuals of a {denoiser} filter in colour (report: 'Wiener filter')",
        )
        if rule == "threshold" and threshold is None:
            self.deviations += ("threshold chosen on validation images (report: 0.005, at 1024 pixels)",)

    def skip(self, dataset: DatasetFacts) -> str | None:
        """Return why the threshold has no meaning without real images, or alone with them."""
        names = dataset.source_names
        if self.rule == "threshold" and (_REAL not in names or len(names) < 2):
            return f"sources {', '.join(names)}, expected 'real' and others, which rule=threshold tells from it"
        return None

    def fit(self, train: ImageSet, val: ImageSet, *, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        """Average residuals, and place the threshold where true less false alarms are most (Youden).

        Raises:
            ValueError: If a source has no training image, or the threshold no real images to go by.
        """
        (sums,) = source_sums(self._patterns, train.subset(evenly(train.labels, _IMAGES)))
        self.sources = unit(sums, centred=False).float()
        if self.rule == "argmax":
            return
        if _REAL not in train.sources or len(train.sources) < 2:
            raise ValueError(f"akay got sources {', '.join(train.sources)}, expected 'real' and others")
        self.real = train.sources.index(_REAL)
        self.level = self._choose(val) if self.threshold is None else self.threshold

    def scores(self, images: Images) -> Scores:
        """Return correlations; under ``threshold``, of real less the threshold, of others less the best of them.

        The best generated source has 0, so an image is real from the threshold on, and the margin of real is its
        correlation less the threshold.
        """
        correlations = self._correlations(images)
        if self.rule == "argmax":
            return correlations
        generated = torch.arange(len(self.sources), device=images.device) != self.real
        best = correlations[:, generated].amax(dim=1, keepdim=True)
        return correlations - torch.where(generated, best, self.level)

    def fingerprints(self, images: Images) -> Fingerprints:
        """Return (n, 3*h*w) residuals in grey levels."""
        return self._residuals(images).flatten(1)

    def _choose(self, val: ImageSet) -> float:
        """Return the threshold halfway between the correlations that the best division of val lies between."""
        from sklearn.metrics import roc_curve  # here, since it takes a second to load

        correlations = torch.cat([self._correlations(images)[:, self.real] for images, _ in val.batches()]).double()
        genuine = val.labels == self.real
        if genuine.all() or not genuine.any():
            raise ValueError("akay got validation images of one kind, expected real and generated ones; set threshold")
        false, true, cuts = roc_curve(genuine.cpu(), correlations.cpu(), drop_intermediate=False)
        cut = float(cuts[(true - false).argmax()])
        below = correlations[correlations < cut]
        return (cut + float(below.max())) / 2 if len(below) and cut <= 1 else min(cut, 1.0)

    def _correlations(self, images: Images) -> Tensor:
        return unit(self._residuals(images), centred=False) @ self.sources.T

    def _residuals(self, images: Images) -> Tensor:
        return Denoiser(self.denoiser).residuals(images)

    def _patterns(self, images: Images) -> list[Tensor]:
        return [self._residuals(images)]
