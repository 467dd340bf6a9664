"""What plugins are told of a dataset before any image is read. Torch-free."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

REAL = "real"
"""The source that is no generative model."""


@runtime_checkable
class DatasetFacts(Protocol):
    """A dataset as a method sees it when it is asked whether it can take it."""

    @property
    def name(self) -> str:
        """The dataset's name."""

    @property
    def source_names(self) -> tuple[str, ...]:
        """All sources, sorted: a label is an index into them."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(3, h, w), in pixels."""

    @property
    def splits(self) -> Mapping[str, int]:
        """Number of images in each split."""

    @property
    def sources(self) -> Mapping[str, Mapping[str, Any]]:
        """What is known of each source: family, loss, up-sampling, ..."""
