"""The layout `<split>/<source>/**`: a folder per split and source, or one archive per source."""

import os
from collections.abc import Collection, Sequence
from pathlib import Path

from gfp_bench.data.archives import SUFFIX, is_archive
from gfp_bench.data.layouts import Place
from gfp_bench.data.reader import Files
from gfp_bench.errors import DatasetError

SPLITS = ("train", "val", "test")
_SPELT = {"training": "train", "valid": "val", "validation": "val", "dev": "val", "testing": "test"}
_LIKE_SPLITS = {*SPLITS, *_SPELT}
_KINDS = (  # real and generated images of one generator, side by side
    {"0_real", "1_fake"},
    {"nature", "ai"},
    {"real", "fake"},
)


def listed(root: Path, files: Files, *, drawn: bool) -> list[Place]:
    """Return all files from ``root``, sorted by path; those in archives directly below it stand for these.

    Args:
        root: Holds ``<split>/<source>/**``, or ``<source>/**`` where splits are drawn; instead of a folder per source
            there may be an archive, ``<source>.zip`` with ``<split>/**``, or with the images themselves.
        files: The files below it.
        drawn: Whether splits are drawn.

    Raises:
        DatasetError: If a file lies elsewhere, or if folders are called as those of another level: splits, or real and
            generated images, where sources should stand or below them. Only files and folders that begin with a dot
            are ignored.
    """
    paths = sorted(path for file in _walk(root) for path in files.listed(file))
    if not paths:
        layout = "<source>/<file>" if drawn else "<split>/<source>/<file>"
        raise DatasetError(f"{root} holds no files, expected {layout}; check the path")
    places = [_place(root, path, drawn=drawn) for path in paths]
    _expect_levels(root, places, drawn=drawn)
    return places


def _walk(root: Path) -> list[str]:
    """Return the paths of all files from ``root``, archives among them."""
    if not root.is_dir():
        raise DatasetError(f"{root} is no folder, expected one with one folder per source; check the path")
    found: list[str] = []
    for place, folders, files in os.walk(root, onerror=_unreadable):
        folders[:] = [folder for folder in folders if not folder.startswith(".")]
        _expect_text(place, [*folders, *files])
        for folder in folders:
            if Path(place, folder).is_symlink():
                raise DatasetError(
                    f"{Path(place, folder)} is a link to a folder, expected a folder; move the images here"
                )
        found += [Path(place, file).relative_to(root).as_posix() for file in files if not file.startswith(".")]
    return found


def _expect_text(place: str, names: Collection[str]) -> None:
    """Refuse names that are no UTF-8, as Latin-1 file systems leave them: no index can hold them."""
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise DatasetError(
                f"{os.fsencode(Path(place, name))!r} is a name in no UTF-8; rename it, as with convmv"
            ) from error


def _unreadable(error: OSError) -> None:
    raise DatasetError(f"folder {error.filename} cannot be read: {error.strerror}; change its permissions") from error


def _place(root: Path, path: str, *, drawn: bool) -> Place:
    """Return what a path stands for."""
    parts, depth = path.split("/"), 1 if drawn else 2
    if archived := is_archive(parts[0]):  # <source>.zip/<split>/... reads as <split>/<source>/...
        parts = [*parts[1:depth], parts[0][: -len(SUFFIX)], *parts[depth:]]
    if len(parts) > depth and (drawn or parts[0] in SPLITS):
        return Place(path, source=parts[depth - 1], split="" if drawn else parts[0])
    without = f"<source>{SUFFIX}/<file>" if archived else "<source>/<file>"
    layout = f"<source>{SUFFIX}/<split>/<file>" if archived else "<split>/<source>/<file>"
    spelt = _SPELT.get(parts[0].lower())
    below = [part for part in parts[1:-1] if part.lower() in _LIKE_SPLITS]
    remedy = f"rename {parts[0]} to {spelt}" if spelt else _remedy("splits") if below else "move it"
    raise DatasetError(
        f"{root / path} does not lie in {without}; move it"
        if drawn
        else f"{root / path} does not lie in {layout} with a split of {', '.join(SPLITS)}; {remedy}, or give shares to "
        f"draw splits from {without}"
    )


def _expect_levels(root: Path, places: Sequence[Place], *, drawn: bool) -> None:
    """Refuse folders whose names say that they are not what their level stands for."""
    children: dict[str, set[str]] = {}
    for path, *_ in places:
        *folders, _ = path.split("/")
        for level in range(1 if drawn else 2, len(folders)):
            children.setdefault("/".join(folders[:level]), set()).add(folders[level])
    sources = {place.source for place in places}
    if (what := _misplaced(sources)) and not {"real", "fake"} <= sources:
        raise DatasetError(
            f"{root} would have the sources {_some(sources)}, which look like {what}; expected one folder per "
            f"generative model, and {'' if drawn else 'in each split '}one called real: {_remedy(what)}"
        )
    for parent, names in children.items():
        if what := _misplaced(names):
            raise DatasetError(
                f"{root / parent} would be one source with the folders {_some(names)}, which look like {what}; "
                f"{_remedy(what)}"
            )


def _misplaced(names: Collection[str]) -> str:
    """Return what folders that stand side by side look like, if they are no sources and no mere subfolders."""
    lower = {name.lower() for name in names}
    if lower & _KINDS[0] or any(kind <= lower for kind in _KINDS[1:]):
        return "real and generated images"
    return "splits" if lower <= _LIKE_SPLITS or len(lower & _LIKE_SPLITS) > 1 else ""


def _remedy(what: str) -> str:
    if what == "splits":
        return "put <split>/ above <source>/, with splits called train, val and test"
    return "put real images into <split>/real and generated ones into <split>/<generative model>"


def _some(names: Collection[str]) -> str:
    return ", ".join(sorted(names)[:5]) + (", ..." if len(names) > 5 else "")
