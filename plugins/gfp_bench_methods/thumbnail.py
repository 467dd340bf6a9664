"""A support vector machine on 8 x 8 thumbnails: how far colour and composition alone go, without any fingerprint.

The kernel is Gaussian with gamma = 1/192 on standardised values; C is the one of 0.1, 1, 10 and 100 with the best
balanced accuracy on the validation images, the smallest where several are.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from gfp_bench import SILENT, Fingerprints, Images, ImageSet, Method, Monitor, Register, Scores, hookimpl
from gfp_bench_methods._shared.features import balanced_accuracy, gather, spread
from gfp_bench_methods._shared.svm import Kernel, Machine, fit_kernel_machine, kernel_scores

_SIDE = 8
_PENALTIES = (0.1, 1.0, 10.0, 100.0)
_KERNEL = Kernel("rbf", gamma=1 / (3 * _SIDE**2))


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

    def fit(self, train: ImageSet, val: ImageSet, *, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        features, labels = gather(self.features, train)
        self.mean, self.scale = spread(features)
        self.n_sources = len(train.sources)
        rows = self._standardised(features)
        candidates = [fit_kernel_machine(rows, labels, self.n_sources, _KERNEL, c) for c in _PENALTIES]
        held_out, held_out_labels = gather(self.features, val)
        accuracies = [
            balanced_accuracy(self._decide(machine, held_out).argmax(dim=1), held_out_labels) for machine in candidates
        ]
        best = accuracies.index(max(accuracies))
        self.machine, self.penalty = candidates[best], _PENALTIES[best]

    def scores(self, images: Images) -> Scores:
        """Return each source's won pairs plus a share of its margins, values from -1/3 to s - 2/3."""
        return self._decide(self.machine, self.features(images))

    def fingerprints(self, images: Images) -> Fingerprints:
        """Return the thumbnails themselves."""
        return self.features(images)

    def features(self, images: Images) -> Fingerprints:
        """Return (n, 192) float64 box averages in grey levels; boxes overlap where 8 does not divide the side."""
        return F.adaptive_avg_pool2d(images.double(), _SIDE).flatten(1)

    def _decide(self, machine: Machine, features: Tensor) -> Scores:
        return kernel_scores(machine, _KERNEL, self._standardised(features), self.n_sources)

    def _standardised(self, features: Tensor) -> Tensor:
        return (features - self.mean) / self.scale
