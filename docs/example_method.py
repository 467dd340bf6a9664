"""Names the source whose images have the nearest average colours."""

from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import Ge

from gfp_bench import SILENT, Fingerprints, Images, ImageSet, Method, Monitor, Register, Scores, hookimpl


@hookimpl
def register_methods(register: Register) -> None:
    """Offer `MeanColour`."""
    register(MeanColour)


class MeanColour(Method):
    """An image's fingerprint is its average colour in each cell of a grid, a source's the mean of those."""

    name = "mean-colour"
    paper = ""  # arXiv:... of a published one
    version = 1
    stochastic = False

    def __init__(self, cells: Annotated[int, "cells of the grid, across and down", Ge(1)] = 1) -> None:
        self.cells = cells

    def fit(self, train: ImageSet, val: ImageSet, *, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        """Average every source's fingerprints."""
        colours = torch.cat([self.fingerprints(images) for images, _ in train.batches()])
        member = F.one_hot(train.labels, len(train.sources)).float()
        self.colours = member.T @ colours / member.sum(dim=0)[:, None]

    def scores(self, images: Images) -> Scores:
        """Return squared distances from the sources' colours, negative: the nearest has the largest."""
        return -(self.fingerprints(images)[:, None] - self.colours).square().sum(dim=2)

    def fingerprints(self, images: Images) -> Fingerprints:
        """Return (n, 3 * cells ** 2) grey levels."""
        return F.adaptive_avg_pool2d(images.float(), self.cells).flatten(1)
