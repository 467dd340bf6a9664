"""How often pixels are saturated or under-exposed, told apart by a linear SVM.

Source: McCloskey and Albright, "Detecting GAN-generated imagery using color cues", arXiv:1812.08247; short version
"... using saturation cues", ICIP 2019. No code was published.
Readings of ours, as the paper is silent: an intensity is the value of any channel (``intensity``), since what a
generator's last layer seldom saturates is a channel; the penalty is chosen on validation images (``c``).
"""

from typing import Annotated, Literal

import torch
from annotated_types import Gt

from gfp_bench import SILENT, Fingerprints, Images, ImageSet, Method, Monitor, Register, Scores, hookimpl
from gfp_bench_methods._shared.features import balanced_accuracy, gather, luma, spread
from gfp_bench_methods._shared.svm import fit_linear_machine, linear_scores

_OVER = (240, 245, 250, 255)  # counted from here up
_UNDER = (0, 5, 10, 15)  # counted from here down
_PENALTIES = (0.01, 0.1, 1.0, 10.0, 100.0, 1000.0, 10_000.0)


@hookimpl
def register_methods(register: Register) -> None:
    """Offer `McCloskey18`."""
    register(McCloskey18)


class McCloskey18(Method):
    """Generators seldom reach the ends of the grey scale as cameras do."""

    name = "mccloskey18"
    paper = "arXiv:1812.08247"
    version = 2
    stochastic = False
    preload = ("sklearn.svm",)
    deviations: tuple[str, ...] = (
        "thresholds as recalled: 240, 245, 250, 255 and 0, 5, 10, 15",
        "features standardised, one SVM per source against the rest (paper: real against GAN)",
    )

    def __init__(
        self,
        intensity: Annotated[
            Literal["all", "grey", "channel"],
            "what is counted: all three channels together, luma, or each channel by itself",
        ] = "all",
        c: Annotated[
            float | None,
            "the machine's penalty; none: the best of 0.01, 0.1, ..., 10000 on the validation images",
            Gt(0),
        ] = None,
    ) -> None:
        self.intensity = intensity
        self.c = c
        self.deviations = (
            *self.deviations,
            {
                "all": "intensities of all channels counted together (paper: not given)",
                "grey": "intensities of the grey image (paper: not given)",
                "channel": "intensities of each channel counted apart (paper: not given)",
            }[intensity],
            "C chosen on validation images" if c is None else f"C = {c:g}",
        )

    def fit(self, train: ImageSet, val: ImageSet, *, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        features, labels = gather(self.features, train)
        self.mean, self.scale = spread(features)  # fractions of 1e-4 would leave the SVM blind
        rows = (features - self.mean) / self.scale
        self.n_sources = len(train.sources)
        grid = _PENALTIES if self.c is None else (self.c,)
        machines = [fit_linear_machine(rows, labels, self.n_sources, c) for c in grid]
        self.penalty, self.machine = grid[0], machines[0]
        if len(machines) > 1:
            seen, answers = gather(self.features, val)
            seen = (seen - self.mean) / self.scale
            found = [balanced_accuracy(linear_scores(machine, seen).argmax(dim=1), answers) for machine in machines]
            best = found.index(max(found))  # the smallest penalty of several
            self.penalty, self.machine = grid[best], machines[best]

    def scores(self, images: Images) -> Scores:
        """Return the margins of the sources' SVMs, negative outside."""
        return linear_scores(self.machine, (self.features(images) - self.mean) / self.scale)

    def fingerprints(self, images: Images) -> Fingerprints:
        """Return the fractions themselves."""
        return self.features(images)

    def features(self, images: Images) -> Fingerprints:
        """Return (n, 8) fractions in [0, 1], four over- and four under-exposed; (n, 24), red first, by channel."""
        if self.intensity == "grey":
            values = luma(images).flatten(1)[:, None]
        else:
            values = images.flatten(2) if self.intensity == "channel" else images.flatten(1)[:, None]
        fractions = [(values >= level).double().mean(dim=2) for level in _OVER]
        fractions += [(values <= level).double().mean(dim=2) for level in _UNDER]
        return torch.stack(fractions, dim=2).flatten(1)
