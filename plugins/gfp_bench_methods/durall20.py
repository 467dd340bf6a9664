"""The azimuthally averaged log spectrum, classified by a support vector machine.

Source: Durall et al., "Watch your up-convolution", CVPR 2020, arXiv:2003.01826, and the features of "Unmasking
DeepFakes with simple features", arXiv:1911.00686, as the authors' published experiments compute them.
"""

import math
from functools import cache
from typing import Annotated, Literal

import numpy as np
import torch
from annotated_types import Ge, Gt
from scipy.interpolate import interp1d
from torch import Tensor

from gfp_bench import SILENT, DatasetFacts, Fingerprints, Images, ImageSet, Method, Monitor, Register, Scores, hookimpl
from gfp_bench_methods._shared.features import gather, luma
from gfp_bench_methods._shared.linear import fit_logistic_each
from gfp_bench_methods._shared.svm import Kernel, fit_kernel_machine, kernel_scores, linear_scores

_EPSILON = 1e-8  # added to the complex spectrum, so that a zero has a logarithm
_PIXELS = 2**22  # transformed at once: 64 MiB of complex numbers


@hookimpl
def register_methods(register: Register) -> None:
    """Offer `Durall20`."""
    register(Durall20)


class Durall20(Method):
    """Up-sampling leaves its mark on how a spectrum falls off."""

    name = "durall20"
    paper = "arXiv:2003.01826"
    version = 1
    stochastic = False
    preload = ("sklearn.svm", "sklearn.linear_model")
    deviations: tuple[str, ...] = (
        "20 ln |F| averaged over rings, as in the authors' code (paper: power)",
        "one-vs-one SVM over all sources (paper: real against fake)",
    )

    def __init__(
        self,
        classifier: Annotated[
            Literal["rbf", "linear", "poly", "logistic"],
            "the support vector machine's kernel, poly being of degree 3; or a logistic regression for each source",
        ] = "rbf",
        c: Annotated[float, "the classifier's penalty, 1 for all but rbf in the authors' code", Gt(0)] = 6.37,
        gamma: Annotated[float, "width of the kernel, as a factor of x.y or |x - y|^2", Gt(0)] = 0.86,
        norm: Annotated[
            Literal["first", "none", "minmax"],
            "a profile is divided by its first value, left as it is, or scaled to [0, 1]",
        ] = "first",
        length: Annotated[
            int | None,
            "values that a profile is resampled to before that, 80 in the authors' CelebA; none: as it comes",
            Ge(2),
        ] = None,
    ) -> None:
        self.classifier = classifier
        self.c, self.gamma = c, gamma
        self.norm = norm
        self.length = length
        if classifier == "logistic":
            self.deviations = (self.deviations[0], "logistic regressions against the rest (paper: real against fake)")

    def skip(self, dataset: DatasetFacts) -> str | None:
        """Return why images whose profile has no value, or is too short to be resampled, cannot be taken."""
        _, height, width = dataset.image_shape
        count, least = len(_rings(height, width)[1]) - 2, 1 if self.length is None else 4  # of a cubic spline
        if count < least:
            found = max(count, 0)
            return f"images of {height} x {width} pixels, whose profile has {found} values, expected {least} or more"
        return None

    def fit(self, train: ImageSet, val: ImageSet, *, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        features, labels = gather(self.features, train)
        self.n_sources = len(train.sources)
        if self.classifier == "logistic":
            self.machine = fit_logistic_each(features, labels, self.n_sources, self.c)
        else:
            self.machine = fit_kernel_machine(features, labels, self.n_sources, self._kernel(), self.c)

    def scores(self, images: Images) -> Scores:
        """Return each source's won pairs plus a share of its margins, values from -1/3 to s - 2/3; or its log odds."""
        if self.classifier == "logistic":
            return linear_scores(self.machine, self.features(images))
        return kernel_scores(self.machine, self._kernel(), self.features(images), self.n_sources)

    def fingerprints(self, images: Images) -> Fingerprints:
        """Return the profiles themselves."""
        return self.features(images)

    def features(self, images: Images) -> Fingerprints:
        """Return (n, d) float64 profiles, low frequencies first; d is ``length``, or 43, 88, 722 at 64, 128, 1024."""
        size = max(1, _PIXELS // images[0].numel()) if len(images) else 1
        profiles = torch.cat([profile(part) for part in torch.split(images, size)])
        if self.length is not None:
            profiles = profiles @ _resampling(profiles.shape[1], self.length).to(profiles.device)
        if self.norm == "first":
            return profiles / profiles[:, :1]
        if self.norm == "minmax":
            low, high = profiles.aminmax(dim=1, keepdim=True)
            return (profiles - low) / torch.where(high > low, high - low, 1)  # a flat image's are all alike
        return profiles

    def _kernel(self) -> Kernel:
        return Kernel(self.classifier, self.gamma)


@cache
def _resampling(count: int, length: int) -> Tensor:
    """Return the (count, length) matrix of the cubic spline through values at even distances, ends kept."""
    spline = interp1d(np.linspace(0, 1, count), np.eye(count), kind="cubic", axis=0)
    return torch.from_numpy(spline(np.linspace(0, 1, length)).T.copy())


def profile(images: Images) -> Tensor:
    """Return the (n, d) means of 20 ln |F| of the grey image over rings one frequency wide, without the two ends."""
    spectra = torch.fft.fft2(luma(images).double())
    decibels = 20 * (torch.fft.fftshift(spectra, dim=(1, 2)) + _EPSILON).abs().log()
    order, sizes = _rings(*images.shape[2:])
    columns = decibels.flatten(1)[:, order.to(images.device)]
    return torch.stack([ring.mean(dim=1) for ring in torch.split(columns, sizes, dim=1)[1:-1]], dim=1)


def _rings(height: int, width: int) -> tuple[Tensor, list[int]]:
    """Return the pixels of an image by their whole distance from the centre between pixels, and each ring's size."""
    rows = torch.arange(height, dtype=torch.float64)[:, None] - (height - 1) / 2
    columns = torch.arange(width, dtype=torch.float64) - (width - 1) / 2
    rings = torch.hypot(rows, columns).floor().long().flatten()
    farthest = math.floor(math.hypot((height - 1) / 2, (width - 1) / 2))
    return rings.argsort(stable=True), torch.bincount(rings, minlength=farthest + 1).tolist()
