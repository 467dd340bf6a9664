"""From a folder of images to a manifest: every file is checked and hashed, and its place says its source and split."""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from gfp_bench.data.decoding import View, open_image, pixels
from gfp_bench.data.layouts import Place
from gfp_bench.data.layouts.folders import listed
from gfp_bench.data.manifest import NAME, About, Manifest, Metadata, write_manifest
from gfp_bench.data.reader import Files, OnProgress, in_threads
from gfp_bench.errors import DatasetError
from gfp_bench.files import sha256


def index_folder(
    root: Path,
    name: str,
    *,
    folder: Path | None = None,
    about: About | None = None,
    sources: Mapping[str, Metadata] | None = None,
    view: View | None = None,
    group: str | None = None,
    shares: Mapping[str, float] | None = None,
    seed: int = 0,
    progress: OnProgress | None = None,
) -> Manifest:
    """Check and hash every image below ``root`` and write the manifest and index of a dataset.

    Args:
        root: Holds the images as `gfp_bench.data.layouts.folders` says.
        name: The dataset's name: the files are ``<name>.toml`` and ``<name>.parquet``.
        folder: Where they are written; beside ``root`` by default.
        about: What people are told; that nothing is known of the licence by default.
        sources: Metadata of sources, by name; those not named have none.
        view: How files that are not 8-bit RGB of one size are brought there.
        group: A regular expression searched in each path below ``root``; what its first parentheses match ties images
            together. An image that it does not match, and every image by default, is a group of its own.
        shares: The share of each split, adding up to 1; groups are drawn into splits and never torn apart.
        seed: Draws the splits.
        progress: Is told how far the reading is.

    Raises:
        DatasetError: If a file is no sound image or lies elsewhere than expected; the message lists unsound ones. Or
            if the images break a rule of `read_index`.
    """
    if re.fullmatch(NAME, name) is None:
        raise DatasetError(f"dataset name {name!r}, expected letters, digits and . _ + @ - only; choose another")
    root = root.resolve()
    with Files(root) as files:
        places = listed(root, files, drawn=shares is not None)
        read = list(in_threads(lambda place: _row(files, place, view or View()), places, f"folder {root}", progress))
    index = pd.DataFrame([row for row, _ in read])
    index["id"] = index["path"]
    index["group"] = _groups(index["path"], group)
    if shares is not None:
        index["split"] = _drawn(index, shares, seed)
    home = (folder or root.parent).resolve()
    given = sources or {}
    return write_manifest(
        home / f"{name}.toml",
        index,
        about=about or About(),
        folder=root.relative_to(home) if root.is_relative_to(home) else root,
        image_size=_one_size(index["path"], [size for _, size in read], root),
        view=view or View(),
        sources={source: given.get(source, {}) for source in {*index["source"], *given}},
    )


def _row(files: Files, place: Place, view: View) -> tuple[dict[str, str | int], tuple[int, int]]:
    """Return what the index says of a file, and the height and width of what the view makes of it."""
    content = files.read(place.path)
    image = open_image(content, place.path)
    _, height, width = pixels(image, place.path, view).shape
    row = {**place._asdict(), "sha256": sha256(content), "width": image.width, "height": image.height}
    return row, (height, width)


def _groups(paths: "pd.Series[str]", pattern: str | None) -> "pd.Series[str]":
    if pattern is None:
        return paths
    try:
        groups = paths.str.extract(f"(?:{pattern})", expand=False)
    except (re.error, ValueError) as error:
        raise DatasetError(f"group pattern {pattern!r}: {error}; expected one pair of parentheses") from error
    if groups.ndim != 1 or groups.isna().all():
        raise DatasetError(
            f"group pattern {pattern!r} matches no path or has several parentheses, expected one; change it"
        )
    return groups.fillna(paths)


def _drawn(index: pd.DataFrame, shares: Mapping[str, float], seed: int) -> "pd.Series[str]":
    """Return each image's split: groups in the same sources are ranked by a hash and dealt out by their shares."""
    if abs(sum(shares.values()) - 1) > 1e-9 or min(shares.values()) <= 0:
        raise DatasetError(f"shares are {dict(shares)}, expected positive numbers that add up to 1; change them")
    strata: dict[tuple[str, ...], list[str]] = {}
    for group, sources in index.groupby("group")["source"]:
        strata.setdefault(tuple(sorted(set(sources))), []).append(str(group))
    split_of: dict[str, str] = {}
    for groups in strata.values():
        ranked = sorted(groups, key=lambda group: sha256(f"{seed}/{group}".encode()))
        ends = np.rint(np.cumsum(list(shares.values())) * len(ranked)).astype(int)
        for split, (start, end) in zip(shares, pairwise([0, *ends]), strict=True):
            split_of.update(dict.fromkeys(ranked[start:end], split))
    return index["group"].map(split_of)


def _one_size(paths: "pd.Series[str]", sizes: Sequence[tuple[int, int]], root: Path) -> tuple[int, int]:
    """Return the height and width that all viewed images have."""
    members: dict[tuple[int, int], list[str]] = {}
    for path, size in zip(paths, sizes, strict=True):
        members.setdefault(size, []).append(path)
    if len(members) > 1:
        found = "; ".join(f"{w} x {h} ({len(some)} files, {some[0]})" for (h, w), some in members.items())
        raise DatasetError(f"{root} has images of {len(members)} sizes: {found}; crop or resize them by a view")
    return sizes[0]
