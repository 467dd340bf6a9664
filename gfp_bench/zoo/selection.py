"""Choose the images of a dataset: real ones, and samples of trained generators whose colours are those of real ones.

Colour and layout must not give a source away, its fingerprint should. So every sample is chosen from a surplus, to
match a real training image as an 8 x 8 thumbnail, and those of val and test can be kept apart from the source's train
images, because a generator repeats itself; no pixel is changed.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import TypeAlias

import torch
import torch.nn.functional as F
from PIL import Image
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from gfp_bench.contracts.dataset import REAL
from gfp_bench.contracts.types import Images
from gfp_bench.data.photographs import Crops, textured
from gfp_bench.errors import UsageError
from gfp_bench.metrics.distances import nearest
from gfp_bench.seeding import seed_of
from gfp_bench.zoo.pool import Pool
from gfp_bench.zoo.recipe import Format

Sampler: TypeAlias = Callable[[int, int], Images]
"""Draws n images from a seed."""

GROUP = rf"^{REAL}\.zip/[a-z]+/(.+)-[0-9]+\.(?:png|webp)$"
"""Finds a real image's group, its photograph, in its path; every other image is a group of its own."""

THUMBNAIL = 8


def real_members(pool: Pool, counts: Mapping[str, int], kind: Format = "png") -> dict[str, bytes]:
    """Return the real images of all splits as files by ``<split>/<group>-<number>.<kind>``.

    Raises:
        UsageError: If the pool has too few.
    """
    members = {}
    for split, count in counts.items():
        images, groups = real_images(pool, split, count)
        seen: Counter[str] = Counter()
        for image, group in zip(images, groups, strict=True):
            plain = re.sub(r"[^A-Za-z0-9._+@-]", "_", group)
            members[f"{split}/{plain}-{seen[plain]:02d}.{kind}"] = encoded(image, kind)
            seen[plain] += 1
    return members


def generated_members(
    source: str,
    sampler: Sampler,
    pool: Pool,
    counts: Mapping[str, int],
    *,
    surplus: int,
    apart: int = 1,
    kind: Format = "png",
) -> dict[str, bytes]:
    """Return the images of a generated source in all splits as files by ``<split>/<number>.<kind>``.

    All splits but train are chosen from one in ``apart`` of the samples, those farthest from the source's train images.

    Raises:
        UsageError: If the pool or the samples that can be used are too few, or the same image is in two splits.
    """
    members: dict[str, bytes] = {}
    splits: dict[bytes, str] = {}
    train: Images | None = None
    for split in sorted(counts, key=lambda split: split != "train"):
        wanted, seed = targets(pool, split, source, counts[split]), seed_of("latents", source, split)
        chosen = matched(wanted, sampler, surplus=surplus, seed=seed, source=source, known=train, apart=apart)
        train = chosen if split == "train" else train
        for number, image in enumerate(chosen):
            content = encoded(image, kind)
            if splits.setdefault(content, split) != split:
                raise UsageError(
                    f"source {source!r} made the same image for {splits[content]} and {split}, expected none twice: it "
                    "has collapsed; train it longer or with another seed"
                )
            members[f"{split}/{number:03d}.{kind}"] = content
    return members


def real_images(pool: Pool, split: str, count: int) -> Crops:
    """Return the real images of a split: for train a part of the pool, else images that no generator learnt from."""
    if split == "train":
        return pool.drawn(count, rng=_rng("pool", REAL, split))
    return pool.held_out(split, count, rng=_rng("crops", REAL, split))


def targets(pool: Pool, split: str, source: str, count: int) -> Images:
    """Return the pool's images whose colours a source's images of a split shall have, equally many per photograph."""
    return pool.drawn(count, rng=_rng("pool", source, split)).images


def matched(
    wanted: Images,
    sampler: Sampler,
    *,
    surplus: int,
    seed: int,
    source: str = "",
    known: Tensor | None = None,
    apart: int = 1,
) -> Images:
    """Return one sample for each wanted image, none twice: the assignment of least squared distance of thumbnails.

    Candidates are the first ``surplus`` samples per image that are not flat, and of these, where ``known`` images
    (m, 3, h, w) are given, one in ``apart``: those whose nearest known image is farthest.

    Raises:
        UsageError: If the samples have another size, or are nearly all flat.
    """
    drawn = sampler(surplus * len(wanted), seed).cpu()
    if drawn.shape[1:] != wanted.shape[1:]:
        raise UsageError(
            f"source {source!r} makes images of shape {tuple(drawn.shape[1:])}, expected {tuple(wanted.shape[1:])}; "
            "change the recipe's side or the source"
        )
    candidates = drawn[textured(drawn)]
    if len(candidates) < len(wanted):
        raise UsageError(
            f"source {source!r} has {len(candidates)} images of {len(drawn)} that are not flat, expected at least "
            f"{len(wanted)}; train it longer or with another seed"
        )
    if known is not None:
        kept = max(len(wanted), len(candidates) // apart)
        candidates = candidates[nearest(candidates, known).topk(kept).indices.sort().values]
    costs = torch.cdist(thumbnails(wanted), thumbnails(candidates)).square()
    _, chosen = linear_sum_assignment(costs.numpy())
    return candidates[torch.from_numpy(chosen)]


def thumbnails(images: Images) -> Tensor:
    """Return (n, 192) float32: the mean grey levels of 8 x 8 blocks a channel."""
    return F.adaptive_avg_pool2d(images.float(), THUMBNAIL).flatten(1)


def encoded(image: Tensor, kind: Format) -> bytes:
    """Return a (3, h, w) image as the bytes of a file that loses nothing of it."""
    buffer = BytesIO()
    options = {"optimize": True} if kind == "png" else {"lossless": True, "quality": 100, "method": 6}
    Image.fromarray(image.permute(1, 2, 0).cpu().numpy()).save(buffer, kind, **options)
    return buffer.getvalue()


def _rng(*words: str) -> torch.Generator:
    return torch.Generator().manual_seed(seed_of(*words))
