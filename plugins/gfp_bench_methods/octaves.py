"""A support vector machine on 21 energies: how far it goes to know how much of which detail there is.

The energies are `gfp_bench.octaves`, of which a dataset's card makes its distances. The kernel is Gaussian with
gamma = 1/21 on standardised values; C is the one of 0.1, 1, 10 and 100 with the best balanced accuracy on the
validation images, the smallest where several are. Large datasets get a least-squares machine instead
(`_shared/gaussian.py`).
"""

import torch

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
    octaves,
)
from gfp_bench_methods._shared.features import gather
from gfp_bench_methods._shared.gaussian import BEYOND, fit_gaussian, gaussian_scores

_SMALLEST = 8  # pixels: three octaves


@hookimpl
def register_methods(register: Register) -> None:
    """Offer `Octaves`."""
    register(Octaves)


class Octaves(Method):
    """Separates sources by their energy at three scales, in three directions and in colour."""

    name = "octaves"
    paper = ""
    version = 1
    stochastic = False
    preload = ("sklearn.svm",)
    floor = True
    deviations = (BEYOND,)

    def fit(self, train: ImageSet, val: ImageSet, *, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        self.n_sources = len(train.sources)
        learnt, held_out = (gather(octaves, images) for images in (train, val))
        self.machine, self.penalty = fit_gaussian(learnt, held_out, self.n_sources)

    def scores(self, images: Images) -> Scores:
        """Return the machine's scores, see `gaussian_scores`."""
        return gaussian_scores(self.machine, octaves(images), self.n_sources)

    def fingerprints(self, images: Images) -> Fingerprints:
        """Return the (n, 21) energies themselves."""
        return octaves(images)

    def skip(self, dataset: DatasetFacts) -> str | None:
        """Return a reason where images are too small for three octaves."""
        _, height, width = dataset.image_shape
        if min(height, width) >= _SMALLEST:
            return None
        return f"images are {width} x {height} pixels, and three octaves need {_SMALLEST} x {_SMALLEST}"
