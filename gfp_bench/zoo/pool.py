"""Real images for the zoo: a pool that generators learn from, and others that no generator has seen."""

import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from gfp_bench.contracts.dataset import REAL
from gfp_bench.contracts.types import Images
from gfp_bench.data import photographs
from gfp_bench.data.dataset import Dataset, load_dataset
from gfp_bench.data.photographs import Crops
from gfp_bench.errors import UsageError
from gfp_bench.files import sha256
from gfp_bench.zoo.photographs import RULES, crops_of, read_table
from gfp_bench.zoo.recipe import PHOTOGRAPHS, TABLE, Part

EACH = 40  # crops of a photograph in a pool, at most
EACH_SHIPPED = 6  # and in a split that no generator learns


class Pool(ABC):
    """Real images of one side, those of different splits never the same.

    Attributes:
        identity: What names its images: ``photographs``, or the name and the digest of a table or a dataset.
        side: Height and width in pixels.
        shared_groups: Why groups may stand in several splits; empty where none does.
    """

    identity: str
    side: int
    shared_groups: str

    @cached_property
    @abstractmethod
    def crops(self) -> Crops:
        """All images that generators may learn from."""

    @abstractmethod
    def held_out(self, split: str, n: int, *, rng: torch.Generator) -> Crops:
        """Return n images of val or test.

        Raises:
            UsageError: If there are fewer.
        """

    def drawn(self, n: int, *, rng: torch.Generator) -> Crops:
        """Return n images of the pool, as equally many of each group as there are.

        Raises:
            UsageError: If there are fewer.
        """
        return _drawn(self.crops, n, rng, f"pool {self.identity}")

    def part(self, part: Part | None) -> Images:
        """Return the images that one generator learns from.

        Raises:
            UsageError: If the pool has too few images or groups.
        """
        if part is None:
            return self.crops.images
        rng = torch.Generator().manual_seed(part.seed)
        images = self._of_groups(part.groups, rng)
        if part.images is None:
            return images
        if part.images + part.replaced > len(images):
            raise UsageError(
                f"pool {self.identity} has {len(images)} images, expected at least {part.images + part.replaced}: "
                f"{part.images} and {part.replaced} that replace some; ask for fewer"
            )
        order = torch.randperm(len(images), generator=rng)
        rows = order[: part.images].clone()
        rows[: part.replaced] = order[part.images : part.images + part.replaced]
        return images[rows]

    def _of_groups(self, groups: tuple[int, int] | None, rng: torch.Generator) -> Images:
        """Return the images of groups ``first`` to ``last``, less one, in an order that ``rng`` shuffles."""
        if groups is None:
            return self.crops.images
        first, last = groups
        names = sorted({*self.crops.groups})
        if last > len(names):
            raise UsageError(
                f"pool {self.identity} has {len(names)} groups, expected at least {last} for "
                f"groups = [{first}, {last}]; ask for fewer"
            )
        chosen = {names[place] for place in torch.randperm(len(names), generator=rng)[first:last].tolist()}
        return self.crops.images[[row for row, group in enumerate(self.crops.groups) if group in chosen]]


def find_pool(
    name: str,
    side: int | None = None,
    *,
    cache: Path | None = None,
    folders: Sequence[Path] = (),
    licences: Collection[str] = (),
) -> Pool:
    """Return the pool of a name.

    Args:
        name: ``photographs``, the path of a table of photographs, or a dataset with a source ``real``.
        side: Of the images; 64 for photographs and the dataset's own by default.
        cache: Where decoded images are kept.
        folders: Where to look for manifests, besides the built-in ones.
        licences: Which a table may state besides those that may be shipped anyway.

    Raises:
        UsageError: If there is no such dataset, it has no real images of that side, or a table or one of its
            photographs is not what it should be.
    """
    if name.endswith(TABLE):
        return _Tabled(Path(name), side or photographs.SIZE, licences)
    if name == PHOTOGRAPHS:
        return _Photographs(side or photographs.SIZE)
    return _Reals(load_dataset(name, cache=cache, folders=folders), side)


