"""A support vector machine on 8 x 8 thumbnails: how far colour and composition alone go, without any fingerprint.

The kernel is Gaussian with gamma = 1/192 on standardised values; C is the one of 0.1, 1, 10 and 100 with the best
balanced accuracy on the validation images, the smallest where several are. Large datasets get a least-squares machine
instead (`_shared/gaussian.py`).
"""

import torch
import torch.nn.functional as F

from gfp_bench import SILENT, Fingerprints, Images, ImageSet, Method, Monitor, Register, Scores, hookimpl
from gfp_bench_methods._shared.features import gather
from gfp_bench_methods._shared.gaussian import BEYOND, fit_gaussian, gaussian_scores

_SIDE = 8


@hookimpl
def register_methods(register: Register) -> None:
    """Offer `Thumbnail`."""
    register(Thumbnail)


class Thumbnail(Method):
    """Separates sources by what is left of an image at 8 x 8 pixels."""

    name = "thumbnail"
    paper = ""
    version = 1
    stochastic = False
    preload = ("sklearn.svm",)
    floor = True
    deviations = (BEYOND,)

    def fit(self, train: ImageSet, val: ImageSet, *, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        self.n_sources = len(train.sources)
        learnt, held_out = (gather(self.features, images) for images in (train, val))
        self.machine, self.penalty = fit_gaussian(learnt, held_out, self.n_sources)

    def scores(self, images: Images) -> Scores:
        """Return the machine's scores, see `gaussian_scores`."""
        return gaussian_scores(self.machine, self.features(images), self.n_sources)

    def fingerprints(self, images: Images) -> Fingerprints:
        """Return the thumbnails themselves."""
        return self.features(images)

    def features(self, images: Images) -> Fingerprints:
        """Return (n, 192) float64 box averages in grey levels; boxes overlap where 8 does not divide the side."""
        return F.adaptive_avg_pool2d(images.double(), _SIDE).flatten(1)
