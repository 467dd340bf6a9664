"""Images on disk: a folder or an archive a source becomes a manifest; a manifest's images are read by checksum."""

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import TypeAlias, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gfp_bench.data.archives import SUFFIX, Archives
from gfp_bench.data.decoding import View, open_image, pixels
from gfp_bench.data.manifest import NAME, Manifest, Metadata, write_manifest
from gfp_bench.errors import DatasetError
from gfp_bench.files import sha256

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
        root: Holds ``<split>/<source>/**``, or ``<source>/**`` if ``fractions`` are given; instead of a folder a
            source there may be an archive, ``<source>.zip`` with ``<split>/**``, or with the images themselves.
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
    depth = 2 if fractions is None else 1
    with Files(root) as files:
        paths = _walk(root, files, depth)
        read = list(in_threads(lambda path: _row(files, path, view or View()), paths, f"folder {root}", progress))
    index = pd.DataFrame([row for row, _ in read])
    index["id"] = index["path"]
    index["group"] = _groups(index["path"], group)
    places = [_place(path, depth) for path in paths]
    index["source"] = [source for _, source in places]
    index["split"] = [split for split, _ in places] if fractions is None else _drawn(index, fractions, seed)
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


def _walk(root: Path, images: "Files", depth: int) -> list[str]:
    """Return the paths of all files from ``root``, sorted; those in archives directly below it stand for these."""
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
    paths = [path for file in found for path in images.listed(file)]
    _expect_layout(root, paths, depth)
    return sorted(paths)


def _place(path: str, depth: int) -> tuple[str, str]:
    """Return the split, if ``depth`` is 2, and the source that a path stands for; empty if it has too few parts."""
    parts = path.split("/")
    if parts[0].endswith(SUFFIX):
        parts = [*parts[1:depth], parts[0].removesuffix(SUFFIX), *parts[depth:]]
    if len(parts) <= depth or (depth == 2 and parts[0] not in SPLITS):
        return "", ""
    return parts[0] if depth == 2 else "", parts[depth - 1]


def _unreadable(error: OSError) -> None:
    raise DatasetError(f"folder {error.filename} cannot be read: {error.strerror}; change its permissions") from error


def _expect_layout(root: Path, found: Sequence[str], depth: int) -> None:
    if not found:
        layout = "<split>/<source>/<file>" if depth == 2 else "<source>/<file>"
        raise DatasetError(f"{root} holds no files, expected {layout}; check the path")
    for path in found:
        if not any(_place(path, depth)):
            archived = path.partition("/")[0].endswith(SUFFIX)
            drawn = f"<source>{SUFFIX}/<file>" if archived else "<source>/<file>"
            layout = f"<source>{SUFFIX}/<split>/<file>" if archived else "<split>/<source>/<file>"
            raise DatasetError(
                f"{root / path} does not lie in {layout} with a split of {', '.join(SPLITS)}; move it, or give "
                f"fractions to draw splits from {drawn}"
                if depth == 2
                else f"{root / path} does not lie in {drawn}; move it"
            )


def _row(files: "Files", path: str, view: View) -> tuple[dict[str, str | int], tuple[int, int]]:
    """Return what the index says of a file, and the height and width of what the view makes of it."""
    content = files.read(path)
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
    rows = list(zip(index["path"], index["sha256"], strict=True))
    with Files(manifest.root) as files:
        yield from in_threads(lambda row: _image(manifest, files, *row), rows, f"dataset {manifest.name!r}", progress)


def _image(manifest: Manifest, files: "Files", path: str, digest: str) -> NDArray[np.uint8]:
    content = files.read(path)
    if (got := sha256(content)) != digest:
        raise DatasetError(f"{path}: sha256 {got}, expected {digest}; restore the file or index the folder again")
    image = pixels(open_image(content, path), path, manifest.view)
    if image.shape != manifest.image_shape:
        raise DatasetError(f"{path}: shape {image.shape}, expected {manifest.image_shape}; index the folder again")
    return image


class Files:
    """The files below a folder; those in its archives are called ``<archive>.zip/<member>``. Threads may share it."""

    def __init__(self, root: Path) -> None:
        self._root, self._inside = root, root.resolve()
        self._archives = Archives(root)

    def __enter__(self) -> "Files":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._archives.__exit__(kind, error, at)

    def listed(self, path: str) -> list[str]:
        """Return what a file stands for: the paths of an archive's members, else its own."""
        if "/" in path or not path.endswith(SUFFIX):
            return [path]
        return [f"{path}/{member}" for member in self._archives.members(path)]

    def read(self, path: str) -> bytes:
        """Return the bytes of a file.

        Raises:
            DatasetError: If the file is missing, unreadable, not regular, or a link that leaves the folder; if its
                archive is damaged or it would leave that.
        """
        name, _, member = path.partition("/")
        if member and name.endswith(SUFFIX) and not (self._root / name).is_dir():
            return self._archives.read(name, member)
        try:
            file = (self._root / path).resolve(strict=True)
            if not file.is_relative_to(self._inside):
                raise DatasetError(f"{path}: a link to {file}, out of {self._root}; put the file itself there")
            if not file.is_file():
                raise DatasetError(f"{path}: no regular file in {self._root}, expected an image; remove it")
            return file.read_bytes()
        except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links, before Python 3.13
            reason = error.strerror if isinstance(error, OSError) else error
            raise DatasetError(
                f"{path}: cannot be read in {self._root} ({reason}); restore it or index again"
            ) from error


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