class _Photographs(Pool):
    """Crops of the ten photographs."""

    def __init__(self, side: int) -> None:
        if side > photographs.SIDES[0]:
            raise UsageError(
                f"crops of {PHOTOGRAPHS} were asked for with side {side}, expected at most {photographs.SIDES[0]}: "
                "more would have to be invented; take a smaller side or a dataset as pool"
            )
        self.identity, self.side, self.shared_groups = PHOTOGRAPHS, side, photographs.SHARED

    @cached_property
    def crops(self) -> Crops:
        return photographs.pool(self.side)

    def held_out(self, split: str, n: int, *, rng: torch.Generator) -> Crops:
        each = math.ceil(n / len(photographs.PHOTOGRAPHS))
        found = photographs.crops(split, each, rng=rng, size=self.side)
        return found if len(found.images) == n else _drawn(found, n, rng, split)


class _Tabled(Pool):
    """Crops of the photographs of a table."""

    def __init__(self, table: Path, side: int, licences: Collection[str]) -> None:
        self._folder, self._photographs, self.side = table.parent, read_table(table, licences), side
        self._found: dict[str, Crops] = {}
        content = sorted((photograph.sha256, photograph.name, photograph.split) for photograph in self._photographs)
        self.identity = f"{table.stem}@{sha256(repr((RULES, EACH, EACH_SHIPPED, content)).encode())}"

    @cached_property
    def crops(self) -> Crops:
        return self._of("train", EACH)

    def held_out(self, split: str, n: int, *, rng: torch.Generator) -> Crops:
        return _drawn(self._of(split, EACH_SHIPPED), n, rng, f"split {split!r} of {self.identity}")

    def _of(self, split: str, most: int) -> Crops:
        if split not in self._found:
            rows = [photograph for photograph in self._photographs if photograph.split == split]
            if not rows:
                raise UsageError(f"{self.identity} has no photograph in {split}, expected some; mend the table")
            found = [crops_of(self._folder, photograph, self.side, most) for photograph in rows]
            groups = tuple(group for crops in found for group in crops.groups)
            self._found[split] = Crops(torch.cat([crops.images for crops in found]), groups)
        return self._found[split]


class _Reals(Pool):
    """The source ``real`` of a dataset."""

    def __init__(self, dataset: Dataset, side: int | None) -> None:
        height, width = dataset.manifest.image_size
        if REAL not in dataset.sources:
            raise UsageError(
                f"dataset {dataset.name!r} has no source {REAL!r} to learn from; its sources: "
                f"{', '.join(dataset.sources)}"
            )
        if height != width or side not in (None, width):
            raise UsageError(
                f"dataset {dataset.name!r} has images of {width} x {height} pixels, expected squares"
                f"{f' of {side}' if side else ''}; take another dataset, or crop and resize it by its view"
            )
        self.identity, self.side, self._dataset = f"{dataset.name}@{dataset.digest}", width, dataset
        self.shared_groups = dataset.manifest.shared_groups

    @cached_property
    def crops(self) -> Crops:
        return self._real("train")

    def held_out(self, split: str, n: int, *, rng: torch.Generator) -> Crops:
        return _drawn(self._real(split), n, rng, f"split {split!r} of {self.identity}")

    def _real(self, split: str) -> Crops:
        images = self._dataset.split(split)
        rows = np.flatnonzero(images.labels.numpy() == images.sources.index(REAL))
        return Crops(images.read(rows), tuple(images.groups[row] for row in rows))


def _drawn(crops: Crops, n: int, rng: torch.Generator, subject: str) -> Crops:
    """Return n of the images, group after group: one of each group at random, then another of each, and so on."""
    if n > len(crops.images):
        raise UsageError(f"{subject} has {len(crops.images)} real images, expected at least {n}; ask for fewer")
    members: dict[str, list[int]] = {}
    for row, group in enumerate(crops.groups):
        members.setdefault(group, []).append(row)
    shuffled = [torch.tensor(rows)[torch.randperm(len(rows), generator=rng)].tolist() for rows in members.values()]
    order = torch.randperm(len(shuffled), generator=rng).tolist()  # which groups give one more
    turns = [(turn, order[group], group, row) for group, rows in enumerate(shuffled) for turn, row in enumerate(rows)]
    taken = sorted((group, turn, row) for turn, _, group, row in sorted(turns)[:n])
    chosen = [row for _, _, row in taken]
    return Crops(crops.images[chosen], tuple(crops.groups[row] for row in chosen))
