"""The contract of a trainable source: a generative model that the zoo trains and samples."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

import torch

from gfp_bench.contracts.monitor import SILENT, Monitor
from gfp_bench.contracts.settings import Configurable
from gfp_bench.contracts.types import Images


class Generator(Configurable, ABC):
    """A generative model. Settings are keyword arguments of ``__init__``, kept under their own names.

    Attributes:
        name: What the field calls it, in lower case.
        paper: Where it was published.
        version: Raised by hand whenever trained models change.
        metadata: The factors that are thought to shape fingerprints: family, loss, upsampling, downsampling,
            normalisation, nonlinearity (the last one), skips.
        truncation: What the latents of samples are multiplied with; None for a generator without latents to scale.
    """

    name: ClassVar[str]
    paper: ClassVar[str]
    version: ClassVar[int]
    metadata: ClassVar[dict[str, str]]
    truncation: float | None = None

    @abstractmethod
    def train(self, pool: Images, *, steps: int, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        """Learn the distribution of a pool of images, on the pool's device.

        Raises:
            FloatingPointError: If the training diverges; the message names the step.
        """

    @abstractmethod
    def sample(self, n: int, *, rng: torch.Generator) -> Images:
        """Return n images drawn with averaged weights in evaluation mode."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the trained model into an existing folder, without pickle."""

    @abstractmethod
    def load(self, folder: Path, *, device: torch.device | str = "cpu") -> None:
        """Take over what `save` wrote; called on a generator made with the same settings."""
