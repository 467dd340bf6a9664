"""Guessing: what a method has to beat to know anything."""

from hashlib import sha256

import torch

from gfp_bench import SILENT, ImageRng, Images, ImageSet, Method, Monitor, Register, Scores, hookimpl


@hookimpl
def register_methods(register: Register) -> None:
    """Offer `Chance`."""
    register(Chance)


class Chance(Method):
    """Every source gets a uniform score, drawn from the image's content and the trial's seed."""

    name = "chance"
    paper = ""
    version = 1
    floor = True

    def fit(self, train: ImageSet, val: ImageSet, *, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        self.seed = int(torch.randint(2**62, (), generator=rng))
        self.n_sources = len(train.sources)

    def scores(self, images: Images) -> Scores:
        """Return uniform values from [0, 1); equal images get equal scores, so that batches do not matter."""
        names = [sha256(image.numpy().tobytes()).hexdigest() for image in images.cpu()]
        streams = ImageRng.for_images(names, seed=self.seed, dataset="", attack=self.name, split="")
        return streams.uniform(shape=(self.n_sources,)).float().to(images.device)
