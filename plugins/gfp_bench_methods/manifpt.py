"""What is left of an image after subtracting its nearest real image, classified by a residual network.

Source: Song et al., "ManiFPT: defining and analyzing fingerprints of generative models", CVPR 2024, arXiv:2402.10401,
definitions 2.1 and 2.2; network and optimiser as in the authors' released code.
"""

from collections.abc import Iterator
from typing import Annotated, Literal

import numpy as np
import torch
from torch import Tensor

from gfp_bench import (
    SILENT,
    DatasetFacts,
    Fingerprints,
    Images,
    ImageSet,
    Labels,
    Method,
    Monitor,
    Register,
    Scores,
    hookimpl,
)
from gfp_bench_methods._shared.neighbours import nearest
from gfp_bench_methods._shared.resnet20 import ResNet20
from gfp_bench_methods._shared.training import Length, Schedule, train_network

_BATCH = 36
_RATE = 0.1
_DROPS = (100 / 180, 150 / 180)  # of the length: where the rate falls to a tenth
_FIT = {"full": Length(20), "smoke": Length(4, limit=14)}
_IMMUNISE = {"full": Length(2), "smoke": Length(1, limit=14)}  # at a tenth of the first rate


@hookimpl
def register_methods(register: Register) -> None:
    """Offer `ManiFpt`."""
    register(ManiFpt)


class ManiFpt(Method):
    """An artifact is the way from the manifold of real images to an image; a fingerprint, a model's artifacts."""

    name = "manifpt"
    paper = "arXiv:2402.10401"
    version = 1
    weights = "scratch"

    def __init__(
        self,
        space: Annotated[
            Literal["rgb", "freq"],
            "where artifacts are taken: pixels, or log magnitudes of their spectra",
        ] = "rgb",
        real_policy: Annotated[
            Literal["leave_one_out", "zero"],
            "zero: a real training image is its own neighbour, as in the released code",
        ] = "leave_one_out",
        classifier: Annotated[Literal["resnet20"], "network, that of the released code"] = "resnet20",
        budget: Annotated[Literal["full", "smoke"], "full: 20 epochs; smoke: 4 epochs of at most 504 images"] = "full",
    ) -> None:
        self.space = space
        self.real_policy = real_policy
        self.classifier = classifier
        self.budget = budget
        self.deviations = (
            "ResNet-20 from scratch, as in the released code (paper: pretrained ResNet-50)",
            f"{_FIT[budget].phrase(_BATCH)}, the best on validation images kept (released code: 180 epochs)",
            f"immunised for {_IMMUNISE[budget].phrase(_BATCH)} at a tenth of the rate (paper: not given)",
            *(["neighbours searched in pixels, as in the released code"] if space == "freq" else []),
        )

    def skip(self, dataset: DatasetFacts) -> str | None:
        """Return why a dataset without real images cannot be taken."""
        names = dataset.source_names
        return None if "real" in names else f"no source is called 'real': {', '.join(names)}"

    def build(self, n_sources: int, image_shape: torch.Size) -> None:
        super().build(n_sources, image_shape)
        self.network = ResNet20(n_sources)

    def fit(self, train: ImageSet, val: ImageSet, *, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        """Keep the real training images as the manifold and learn to tell artifacts apart.

        Raises:
            ValueError: If there are not at least two real training images.
        """
        self._keep_references(train)
        self.build(len(train.sources), train.image_shape)
        self.network.to(train.device)
        length = _FIT[self.budget]
        rates = [_RATE * 0.1 ** sum(epoch >= drop * length.epochs for drop in _DROPS) for epoch in range(length.epochs)]
        self._train(train, val, length, rates, rng, monitor)

    def immunise(self, train: ImageSet, val: ImageSet, *, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        """Fine-tune on the artifacts of attacked images; the manifold stays clean."""
        length = _IMMUNISE[self.budget]
        self._train(train, val, length, [_RATE / 10] * length.epochs, rng, monitor)

    def fine_tuning(self, train_images: int) -> int:
        """Return the updates of `immunise`."""
        return _IMMUNISE[self.budget].updates(train_images, _BATCH)

    @torch.no_grad()
    def scores(self, images: Images) -> Scores:
        """Return logits."""
        logits: Tensor = self.network(self.artifacts(images))
        return logits

    @torch.no_grad()
    def fingerprints(self, images: Images) -> Fingerprints:
        """Return the classifier's (n, 64) features before the last layer."""
        return self.network.fingerprints(self.artifacts(images))

    def artifacts(self, images: Images, without: Tensor | None = None) -> Tensor:
        """Return (n, 3, h, w) differences between images and their nearest real training images.

        Args:
            images: The queries.
            without: (n,) the index of a reference that each must not find, or -1.

        Returns:
            In [-1, 1] for pixels; in natural logarithms of the magnitude, the zero frequency centred, for spectra.
        """
        _, index = nearest(images.flatten(1), self.references, 1, without)
        projections = self.references[index[:, 0]].view_as(images)
        artifacts = self._embed(images) - self._embed(projections)
        return artifacts.contiguous(memory_format=torch.channels_last)  # a fifth faster on a CPU

    def _embed(self, images: Images) -> Tensor:
        if self.space == "rgb":
            return images.float() / 255
        spectra: Tensor = torch.fft.fftshift(torch.fft.fft2(images.double() / 255), dim=(2, 3))
        return (spectra.abs() + 1e-12).log().float()

    def _train(
        self,
        train: ImageSet,
        val: ImageSet,
        length: Length,
        rates: list[float],
        rng: torch.Generator,
        monitor: Monitor,
    ) -> None:
        labels, own = train.labels, self._own_references(train)

        def shuffled() -> Iterator[tuple[Tensor, Labels]]:
            for drawn in torch.split(torch.randperm(len(train), generator=rng), _BATCH):
                images = train.read(drawn.numpy())
                chosen = drawn.to(images.device)
                yield self.artifacts(images, own[chosen]), labels[chosen]

        def plain() -> Iterator[tuple[Tensor, Labels]]:
            return ((self.artifacts(images), labels) for images, labels in val.batches(_BATCH))

        optimiser = torch.optim.SGD(self.network.parameters(), _RATE, momentum=0.9, weight_decay=1e-4)
        train_network(
            self.network, optimiser, shuffled, plain, Schedule(rates, -(-len(train) // _BATCH), length.limit), monitor
        )

    def _keep_references(self, train: ImageSet) -> None:
        label = train.sources.index("real") if "real" in train.sources else -1
        positions = np.flatnonzero(train.labels.cpu().numpy() == label)
        if len(positions) < 2:
            raise ValueError(f"manifpt got {len(positions)} training images of a source 'real', expected 2 or more")
        self.references = train.read(positions).flatten(1)
        self.reference_ids = [train.ids[position] for position in positions]

    def _own_references(self, train: ImageSet) -> Tensor:
        """Return, for every training image, which reference it is itself, or -1: its artifact would be zero."""
        if self.real_policy == "zero":
            return torch.full((len(train),), -1, device=train.device)
        places = {name: index for index, name in enumerate(self.reference_ids)}
        return torch.tensor([places.get(name, -1) for name in train.ids], device=train.device)
