"""Datasets as methods see them: every image checked and decoded once into a cache that all processes map."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from gfp_bench.contracts.images import ImageSet
from gfp_bench.data import cache as caches
from gfp_bench.data.catalogue import DEFAULT_CACHE, find_dataset
from gfp_bench.data.decoding import decoders
from gfp_bench.data.index import rows_of
from gfp_bench.data.manifest import Manifest, read_index, read_manifest
from gfp_bench.data.reader import OnProgress
from gfp_bench.errors import UsageError, unknown


def load_dataset(name_or_path: str | Path, *, cache: Path | None = None, folders: Sequence[Path] = ()) -> "Dataset":
    """Return the dataset of a name, or of the manifest at a path ending in ``.toml``.

    Args:
        name_or_path: Which dataset; one that is made on first use takes settings, as ``sine[side=128]``.
        cache: Where it is made and decoded images are kept; ``~/.cache/gfp-bench`` by default.
        folders: Where to look for manifests, besides the built-in ones.

    Raises:
        UsageError: If there is no dataset of that name, or it cannot have such settings.
        DatasetError: If its manifest is not sound, or it cannot be made.
    """
    cache = cache or DEFAULT_CACHE
    return Dataset(read_manifest(find_dataset(name_or_path, folders, cache)), cache)


class Dataset:
    """A manifest with its images. Files are read on the first `split`, and never again once the cache has them."""

    def __init__(self, manifest: Manifest, cache: Path = DEFAULT_CACHE) -> None:
        self.manifest = manifest
        self.cache = cache.expanduser() / "decoded" / f"{manifest.name}-{manifest.digest[:32]}-{decoders()}.npy"

    @property
    def name(self) -> str:
        """The manifest's name."""
        return self.manifest.name

    @property
    def sources(self) -> tuple[str, ...]:
        """All sources, sorted: a label is an index into them."""
        return self.manifest.source_names

    @property
    def digest(self) -> str:
        """What identifies the data in a record's key."""
        return self.manifest.digest

    @cached_property
    def index(self) -> pd.DataFrame:
        """The checked index, see `read_index`; row i describes image i of the cache."""
        return read_index(self.manifest)

    def split(
        self,
        name: str,
        *,
        device: torch.device | str = "cpu",
        limit: int | None = None,
        sources: Sequence[str] | None = None,
    ) -> ImageSet:
        """Return a split's images, in an order that tells nothing of their sources.

        Args:
            name: The split.
            device: Where batches go.
            limit: At most so many images per source, always the same ones; all by default.
            sources: Images of these alone, whose labels index into their sorted names; all by default.

        Raises:
            UsageError: If there is no such split or source, or ``limit`` is below 1.
            DatasetError: If files are damaged or the cache cannot be written.
        """
        if name not in self.manifest.splits:
            raise unknown("split", name, self.manifest.splits)
        if limit is not None and limit < 1:
            raise UsageError(f"limit is {limit}, expected at least 1 image per source; raise or omit it")
        names = self.sources if sources is None else tuple(sorted(sources))
        if strange := sorted({*names} - {*self.sources}):
            raise unknown("source", strange[0], self.sources)
        pixels = self.pixels()
        chosen = rows_of(self.index, name, names, limit)
        return ImageSet(
            pixels,
            np.searchsorted(names, chosen["source"].to_list()).astype(np.int64),
            sources=names,
            ids=chosen["id"].to_list(),
            groups=chosen["group"].to_list(),
            rows=chosen.index.to_numpy(dtype=np.int64),
            dataset=self.name,
            split=name,
            device=device,
        )

    def pixels(self, progress: OnProgress | None = None) -> NDArray[np.uint8]:
        """Return all images, (N, 3, h, w), read-only and mapped from the cache, which the first call fills.

        Each call holds some images of the cache to what they were when it was filled.

        Raises:
            DatasetError: If files are damaged or the cache cannot be written or read, or is found to have changed.
        """
        if not caches.filled(self.cache):
            caches.fill(self.cache, self.manifest, self.index, progress)
        return caches.opened(self.cache, self._shape)

    def expect_unchanged(self) -> None:
        """Refuse files that are gone or others since the cache was filled; there is nothing to refuse without one.

        Raises:
            DatasetError: If there are any; the message names some.
        """
        if caches.filled(self.cache):
            caches.expect_unchanged(self.cache, self.manifest, self.index)

    def verify_cache(self) -> int:
        """Hold all images of the cache to what they were when it was filled; return how many there are, 0 without one.

        Raises:
            DatasetError: If any has changed.
        """
        return caches.verify_cache(self.cache, self._shape) if caches.filled(self.cache) else 0

    @property
    def _shape(self) -> tuple[int, ...]:
        return (len(self.index), *self.manifest.image_shape)
