"""Images on disk: a folder with one folder a source becomes a manifest; a manifest's files are read by checksum."""

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gfp_bench.decoding import View, open_image, pixels
from gfp_bench.errors import DatasetError
from gfp_bench.files import sha256
from gfp_bench.manifests import NAME, Manifest, Metadata, write_manifest

Item = TypeVar("Item")
Result = TypeVar("Result")
Progress: TypeAlias = Callable[[int, int], None]
"""Is told how many files are done, of how many."""

SPLITS = ("train", "val", "test")

_THREADS = 2
_AHEAD = 16  # images that wait in memory for the one before them
_LISTED = 10  # damaged files that a message names


def index_folder(
    root: Path,
    name: str,
    *,
    folder: Path | None = None,
    description: str = "",
    licence: str = "unknown",
    citation: str = "",
    sources: Mapping[str, Metadata] | None = None,
    view: View | None = None,
    group: str | None = None,
    fractions: Mapping[str, float] | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Manifest:
    """Check and hash every image below ``root`` and write the manifest and index of a dataset.

    Args:
        root: Holds ``<split>/<source>/**``, or ``<source>/**`` if ``fractions`` are given.
        name: The dataset's name: the files are ``<name>.toml`` and ``<name>.parquet``.
        folder: Where they are written; beside ``root`` by default.
        description: One sentence for people.
        licence: Under which terms the images may be used.
        citation: What to cite.
        sources: Metadata of sources, by name; those not named have none.
        view: How files that are not 8-bit RGB of one size are brought there.
        group: A regular expression searched in each path below ``root``; what its first parentheses match ties images
            together. An image that it does not match, and every image by default, is a group of its own.
        fractions: The share of each split, adding up to 1; groups are drawn into splits and never torn apart.
        seed: Draws the splits.
        progress: Is told how far the reading is.

    Raises:
        DatasetError: If a file is no sound image or lies elsewhere than expected; the message lists unsound ones. Or
            if the images break a rule of `read_index`. Only files and folders that begin with a dot are ignored.
    """
    if re.fullmatch(NAME, name) is None:
        raise DatasetError(f"dataset name {name!r}, expected letters, digits and . _ + @ - only; choose another")
    root = root.resolve()
    paths = _walk(root, depth=2 if fractions is None else 1)
    read = list(in_threads(lambda path: _row(root, path, view or View()), paths, f"folder {root}", progress))
    index = pd.DataFrame([row for row, _ in read])
    index["id"] = index["path"]
    index["group"] = _groups(index["path"], group)
    parts = index["path"].str.split("/")
    index["source"] = parts.str[1 if fractions is None else 0]
    index["split"] = parts.str[0] if fractions is None else _drawn(index, fractions, seed)
    home = (folder or root.parent).resolve()
    given = sources or {}
    return write_manifest(
        home / f"{name}.toml",
        index,
        description=description,
        licence=licence,
        citation=citation,
        folder=root.relative_to(home) if root.is_relative_to(home) else root,
        image_size=_one_size(paths, [size for _, size in read], root),
        view=view or View(),
        sources={source: given.get(source, {}) for source in {*index["source"], *given}},
    )


def _walk(root: Path, depth: int) -> list[str]:
    """Return the paths of all files, from ``root``, sorted; each lies at least ``depth`` folders below it."""
    if not root.is_dir():
        raise DatasetError(f"{root} is no folder, expected one with a folder a source; check the path")
    found: list[str] = []
    for place, folders, files in os.walk(root, onerror=_unreadable):
        folders[:] = [folder for folder in folders if not folder.startswith(".")]
        for folder in folders:
            if Path(place, folder).is_symlink():
                raise DatasetError(
                    f"{Path(place, folder)} is a link to a folder, expected a folder; move the images here"
                )
        found += [Path(place, file).relative_to(root).as_posix() for file in files if not file.startswith(".")]
    _expect_layout(root, found, depth)
    return sorted(found)


def _unreadable(error: OSError) -> None:
    raise DatasetError(f"folder {error.filename} cannot be read: {error.strerror}; change its permissions") from error


def _expect_layout(root: Path, found: Sequence[str], depth: int) -> None:
    layout = "<split>/<source>/<file>" if depth == 2 else "<source>/<file>"
    if not found:
        raise DatasetError(f"{root} holds no files, expected {layout}; check the path")
    for path in found:
        parts = path.split("/")
        if len(parts) <= depth or (depth == 2 and parts[0] not in SPLITS):
            raise DatasetError(
                f"{root / path} does not lie in {layout} with a split of {', '.join(SPLITS)}; move it, or give "
                "fractions to draw splits from <source>/<file>"
                if depth == 2
                else f"{root / path} does not lie in {layout}; move it"
            )


def _row(root: Path, path: str, view: View) -> tuple[dict[str, str | int], tuple[int, int]]:
    """Return what the index says of a file, and the height and width of what the view makes of it."""
    content = read_encoded(root, path)
    image = open_image(content, path)
    _, height, width = pixels(image, path, view).shape
    return {"path": path, "sha256": sha256(content), "width": image.width, "height": image.height}, (height, width)


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


def _drawn(index: pd.DataFrame, fractions: Mapping[str, float], seed: int) -> "pd.Series[str]":
    """Return each image's split: groups in the same sources are ranked by a hash and dealt out by their shares."""
    if abs(sum(fractions.values()) - 1) > 1e-9 or min(fractions.values()) <= 0:
        raise DatasetError(f"fractions are {dict(fractions)}, expected positive numbers that add up to 1; change them")
    strata: dict[tuple[str, ...], list[str]] = {}
    for group, sources in index.groupby("group")["source"]:
        strata.setdefault(tuple(sorted(set(sources))), []).append(str(group))
    split_of: dict[str, str] = {}
    for groups in strata.values():
        ranked = sorted(groups, key=lambda group: sha256(f"{seed}/{group}".encode()))
        ends = np.rint(np.cumsum(list(fractions.values())) * len(ranked)).astype(int)
        for split, (start, end) in zip(fractions, pairwise([0, *ends]), strict=True):
            split_of.update(dict.fromkeys(ranked[start:end], split))
    return index["group"].map(split_of)


def _one_size(paths: Sequence[str], sizes: Sequence[tuple[int, int]], root: Path) -> tuple[int, int]:
    """Return the height and width that all viewed images have."""
    members: dict[tuple[int, int], list[str]] = {}
    for path, size in zip(paths, sizes, strict=True):
        members.setdefault(size, []).append(path)
    if len(members) > 1:
        found = "; ".join(f"{w} x {h} ({len(some)} files, {some[0]})" for (h, w), some in members.items())
        raise DatasetError(f"{root} has images of {len(members)} sizes: {found}; crop or resize them by a view")
    return sizes[0]


def read_images(
    manifest: Manifest, index: pd.DataFrame, progress: Progress | None = None
) -> Iterator[NDArray[np.uint8]]:
    """Yield the images of an index in its order, checked and decoded: (3, h, w) each.

    Raises:
        DatasetError: After the last file, if any is missing, has another checksum, does not decode or has another
            shape than the manifest says; the message lists them.
    """
    files = list(zip(index["path"], index["sha256"], strict=True))
    return in_threads(lambda file: _image(manifest, *file), files, f"dataset {manifest.name!r}", progress)


def _image(manifest: Manifest, path: str, digest: str) -> NDArray[np.uint8]:
    content = read_encoded(manifest.root, path)
    if (got := sha256(content)) != digest:
        raise DatasetError(f"{path}: sha256 {got}, expected {digest}; restore the file or index the folder again")
    image = pixels(open_image(content, path), path, manifest.view)
    if image.shape != manifest.image_shape:
        raise DatasetError(f"{path}: shape {image.shape}, expected {manifest.image_shape}; index the folder again")
    return image


def read_encoded(root: Path, path: str) -> bytes:
    """Return the bytes of the file at ``path`` below ``root``.

    Raises:
        DatasetError: If the file is missing, unreadable, not regular, or a link that leaves ``root``.
    """
    try:
        file = (root / path).resolve(strict=True)
        if not file.is_relative_to(root.resolve()):
            raise DatasetError(f"{path}: a link to {file}, out of {root}; put the file itself there")
        if not file.is_file():
            raise DatasetError(f"{path}: no regular file in {root}, expected an image; remove it")
        return file.read_bytes()
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links, before Python 3.13
        reason = error.strerror if isinstance(error, OSError) else error
        raise DatasetError(f"{path}: cannot be read in {root} ({reason}); restore it or index again") from error


def in_threads(
    work: Callable[[Item], Result], items: Sequence[Item], subject: str, progress: Progress | None = None
) -> Iterator[Result]:
    """Yield ``work(item)`` in order; memory does not grow with the number of items.

    Raises:
        DatasetError: After the last item, if ``work`` raised any: the first few messages and their number.
    """

    def attempt(item: Item) -> Result | DatasetError:
        try:
            return work(item)
        except DatasetError as error:
            return error

    problems: list[DatasetError] = []
    with ThreadPoolExecutor(_THREADS) as pool:
        for start in range(0, len(items), _AHEAD):
            for outcome in pool.map(attempt, items[start : start + _AHEAD]):
                if isinstance(outcome, DatasetError):
                    problems.append(outcome)
                elif not problems:
                    yield outcome
            if progress is not None:
                progress(min(start + _AHEAD, len(items)), len(items))
    if problems:
        listed = "".join(f"\n  {problem}" for problem in problems[:_LISTED])
        more = f"\n  and {len(problems) - _LISTED} more" if len(problems) > _LISTED else ""
        raise DatasetError(f"{subject}: {len(problems)} of {len(items)} files are bad:{listed}{more}")
