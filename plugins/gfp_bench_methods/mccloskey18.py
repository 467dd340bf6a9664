"""How often pixels are saturated or under-exposed, told apart by a linear SVM.

Source: McCloskey and Albright, "Detecting GAN-generated imagery using color cues", arXiv:1812.08247; short version
"... using saturation cues", ICIP 2019. No code was published.
"""

import torch

from gfp_bench import SILENT, Fingerprints, Images, ImageSet, Method, Monitor, Register, Scores, hookimpl
from gfp_bench_methods._shared.features import gather, luma, spread
from gfp_bench_methods._shared.settings import check_choice, check_positive
from gfp_bench_methods._shared.svm import fit_linear_machine, linear_scores

_OVER = (240, 245, 250, 255)  # counted from here up
_UNDER = (0, 5, 10, 15)  # counted from here down


@hookimpl
def register_methods(register: Register) -> None:
    """Offer `McCloskey18`."""
    register(McCloskey18)


class McCloskey18(Method):
    """Generators seldom reach the ends of the grey scale as cameras do."""

    name = "mccloskey18"
    paper = "arXiv:1812.08247"
    version = 1
    stochastic = False
    preload = ("sklearn.svm",)
    deviations = (
        "thresholds as recalled: 240, 245, 250, 255 and 0, 5, 10, 15",
        "features standardised, one SVM a source against the rest (paper: real against GAN)",
    )

    def __init__(self, samples: str = "all", c: float = 1.0) -> None:
        check_choice(self.name, "samples", samples, ("all", "gray", "each"))
        check_positive(self.name, "c", c)
        self.samples = samples  # what is counted: all three channels together, luma, or each channel by itself
        self.c = c  # the SVM's penalty

    def fit(self, train: ImageSet, val: ImageSet, *, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        features, labels = gather(self.features, train)
        self.mean, self.scale = spread(features)  # fractions of 1e-4 would leave the SVM blind
        rows = (features - self.mean) / self.scale
        self.machine = fit_linear_machine(rows, labels, len(train.sources), self.c)

    def scores(self, images: Images) -> Scores:
        """Return the margins of the sources' SVMs, negative outside."""
        return linear_scores(self.machine, (self.features(images) - self.mean) / self.scale)

    def fingerprints(self, images: Images) -> Fingerprints:
        """Return the fractions themselves."""
        return self.features(images)

    def features(self, images: Images) -> Fingerprints:
        """Return (n, 8) fractions in [0, 1], four over- and four under-exposed; (n, 24), red first, for ``each``."""
        if self.samples == "gray":
            values = luma(images).flatten(1)[:, None]
        else:
            values = images.flatten(2) if self.samples == "each" else images.flatten(1)[:, None]
        fractions = [(values >= level).double().mean(dim=2) for level in _OVER]
        fractions += [(values <= level).double().mean(dim=2) for level in _UNDER]
        return torch.stack(fractions, dim=2).flatten(1)
