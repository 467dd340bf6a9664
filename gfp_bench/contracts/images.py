"""ImageSet: labelled images of a split as uint8 batches, read from the decoded cache as they are needed."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import get_worker_info

from gfp_bench.contracts.attack import Perturbation
from gfp_bench.contracts.rng import ImageRng
from gfp_bench.contracts.types import Images, Labels


@runtime_checkable
class Pixels(Protocol):
    """Where an `ImageSet` reads: an array or memory map of uint8 (N, 3, h, w), or what hands over parts of one."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, 3, h, w)."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> Any:
        """Return the images at some rows, (m, 3, h, w)."""


class ImageSet:
    """Images of one split. Works as a map-style dataset too, so a torch ``DataLoader`` takes it.

    With workers a loader needs a set on the CPU. They share the number of draws, so that every epoch of a perturbed
    set is a new draw, the same as without workers.

    Attributes:
        sources: The names of all sources of the dataset, sorted; a label is an index into them.
        ids: The images' names, unique in the dataset.
        groups: What ties images together (photograph, prompt, latent), one per image.
        dataset: The dataset's name.
        split: The split's name.
        device: Where batches lie.
    """

    def __init__(
        self,
        pixels: Pixels,
        labels: NDArray[np.int64],
        *,
        sources: Sequence[str],
        ids: Sequence[str],
        groups: Sequence[str] | None = None,
        rows: NDArray[np.int64] | None = None,
        dataset: str = "memory",
        split: str = "train",
        device: torch.device | str = "cpu",
    ) -> None:
        """Wrap an (N, 3, h, w) array, of which ``rows`` (all by default) are the set's images.

        Args:
            pixels: The decoded images, read batch by batch.
            labels: (n,) indices into ``sources``, one for each row.
            sources: The sorted names of all sources.
            ids: (n,) names.
            groups: (n,) names; each image is its own group by default.
            rows: (n,) indices into ``pixels``.
            dataset: The dataset's name, part of the attacks' streams.
            split: The split's name, part of the attacks' streams.
            device: Where batches go.
        """
        self._pixels = pixels
        self._rows = np.arange(len(pixels)) if rows is None else rows
        self._labels = labels
        self.sources = tuple(sources)
        self.ids = tuple(ids)
        self.groups = tuple(ids if groups is None else groups)
        self.dataset, self.split = dataset, split
        self.device = torch.device(device)
        self._draws = torch.zeros(len(self._rows), dtype=torch.int64)
        self._perturbation: Perturbation | None = None
        self._seed = 0
        self.tick: Callable[[], None] = _silent  # the trial's heartbeat
        if not len(self._rows) == len(labels) == len(self.ids) == len(self.groups):
            raise ValueError(
                f"an ImageSet of {len(self._rows)} images got {len(labels)} labels, {len(self.ids)} ids and "
                f"{len(self.groups)} groups, expected one each"
            )

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy in another process has: all but the heartbeat, which is this one's."""
        return self.__dict__ | {"tick": _silent}

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return image ``index`` (3, h, w) and its label.

        Raises:
            IndexError: If there is no such image.
            RuntimeError: If a loader's worker asks for it and the set is not on the CPU.
        """
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[Tensor, int]]:
        """Return several images, each as `__getitem__` does, read at once as a loader's batch.

        Raises: As `__getitem__`.
        """
        chosen = np.asarray(indices, dtype=np.int64)
        if strange := [index for index in chosen.tolist() if not -len(self) <= index < len(self)]:
            raise IndexError(f"image {strange[0]} of a set of {len(self)}")
        if self.device.type != "cpu" and get_worker_info() is not None:
            raise RuntimeError(
                f"a DataLoader's worker got an ImageSet on {self.device}, expected one on the CPU: workers share no "
                "GPU; use num_workers=0, or batches()"
            )
        self.tick()
        return list(zip(self.read(chosen % len(self)), self._labels[chosen].tolist(), strict=True))

    @property
    def draws(self) -> NDArray[np.int64]:
        """(n,) how often each image was perturbed; may be written to."""
        return self._draws.numpy()

    @property
    def image_shape(self) -> torch.Size:
        """(3, h, w)."""
        return torch.Size(self._pixels.shape[1:])

    @property
    def labels(self) -> Labels:
        """All labels, on the set's device."""
        return torch.from_numpy(self._labels).to(self.device)

    @property
    def images(self) -> Images:
        """All images in one tensor: for small sets, `batches` for any."""
        return self.read(np.arange(len(self)))

    def batches(
        self, size: int = 256, *, shuffle: bool = False, rng: torch.Generator | None = None
    ) -> Iterator[tuple[Images, Labels]]:
        """Yield the whole set once, in batches of at most ``size``, the last one smaller if need be.

        Raises:
            ValueError: If ``shuffle`` is asked for without ``rng``.
        """
        if shuffle and rng is None:
            raise ValueError("batches(shuffle=True) got rng=None, expected the rng that fit was given")
        order = torch.randperm(len(self), generator=rng).numpy() if shuffle else np.arange(len(self))
        for start in range(0, len(self), size):
            chosen = order[start : start + size]
            self.tick()
            yield self.read(chosen), torch.from_numpy(self._labels[chosen]).to(self.device)

    def read(self, chosen: NDArray[np.int64]) -> Images:
        """Return the images at some positions; of a perturbed set, each reading is a new draw."""
        images = torch.from_numpy(self._pixels[self._rows[chosen]]).to(self.device)
        if self._perturbation is None:
            return images
        streams = self._streams(self._perturbation.name, self._seed, chosen, self.draws[chosen])
        self.draws[chosen] += 1
        return self._perturbation.perturb(images, streams)

    def subset(self, chosen: Sequence[int] | NDArray[np.int64]) -> "ImageSet":
        """Return the set of some images, by their positions in this one."""
        chosen = np.asarray(chosen, dtype=np.int64)
        part = ImageSet(
            self._pixels,
            self._labels[chosen],
            sources=self.sources,
            ids=[self.ids[i] for i in chosen],
            groups=[self.groups[i] for i in chosen],
            rows=self._rows[chosen],
            dataset=self.dataset,
            split=self.split,
            device=self.device,
        )
        part._perturbation, part._seed, part.tick = self._perturbation, self._seed, self.tick
        if self._perturbation is not None:
            part._draws = _shared(self._draws[chosen])
        return part

    def perturbed(self, attack: Perturbation, *, seed: int) -> "ImageSet":
        """Return the same images under an attack: none is left clean, and every reading of an image is a new draw."""
        part = self.subset(np.arange(len(self)))
        part._perturbation, part._seed = attack, seed
        part._draws = _shared(torch.zeros(len(self), dtype=torch.int64))
        return part

    def attack_rng(self, attack: str, seed: int, passes: int = 0) -> ImageRng:
        """Return one random stream per image for an attack of that name."""
        return self._streams(attack, seed, np.arange(len(self)), np.full(len(self), passes))

    def _streams(self, attack: str, seed: int, chosen: NDArray[np.int64], passes: NDArray[np.int64]) -> ImageRng:
        return ImageRng.for_images(
            [self.ids[i] for i in chosen],
            seed=seed,
            dataset=self.dataset,
            attack=attack,
            split=self.split,
            passes=passes.tolist(),
            device=self.device,
        )


def _silent() -> None:
    """Give no sign of life."""


def _shared(draws: Tensor) -> Tensor:
    """Move a tensor to memory that a loader's workers write to as well."""
    return draws.share_memory_()  # type: ignore[no-untyped-call,no-any-return] # torch's
