"""Nearest neighbours on raw pixels, a baseline of Yu et al.

Source: Yu et al., "Attributing fake images to GANs", ICCV 2019, arXiv:1811.08180, section 4.2, which leaves k open. The
grid is that of Frank et al., "Leveraging frequency analysis for deep fake image recognition", arXiv:2003.08685.
"""

from typing import Annotated

import torch
from annotated_types import Ge

from gfp_bench import SILENT, Fingerprints, Images, ImageSet, Method, Monitor, Register, Scores, hookimpl
from gfp_bench_methods._shared.features import balanced_accuracy
from gfp_bench_methods._shared.neighbours import nearest, ranked_votes

_GRID = (1, 3, 5, 9, 17, 33, 65, 129, 257, 513, 1025)
_BATCH = 256  # images read at once


@hookimpl
def register_methods(register: Register) -> None:
    """Offer `Knn`."""
    register(Knn)


class Knn(Method):
    """The training images nearest to an image vote for their sources, each with one voice."""

    name = "knn"
    paper = "arXiv:1811.08180"
    version = 1
    stochastic = False
    deviations = ("k = 5 unless set (paper: not given)",)

    def __init__(
        self,
        k: Annotated[
            int | None,
            "training images that vote; none: the best of 1, 3, 5, 9, ..., 1025 on the validation images",
            Ge(1),
        ] = 5,
    ) -> None:
        self.k = k

    def fit(self, train: ImageSet, val: ImageSet, *, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        """Keep the training images.

        Raises:
            ValueError: If there are fewer of them than ``k``.
        """
        if self.k is not None and self.k > len(train):
            raise ValueError(f"setting 'k' of 'knn' got {self.k}, expected at most the {len(train)} training images")
        self.pixels = torch.empty((len(train), train.image_shape.numel()), dtype=torch.uint8, device=train.device)
        for rows, (images, _) in zip(torch.split(self.pixels, _BATCH), train.batches(_BATCH), strict=True):
            rows.copy_(images.flatten(1))
        self.labels = train.labels.clone()
        self.n_sources = len(train.sources)
        self.voters = self._choose(val) if self.k is None else self.k

    def scores(self, images: Images) -> Scores:
        """Return votes less a rank below 1: between equal votes the smaller mean distance wins."""
        distances, indices = nearest(images.flatten(1), self.pixels, self.voters)
        return ranked_votes(distances, self.labels[indices], self.n_sources)

    def fingerprints(self, images: Images) -> Fingerprints:
        """Return the (n, 3*h*w) pixels, scaled to [-1, 1]."""
        return images.flatten(1) / 127.5 - 1

    def _choose(self, val: ImageSet) -> int:
        """Return the k with the best balanced accuracy, the smallest where several have it."""
        grid = [k for k in _GRID if k <= len(self.pixels)]
        answers = []
        for images, _ in val.batches():
            distances, indices = nearest(images.flatten(1), self.pixels, grid[-1])
            voices = self.labels[indices]
            votes = (ranked_votes(distances[:, :k], voices[:, :k], self.n_sources) for k in grid)
            answers.append(torch.stack([scores.argmax(dim=1) for scores in votes]))
        accuracies = [balanced_accuracy(predicted, val.labels) for predicted in torch.cat(answers, dim=1)]
        return grid[accuracies.index(max(accuracies))]
