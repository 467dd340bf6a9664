"""A convolutional network that names the source of an image.

Source: Yu et al., "Attributing fake images to GANs: learning and analyzing GAN fingerprints", ICCV 2019,
arXiv:1811.08180, section 3.1 and figure 2(a); widths, equalised learning rate and optimiser as in the authors' code.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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
from gfp_bench_methods._shared.training import Length, Schedule, train_network

_BATCH = 32
_RATE = 1e-3
_FIT = {"full": Length(20), "smoke": Length(4, limit=15)}
_IMMUNISE = {"full": Length(2), "smoke": Length(1, limit=6)}  # at a tenth of the rate
_SIDES = (8, 16, 32, 64, 128, 256, 512, 1024)
_EXPECTED_SIZE = "squares with a side of 8, 16, 32, ... 1024"


@hookimpl
def register_methods(register: Register) -> None:
    """Offer `Yu19`."""
    register(Yu19)


class Yu19(Method):
    """An image's fingerprint is the network's last feature, a source's the weights that read it."""

    name = "yu19"
    paper = "arXiv:1811.08180"
    version = 1
    weights = "scratch"

    def __init__(
        self,
        budget: Annotated[Literal["full", "smoke"], "full: 20 epochs; smoke: 4 epochs of at most 480 images"] = "full",
    ) -> None:
        self.budget = budget
        self.deviations = (
            f"{_FIT[budget].phrase(_BATCH)}, the best on validation images kept (paper: 10^8 images)",
            f"immunised for {_IMMUNISE[budget].phrase(_BATCH)} at a tenth of the rate (paper: not given)",
        )

    def skip(self, dataset: DatasetFacts) -> str | None:
        """Return why images of a size that does not halve down to 4 x 4 cannot be taken."""
        _, height, width = dataset.image_shape
        return None if _fits(height, width) else f"images are {height} x {width}, expected {_EXPECTED_SIZE}"

    def build(self, n_sources: int, image_shape: torch.Size) -> None:
        super().build(n_sources, image_shape)
        self.network = AttributionNetwork(n_sources, *image_shape[1:])

    def fit(self, train: ImageSet, val: ImageSet, *, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        self.build(len(train.sources), train.image_shape)
        self.network.to(train.device)
        self._train(train, val, _FIT[self.budget], _RATE, rng, monitor)

    def immunise(self, train: ImageSet, val: ImageSet, *, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        """Fine-tune on attacked images."""
        self._train(train, val, _IMMUNISE[self.budget], _RATE / 10, rng, monitor)

    def fine_tuning(self, train_images: int) -> int:
        """Return the updates of `immunise`."""
        return _IMMUNISE[self.budget].updates(train_images, _BATCH)

    @torch.no_grad()
    def scores(self, images: Images) -> Scores:
        """Return logits."""
        logits: Tensor = self.network(to_input(images))
        return logits

    @torch.no_grad()
    def fingerprints(self, images: Images) -> Fingerprints:
        """Return the (n, 512) features before the last layer."""
        return self.network.fingerprints(to_input(images))

    def _train(
        self, train: ImageSet, val: ImageSet, length: Length, rate: float, rng: torch.Generator, monitor: Monitor
    ) -> None:
        def mirrored() -> Iterator[tuple[Tensor, Labels]]:
            for images, labels in train.batches(_BATCH, shuffle=True, rng=rng):
                flip = (torch.rand(len(images), generator=rng) < 0.5).to(images.device)
                yield to_input(torch.where(flip[:, None, None, None], images.flip(3), images)), labels

        def plain() -> Iterator[tuple[Tensor, Labels]]:
            return ((to_input(images), labels) for images, labels in val.batches(_BATCH))

        optimiser = torch.optim.Adam(self.network.parameters(), betas=(0.0, 0.99), eps=1e-8)
        schedule = Schedule([rate] * length.epochs, -(-len(train) // _BATCH), length.limit)
        train_network(self.network, optimiser, mirrored, plain, schedule, monitor)


class AttributionNetwork(nn.Module):
    """Two convolutions at every resolution down to 8 x 8, one at 4 x 4, two dense layers."""

    def __init__(self, n_sources: int, height: int, width: int) -> None:
        super().__init__()
        if not _fits(height, width):
            raise ValueError(f"yu19 got images of {height} x {width}, expected {_EXPECTED_SIZE}")
        blocks: list[nn.Module] = []
        channels = 3
        for level in range(height.bit_length() - 1, 2, -1):  # the resolution is 2 ** level
            blocks += [Conv(channels, _width(level - 1)), Conv(_width(level - 1), _width(level - 2)), nn.AvgPool2d(2)]
            channels = _width(level - 2)
        self.trunk = nn.Sequential(*blocks, Conv(channels, 512))
        self.feature = Dense(512 * 4 * 4, max(512, n_sources), gain=2**0.5)
        self.head = Dense(max(512, n_sources), n_sources, gain=1.0)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return (n, s) logits of (n, 3, h, w) values in [-1, 1]."""
        logits: Tensor = self.head(self.fingerprints(inputs))
        return logits

    def fingerprints(self, inputs: Tensor) -> Tensor:
        """Return the (n, 512) features before the last layer."""
        return F.leaky_relu(self.feature(self.trunk(inputs).flatten(1)), 0.2)


class Conv(nn.Module):
    """A 3 x 3 convolution with mirrored borders, its learning rate equalised, and a leaky ReLU."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        weight = torch.randn(width, channels, 3, 3)
        self.weight = nn.Parameter(weight.contiguous(memory_format=torch.channels_last))  # a tenth faster on a CPU
        self.bias = nn.Parameter(torch.zeros(width))
        self.scale = (2 / (9 * channels)) ** 0.5

    def forward(self, inputs: Tensor) -> Tensor:
        """Return (n, width, h, w)."""
        padded = Mirrored.apply(inputs)  # type: ignore[no-untyped-call]
        return F.leaky_relu(F.conv2d(padded, self.weight * self.scale, self.bias), 0.2)


class Dense(nn.Module):
    """A linear layer, its learning rate equalised."""

    def __init__(self, inputs: int, width: int, gain: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(width, inputs))
        self.bias = nn.Parameter(torch.zeros(width))
        self.scale = gain / inputs**0.5

    def forward(self, inputs: Tensor) -> Tensor:
        """Return (n, width)."""
        return F.linear(inputs, self.weight * self.scale, self.bias)


def to_input(images: Images) -> Tensor:
    """Return values in [-1, 1]."""
    return (images.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)


class Mirrored(torch.autograd.Function):
    """Images padded by one pixel, mirrored at the border's middle.

    PyTorch's own gradient of this padding is not deterministic on CUDA. That of slices is, but makes a step a tenth
    slower on a CPU.
    """

    @staticmethod
    def forward(_: Any, inputs: Tensor) -> Tensor:
        """Return (n, c, h + 2, w + 2) of (n, c, h, w)."""
        return F.pad(inputs, (1, 1, 1, 1), mode="reflect")

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        """Return (n, c, h, w): what reaches the border is added to the pixel that it mirrors."""
        rows = gradient[:, :, 1:-1].clone()
        rows[:, :, 1] += gradient[:, :, 0]
        rows[:, :, -2] += gradient[:, :, -1]
        rows[..., 2] += rows[..., 0]
        rows[..., -3] += rows[..., -1]
        return rows[..., 1:-1].contiguous(memory_format=torch.channels_last)


def _width(level: int) -> int:
    """Return the channels at a resolution of 2 ** level."""
    return min(1024 >> level, 512)


def _fits(height: int, width: int) -> bool:
    return height == width and height in _SIDES
