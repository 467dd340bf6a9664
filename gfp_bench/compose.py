"""Compose photo-mini: real crops, and samples of trained generators whose colours are those of real crops.

Colour and layout must not give a source away, its fingerprint should. So every sample is chosen from a surplus, to
match a real training crop as an 8 x 8 thumbnail; no pixel is changed.
"""

import math
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from gfp_bench.manifests import Manifest, Metadata
from gfp_bench.photographs import PHOTOGRAPHS, Crops, crops, pool, textured
from gfp_bench.readers import index_folder
from gfp_bench.types import Images

Sampler: TypeAlias = Callable[[int, int], Images]
"""Draws n images from a seed."""

EACH = {"train": 12, "val": 4, "test": 4}  # images of each photograph, and as many targets for each generator
SURPLUS = 16  # samples drawn for each one that is kept
THUMBNAIL = 8


def compose(split: str, samplers: Mapping[str, Sampler], folder: Path) -> None:
    """Write the images of one split as ``folder/<split>/<source>/<id>.png``.

    Args:
        split: train, val or test.
        samplers: Draws each generated source, by its name.
        folder: The dataset's folder of images.
    """
    real = real_images(split)
    numbers = [index % EACH[split] for index in range(len(real.groups))]
    names = [f"{group}-{number:02d}" for group, number in zip(real.groups, numbers, strict=True)]
    write_images(folder / split / "real", names, real.images)
    for source, sampler in samplers.items():
        chosen = matched(targets(split, source), sampler, seed=seed_of("latents", source, split))
        names = [f"{split}-{index:03d}" for index in range(len(chosen))]
        write_images(folder / split / source, names, chosen)


def index(folder: Path, sources: Mapping[str, Metadata]) -> Manifest:
    """Write the manifest and the index of a composed folder, beside it; a real image's group is its photograph.

    Args:
        folder: What `compose` filled, with all three splits.
        sources: Metadata of the generators, by name.
    """
    return index_folder(
        folder,
        folder.name,
        description="64 x 64 crops of ten free photographs, and three small generators trained on such crops.",
        licence="photographs: public domain, CC0-1.0, CC-BY-2.0 or none stated (see the card); the rest: Apache-2.0",
        citation="See the card for the photographers and the generators' papers.",
        sources=sources,
        group=r"/real/([a-z]+)-[0-9]+\.png$",
    )


def real_images(split: str) -> Crops:
    """Return the real images of a split: for train a part of the pool, else new crops of the split's own regions."""
    if split == "train":
        return _part(EACH[split], "real", split)
    return crops(split, EACH[split], rng=torch.Generator().manual_seed(seed_of("crops", "real", split)))


def targets(split: str, source: str) -> Images:
    """Return the pool's crops whose colours a source's images of a split shall have, equally many a photograph."""
    return _part(EACH[split], source, split).images


def matched(wanted: Images, sampler: Sampler, *, seed: int) -> Images:
    """Return one sample for each wanted image, none twice: the assignment of least squared distance of thumbnails.

    Candidates are the first `SURPLUS` samples an image that are not flat.
    """
    drawn = sampler(SURPLUS * len(wanted), seed)
    candidates = drawn[textured(drawn)]
    costs = torch.cdist(thumbnails(wanted), thumbnails(candidates)).square()
    _, chosen = linear_sum_assignment(costs.numpy())
    return candidates[torch.from_numpy(chosen)]


def thumbnails(images: Images) -> Tensor:
    """Return (n, 192) float32: the mean grey levels of 8 x 8 blocks a channel."""
    return F.adaptive_avg_pool2d(images.float(), THUMBNAIL).flatten(1)


def nearest(images: Tensor, others: Tensor) -> Tensor:
    """Return (n,) root-mean-square distances, in grey levels, from each of (n, ...) images to the nearest of others."""
    distances = torch.cdist(images.flatten(1).float(), others.flatten(1).float())
    return distances.amin(dim=1) / math.sqrt(images[0].numel())


def contact_sheet(folder: Path, split: str, columns: int = 20) -> Image.Image:
    """Return two rows a source, sources in sorted order, images evenly spread over those of a split."""
    rows = []
    for source in sorted(path for path in (folder / split).iterdir() if path.is_dir()):
        files = sorted(source.glob("*.png"))
        chosen = [files[index] for index in np.linspace(0, len(files) - 1, 2 * columns).round().astype(int)]
        tiles = [np.asarray(Image.open(file)) for file in chosen]
        rows += [np.concatenate(tiles[:columns], axis=1), np.concatenate(tiles[columns:], axis=1)]
    return Image.fromarray(np.concatenate(rows))


def write_images(folder: Path, names: list[str], images: Images) -> None:
    """Write images as PNG files into a folder, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, image in zip(names, images, strict=True):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / f"{name}.png", optimize=True)


def seed_of(*words: str) -> int:
    """Return a seed of 63 bits, another for all other words, so that no two draws share a stream."""
    return int.from_bytes(sha256(" ".join(words).encode()).digest()[:8], "big") >> 1


def _part(each: int, source: str, split: str) -> Crops:
    """Return ``each`` crops of the pool a photograph, drawn for a source and split."""
    everything = pool()
    rng = torch.Generator().manual_seed(seed_of("pool", source, split))
    chosen = []
    for name in PHOTOGRAPHS:
        members = torch.tensor([index for index, group in enumerate(everything.groups) if group == name])
        chosen.append(members[torch.randperm(len(members), generator=rng)[:each]])
    rows = torch.cat(chosen)
    return Crops(everything.images[rows], tuple(everything.groups[index] for index in rows.tolist()))
