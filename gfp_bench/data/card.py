"""What a dataset's card says of its images: how far the sources are from real ones, and how near to what they learnt.

There are no pretrained networks here, so the Fréchet distance is taken in `octaves`: 21 numbers per image that are
fixed beforehand, say how much of which detail there is, and are few against the images of a source.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Float, UInt8
from tabulate import tabulate
from torch import Tensor

from gfp_bench.contracts.dataset import REAL
from gfp_bench.contracts.images import ImageSet
from gfp_bench.contracts.method import Method
from gfp_bench.contracts.types import Images
from gfp_bench.data.audit import file_facts, told_by_files
from gfp_bench.data.dataset import Dataset
from gfp_bench.errors import UsageError
from gfp_bench.metrics.confidence import bootstrap, interval, mean_credit
from gfp_bench.metrics.distances import moment_distances, nearest
from gfp_bench.metrics.octaves import octaves

Plain: TypeAlias = dict[str, Any]  # what JSON can hold, of any depth

HALVINGS = 100
_LIMIT = 200  # images per source: distances shrink as the number grows


def measured(data: Dataset, split: str, floors: Sequence[Method], pool: Images | None = None) -> Plain:
    """Return what a card says, as JSON can hold it; None where there are no real images to compare with.

    Keys: ``dataset``, ``digest``, ``split``; ``chance``; ``sources``, by name ``images``, ``frechet`` (to the real
    images of the split, see `frechet`), ``to_pool`` and ``to_train`` (`apart`); ``real_halves`` (`frechet`);
    ``told_from``, what a source is told from on val, by name balanced accuracies with their 95 % intervals.

    Args:
        data: The dataset.
        split: The held-out images that distances are measured on.
        floors: Methods without settings, of which the best on val is told.
        pool: What generators learnt from; the real training images by default.

    Raises:
        UsageError: If there is no train, no val, or no such split, or it is train; if the pool's images have another
            size.
    """
    if split == "train" or not {"train", "val", split} <= set(data.manifest.splits):
        raise UsageError(
            f"dataset {data.name!r} has splits {', '.join(data.manifest.splits)} and {split!r} was asked for; expected "
            "train, val and one besides train to measure on; choose another"
        )
    train, val = data.split("train"), data.split("val")
    learnt, held_out = by_source(train), by_source(data.split(split))
    pool = learnt.get(REAL) if pool is None else pool
    if pool is not None and pool.shape[1:] != train.image_shape:
        raise UsageError(
            f"the pool's images have shape {tuple(pool.shape[1:])}, expected {tuple(train.image_shape)} as those of "
            f"{data.name!r}; choose another pool"
        )
    distances, halves = _frechet_of(held_out)
    sources = {
        source: {
            "images": len(images),
            "frechet": distances.get(source),
            "to_pool": None if pool is None else apart(images, pool),
            "to_train": apart(images, learnt[source]),
        }
        for source, images in held_out.items()
    }
    on_val = {f"`{floor.name}`": accuracy_on_val(floor, train, val) for floor in floors}
    best = dict(sorted(on_val.items(), key=lambda item: item[1])[-1:])
    files = told_by_files(file_facts(data.manifest))
    return {
        "dataset": data.name,
        "digest": data.digest,
        "split": split,
        "chance": 1 / len(data.sources),
        "sources": sources,
        "real_halves": halves,
        "told_from": best | {f"files: {what}": value for what, value in files.items()},
    }


def markdown(found: Plain) -> str:
    """Return what `measured` gave as two tables for a card, with what is measured in which units."""
    rows = [
        [source, one["images"], *(_shown(one[key]) for key in ("frechet", "to_pool", "to_train"))]
        for source, one in found["sources"].items()
    ]
    told = [
        [
            what,
            f"{100 * accuracy:.1f} %",
            f"{100 * low:.1f} to {100 * high:.1f}",
            f"{100 * (accuracy - found['chance']):+.1f}",
        ]
        for what, (accuracy, low, high) in found["told_from"].items()
    ]
    return "\n".join(
        [
            f"Measured on {found['split']}, digest `{found['digest'][:16]}`.",
            "",
            tabulate(rows, ("source", "images", "Fréchet", "to the pool", "to own train"), tablefmt="github"),
            "",
            *_halves(found["real_halves"]),
            "To the pool, to own train: root-mean-square distance to the nearest image,",
            "in grey levels: smallest / median / largest.",
            "",
            tabulate(told, ("told from", "on val", "95 % interval", "above chance"), "github", disable_numparse=True),
        ]
    )


def _halves(real: Sequence[float] | None) -> list[str]:
    if real is None:
        return []
    mean, low, high = real
    return [
        "Fréchet: squared distance to real images of the split, in `octaves`.",
        f"Two halves of the real images are {mean:.2f} apart (95 %: {low:.2f} to {high:.2f}).",
    ]


def _shown(value: float | Sequence[float] | None) -> str:
    if value is None:
        return "n/a"
    return f"{value:.2f}" if isinstance(value, float) else " / ".join(f"{part:.1f}" for part in value)


def by_source(images: ImageSet) -> dict[str, Images]:
    """Return the images of each source of a set."""
    everything, labels = images.images, images.labels
    return {source: everything[labels == label] for label, source in enumerate(images.sources)}


def _frechet_of(held_out: Mapping[str, Images]) -> tuple[dict[str, float], tuple[float, float, float] | None]:
    if REAL not in held_out:
        return {}, None
    return frechet({source: octaves(images).numpy() for source, images in held_out.items()}, REAL)


def frechet(
    features: Mapping[str, Float[np.ndarray, "_ d"]], real: str
) -> tuple[dict[str, float], tuple[float, float, float]]:
    """Return squared Fréchet distances of sources to real images, and what two halves of the real ones are apart.

    Both sides have the same number of images, half of what the smallest source has, and 100 draws are averaged;
    features are divided by their standard deviation in the real images, so that 1 is one such deviation in one of them.

    Args:
        features: (n, d) rows of each source, the real one among them.
        real: The name of the real source.

    Returns:
        The distance of each other source; the mean between halves of the real images, and the 2.5th and 97.5th
        percentile over the draws: what two samples of the same images are apart by chance.
    """
    rng = np.random.Generator(np.random.Philox(0))
    half = min(_LIMIT, *(len(rows) for rows in features.values())) // 2
    deviation = features[real].std(axis=0)
    scale = np.where(deviation > 0, deviation, 1.0)
    names = [real, *(name for name in features if name != real)]
    ends = np.cumsum([0, *(len(features[name]) for name in names)])
    rows = np.concatenate([features[name] / scale for name in names])
    pairs = np.array([[0, 1], *([0, 2 * number] for number in range(1, len(names)))])
    drawn = []
    for _ in range(HALVINGS):
        parts = [start + np.argsort(rng.random(end - start))[: 2 * half] for start, end in pairwise(ends)]
        drawn.append(moment_distances(rows, np.concatenate(parts).reshape(-1, half), pairs))
    between, *others = np.array(drawn).T
    low, high = np.quantile(between, [0.025, 0.975]).tolist()
    return {n: float(d.mean()) for n, d in zip(names[1:], others, strict=True)}, (float(between.mean()), low, high)


def apart(images: Images, others: UInt8[Tensor, "m 3 h w"]) -> tuple[float, float, float]:
    """Return the smallest, median and largest root-mean-square distance, in grey levels, to the nearest of others."""
    found = nearest(images, others)
    return float(found.min()), float(found.median()), float(found.max())


def accuracy_on_val(method: Method, train: ImageSet, val: ImageSet) -> tuple[float, float, float]:
    """Return the balanced accuracy on ``val`` of a method fitted with both, and its 95 % interval over images."""
    method.fit(train, val, rng=torch.Generator().manual_seed(0))
    answers = torch.cat([method.scores(batch).argmax(dim=1) for batch, _ in val.batches()])
    labels = val.labels.numpy()
    correct = (answers.numpy() == labels).astype(np.float64)[None]
    drawn = bootstrap(correct, labels, np.array(val.groups))[:, 0]
    return float(mean_credit(correct, labels)[0]), *interval(drawn)
