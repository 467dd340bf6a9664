"""Log magnitudes of the discrete cosine transform, classified by a linear model.

Source: Frank et al., "Leveraging frequency analysis for deep fake image recognition", ICML 2020, arXiv:2003.08685; the
features, their standardisation and the weight decay of 0.01 as in the authors' code.
"""

from typing import Annotated, Literal

import torch
from annotated_types import Gt
from torch import Tensor

from gfp_bench import SILENT, Fingerprints, Images, ImageSet, Labels, Method, Monitor, Register, Scores, hookimpl
from gfp_bench_methods._shared.correlation import evenly
from gfp_bench_methods._shared.features import balanced_accuracy
from gfp_bench_methods._shared.linear import fit_ridge, fit_softmax
from gfp_bench_methods._shared.svm import linear_scores

_EPSILON = 1e-12  # added to magnitudes, so that a zero has a logarithm
_DECAYS = (0.001, 0.01, 0.1)
_IMAGES = 20_000  # trained on at most
_VALUES = 2**28  # of features trained on at most: 1 GiB
_FIT = {"logistic": fit_softmax, "ridge": fit_ridge}


@hookimpl
def register_methods(register: Register) -> None:
    """Offer `Frank20`."""
    register(Frank20)


class Frank20(Method):
    """Up-sampling leaves a grid of peaks among an image's frequencies."""

    name = "frank20"
    paper = "arXiv:2003.08685"
    version = 1
    stochastic = False
    preload = ("sklearn.linear_model",)

    def __init__(
        self,
        classifier: Annotated[
            Literal["logistic", "ridge"],
            "multinomial logistic regression, or ridge regression of -1 and 1",
        ] = "logistic",
        decay: Annotated[
            float | None,
            "factor of the squared weights beside the mean loss; none: the best of 0.001, 0.01, 0.1 on the "
            "validation images",
            Gt(0),
        ] = 0.01,
    ) -> None:
        self.classifier, self.decay = classifier, decay
        self.deviations = (
            "a linear model (paper: a small CNN attributes)",
            "trained to the optimum (authors' code: Adam, 50 epochs at most)",
            "on at most 20,000 images, as many of each source, and 1 GiB of features",
        )

    def fit(self, train: ImageSet, val: ImageSet, *, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        """Standardise the coefficients and fit; of several decays, keep the one that names most sources right.

        Raises:
            ValueError: If a source has no training image, or there is only one.
        """
        limit = min(_IMAGES, _VALUES // train.image_shape.numel()) // len(train.sources)
        rows, labels = self._gather(train.subset(evenly(train.labels, max(1, limit))))
        self.mean, self.scale = _spread(rows)
        rows.sub_(self.mean).div_(self.scale)
        grid = _DECAYS if self.decay is None else (self.decay,)
        fit = _FIT[self.classifier]
        machines = [fit(rows, labels, len(train.sources), decay) for decay in grid]
        best = 0
        if len(machines) > 1:
            answers = torch.cat([torch.stack([linear_scores(machine, self.fingerprints(images)).argmax(dim=1)
                                              for machine in machines])
                                 for images, _ in val.batches()], dim=1)  # fmt: skip
            found = [balanced_accuracy(predicted, val.labels) for predicted in answers]
            best = len(found) - 1 - found[::-1].index(max(found))  # the largest decay of several
        self.chosen, self.machine = grid[best], machines[best]

    def scores(self, images: Images) -> Scores:
        """Return logits, or the ridge regression's values, for each source."""
        return linear_scores(self.machine, self.fingerprints(images))

    def fingerprints(self, images: Images) -> Fingerprints:
        """Return the (n, 3*h*w) float32 features, standardised over the training images."""
        return (self.features(images) - self.mean) / self.scale

    def features(self, images: Images) -> Fingerprints:
        """Return (n, 3*h*w) float32 natural logarithms of the magnitudes of each channel's cosine transform."""
        rows, columns = (_cosines(size).to(images.device) for size in images.shape[2:])
        parts = [rows @ part.double() @ columns.T for part in torch.split(images, 16)]
        return torch.cat([(part.abs() + _EPSILON).log().float() for part in parts]).flatten(1)

    def _gather(self, images: ImageSet) -> tuple[Tensor, Labels]:
        """Return the (n, d) features of a whole set, made in place, and its labels."""
        rows = torch.empty((len(images), images.image_shape.numel()), device=images.device)
        for place, (batch, _) in zip(torch.split(rows, 256), images.batches(256), strict=True):
            place.copy_(self.features(batch))
        return rows, images.labels


def _spread(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return the float32 means and standard deviations of columns, summed in float64, the latter 1 where all agree."""
    parts = torch.split(rows, 1024, dim=1)
    mean = torch.cat([part.double().mean(dim=0) for part in parts])
    deviation = torch.cat([part.double().std(dim=0, correction=0) for part in parts])
    return mean.float(), torch.where(deviation > 0, deviation, 1).float()


def _cosines(size: int) -> Tensor:
    """Return the (size, size) float64 matrix of the orthonormal cosine transform of type II."""
    place = torch.arange(size, dtype=torch.float64)
    waves: Tensor = (torch.pi / size * place[:, None] * (place + 0.5)).cos() * (2 / size) ** 0.5
    waves[0] /= 2**0.5
    return waves
