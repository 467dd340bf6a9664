"""Naming the source that has most training images, whatever the image."""

import torch

from gfp_bench import SILENT, Images, ImageSet, Method, Monitor, Register, Scores, hookimpl


@hookimpl
def register_methods(register: Register) -> None:
    """Offer `Majority`."""
    register(Majority)


class Majority(Method):
    """A source's score is its share of the training images."""

    name = "majority"
    paper = ""
    version = 1
    stochastic = False
    floor = True

    def fit(self, train: ImageSet, val: ImageSet, *, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        self.shares = torch.bincount(train.labels, minlength=len(train.sources)).float() / len(train)

    def scores(self, images: Images) -> Scores:
        """Return the same shares for every image, values in [0, 1] that sum to 1."""
        return self.shares.expand(len(images), -1).clone()
