"""A method that learns sources one after another: the mean colour of each."""

import torch

from gfp_bench import SILENT, Fingerprints, Images, ImageSet, Method, Monitor, Register, Scores, hookimpl


@hookimpl
def register_methods(register: Register) -> None:
    register(MeanColour)


class MeanColour(Method):
    name = "mean-colour"
    paper = ""
    version = 1
    stochastic = False

    def fit(self, train: ImageSet, val: ImageSet, *, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        self.names: list[str] = []
        self.means = torch.empty(0, 3)
        self.partial_fit(train, val, rng=rng, monitor=monitor)

    def partial_fit(self, train: ImageSet, val: ImageSet, *, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        colours = self.fingerprints(train.images)
        means = torch.stack([colours[train.labels == label].mean(dim=0) for label in range(len(train.sources))])
        names = [*self.names, *train.sources]
        order = sorted(range(len(names)), key=names.__getitem__)
        self.names = [names[index] for index in order]
        self.means = torch.cat([self.means, means])[order]

    def scores(self, images: Images) -> Scores:
        return -torch.cdist(self.fingerprints(images), self.means)

    def fingerprints(self, images: Images) -> Fingerprints:
        return images.float().mean(dim=(2, 3))
