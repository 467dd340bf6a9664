"""Copies of a dataset whose labels are dealt anew, in which an honest method has nothing to find. Torch-free."""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from gfp_bench.data.decoding import View
from gfp_bench.data.index import rows_of
from gfp_bench.data.manifest import About, Manifest, read_index, write_manifest
from gfp_bench.errors import UsageError
from gfp_bench.files import sha256

MOST = 200  # images per source and split of `deal_test`: more make no test stricter that matters
_SPLITS = ("train", "val", "test")
_TRIES = 1000


def deal_test(manifest: Manifest, pixels: NDArray[np.uint8], folder: Path, rng: np.random.Generator) -> Manifest:
    """Write a copy whose files, ids, groups, order and source names are dealt anew, and so are its test labels.

    Train and val keep their labels, under other names, so that a method learns what it can. Each test image gets a
    source of its own, all equally likely and independent of everything else: whatever a method answers, each answer is
    right with a chance of 1 over the number of sources.

    Args:
        manifest: The dataset.
        pixels: (N, 3, h, w) its decoded images, in the order of its index.
        folder: A new folder for the copy; at most `MOST` images per source and split are written.
        rng: Of the dealing.

    Raises:
        UsageError: If it has no train, val or test, or too few test images for that many sources.
    """
    index, names = _index(manifest), manifest.source_names
    chosen = pd.concat([rows_of(index, split, names, MOST) for split in _SPLITS])
    renamed = dict(zip(names, rng.permutation(names).tolist(), strict=True))
    sources = np.array([renamed[source] for source in chosen["source"]])
    test = np.flatnonzero(chosen["split"] == "test")
    sources[test] = np.array(names)[_dealt(len(test), len(names), manifest.name, rng)]
    _, ties = np.unique(chosen["group"].to_numpy(dtype=str), return_inverse=True)
    groups = rng.permutation(len(chosen))[ties]
    (folder / "images").mkdir(parents=True)
    paths, digests = [], []
    for number, row in zip(rng.permutation(len(chosen)), chosen.index, strict=True):
        paths.append(f"{number:08}.png")
        digests.append(_write(folder / "images" / paths[-1], pixels[row], rng))
    height, width = manifest.image_size
    copy = pd.DataFrame(
        {
            "id": paths,
            "path": paths,
            "source": sources,
            "split": chosen["split"].to_list(),
            "group": [f"group-{number:08}" for number in groups],
            "sha256": digests,
            "width": width,
            "height": height,
        }
    )
    return _written(manifest, copy, folder, folder / "images", View())


def deal_train(manifest: Manifest, folder: Path, rng: np.random.Generator) -> Manifest:
    """Write a copy that differs in one thing: each train and val image has a source dealt to it, equally many of each.

    The images stay where they are, and so do names, ids and the test labels: what a method knows of the test images
    from elsewhere it can use, and what it learns from these labels is worth nothing.

    Raises:
        UsageError: If the dataset has no train, val or test.
    """
    index, names = _index(manifest), manifest.source_names
    for split in ("train", "val"):
        images = index.loc[index["split"] == split, "sha256"].unique()
        order = np.concatenate([rng.permutation(len(names)) for _ in range(-(-len(images) // len(names)))])
        dealt = dict(zip(images.tolist(), rng.permutation(order[: len(images)]).tolist(), strict=True))
        rows = index["split"] == split
        index.loc[rows, "source"] = [names[dealt[digest]] for digest in index.loc[rows, "sha256"]]
    folder.mkdir(parents=True)
    return _written(manifest, index, folder, manifest.root, manifest.view)


def _index(manifest: Manifest) -> pd.DataFrame:
    if lacking := [split for split in _SPLITS if split not in manifest.splits]:
        raise UsageError(
            f"dataset {manifest.name!r} has splits {', '.join(manifest.splits)}, expected train, val and test to deal "
            f"labels anew, and {lacking[0]} is missing; choose another dataset"
        )
    return read_index(manifest)


def _dealt(images: int, sources: int, name: str, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return a label for each image, uniform and independent, such that the index holds: two images per source."""
    for _ in range(_TRIES):
        labels = rng.integers(sources, size=images)
        if np.bincount(labels, minlength=sources).min() > 1:
            return labels
    raise UsageError(
        f"dataset {name!r} has {images} test images for {sources} sources, too few to deal independent labels; "
        f"expected about {10 * sources}; choose another dataset"
    )


def _write(path: Path, pixels: NDArray[np.uint8], rng: np.random.Generator) -> str:
    """Write an image with a random remark, so that its checksum, and with it the order, is new; return that."""
    remark = PngInfo()
    remark.add_text("dealt", rng.bytes(16).hex())
    Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0))).save(path, pnginfo=remark, compress_level=1)
    return sha256(path.read_bytes())


def _written(manifest: Manifest, index: pd.DataFrame, folder: Path, images: Path, view: View) -> Manifest:
    return write_manifest(
        folder / f"{manifest.name}.toml",
        index,
        about=About("Labels dealt anew.", manifest.licence),
        folder=images.absolute(),
        image_size=manifest.image_size,
        view=view,
        sources=manifest.sources,
    )
