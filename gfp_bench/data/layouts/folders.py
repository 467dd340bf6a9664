"""The layout `<split>/<source>/**`: a folder per split and source, or one archive per source."""

import os
from pathlib import Path

from gfp_bench.data.archives import SUFFIX
from gfp_bench.data.layouts import Place
from gfp_bench.data.reader import Files
from gfp_bench.errors import DatasetError

SPLITS = ("train", "val", "test")


def listed(root: Path, files: Files, *, drawn: bool) -> list[Place]:
    """Return all files from ``root``, sorted by path; those in archives directly below it stand for these.

    Args:
        root: Holds ``<split>/<source>/**``, or ``<source>/**`` where splits are drawn; instead of a folder per source
            there may be an archive, ``<source>.zip`` with ``<split>/**``, or with the images themselves.
        files: The files below it.
        drawn: Whether splits are drawn.

    Raises:
        DatasetError: If a file lies elsewhere. Only files and folders that begin with a dot are ignored.
    """
    paths = sorted(path for file in _walk(root) for path in files.listed(file))
    if not paths:
        layout = "<source>/<file>" if drawn else "<split>/<source>/<file>"
        raise DatasetError(f"{root} holds no files, expected {layout}; check the path")
    return [_place(root, path, drawn=drawn) for path in paths]


def _walk(root: Path) -> list[str]:
    """Return the paths of all files from ``root``, archives among them."""
    if not root.is_dir():
        raise DatasetError(f"{root} is no folder, expected one with one folder per source; check the path")
    found: list[str] = []
    for place, folders, files in os.walk(root, onerror=_unreadable):
        folders[:] = [folder for folder in folders if not folder.startswith(".")]
        for folder in folders:
            if Path(place, folder).is_symlink():
                raise DatasetError(
                    f"{Path(place, folder)} is a link to a folder, expected a folder; move the images here"
                )
        found += [Path(place, file).relative_to(root).as_posix() for file in files if not file.startswith(".")]
    return found


def _unreadable(error: OSError) -> None:
    raise DatasetError(f"folder {error.filename} cannot be read: {error.strerror}; change its permissions") from error


def _place(root: Path, path: str, *, drawn: bool) -> Place:
    """Return what a path stands for."""
    parts, depth = path.split("/"), 1 if drawn else 2
    archived = parts[0].endswith(SUFFIX)
    if archived:  # <source>.zip/<split>/... reads as <split>/<source>/...
        parts = [*parts[1:depth], parts[0].removesuffix(SUFFIX), *parts[depth:]]
    if len(parts) > depth and (drawn or parts[0] in SPLITS):
        return Place(path, source=parts[depth - 1], split="" if drawn else parts[0])
    without = f"<source>{SUFFIX}/<file>" if archived else "<source>/<file>"
    layout = f"<source>{SUFFIX}/<split>/<file>" if archived else "<split>/<source>/<file>"
    raise DatasetError(
        f"{root / path} does not lie in {without}; move it"
        if drawn
        else f"{root / path} does not lie in {layout} with a split of {', '.join(SPLITS)}; move it, or give shares to "
        f"draw splits from {without}"
    )
