"""From a folder of images to a manifest: every file is checked and hashed, and its place says its source and split."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, TypeAlias

import pandas as pd

from gfp_bench.data.decoding import View, expect_sound, open_image, pixels
from gfp_bench.data.index import from_parquet, place_problems
from gfp_bench.data.layouts import Place
from gfp_bench.data.layouts.folders import listed
from gfp_bench.data.likeness import perceptual_hash, pixel_digest
from gfp_bench.data.manifest import NAME, About, Manifest, Metadata, probes_of, read_manifest, write_manifest
from gfp_bench.data.reader import Files, OnProgress, in_threads
from gfp_bench.data.splitting import drawn_splits, missed_shares
from gfp_bench.data.survey import survey
from gfp_bench.errors import DatasetError
from gfp_bench.files import sha256

OnNote: TypeAlias = Callable[[str], None]
"""Is told what was found, before anything is written: a text of one line or more."""


def index_folder(
    root: Path,
    name: str,
    *,
    folder: Path | None = None,
    about: About | None = None,
    sources: Mapping[str, Metadata] | None = None,
    view: View | None = None,
    group: str | None = None,
    shared_groups: str = "",
    shares: Mapping[str, float] | None = None,
    seed: int = 0,
    note: OnNote = lambda _: None,
    progress: OnProgress | None = None,
) -> Manifest:
    """Check and hash every image below ``root`` and write the manifest and index of a dataset.

    Where they are written already, and for the same folder, what people wrote there stays: texts and metadata of
    sources that are not given.

    Args:
        root: Holds the images as `gfp_bench.data.layouts.folders` says.
        name: The dataset's name: the files are ``<name>.toml`` and ``<name>.parquet``.
        folder: Where they are written; beside ``root`` by default.
        about: What people are told; that nothing is known of the licence by default.
        sources: Metadata of sources, by name; those not named have none.
        view: How files that are not 8-bit RGB of one size are brought there.
        group: A regular expression searched in each path below ``root``; what its first parentheses match ties images
            together. An image that it does not match, and every image by default, is a group of its own.
        shared_groups: Why groups may stand in several splits; they may not by default.
        shares: The share of each split, adding up to 1; groups are drawn into splits and never torn apart.
        seed: Draws the splits.
        note: Is told what was found.
        progress: Is told how far the reading is.

    Raises:
        DatasetError: If a file is no sound image or lies elsewhere than expected; the message lists unsound ones. Or
            if the images break a rule of `read_index`. Or if other files than such a manifest and index are there.
    """
    if re.fullmatch(NAME, name) is None:
        raise DatasetError(f"dataset name {name!r}, expected letters, digits and . _ + @ - only; choose another")
    root = root.absolute()
    home = (folder or root.parent).resolve()
    before = _standing(home / f"{name}.toml", root)
    about, shared_groups = _kept(about or About(), before), shared_groups or (before.shared_groups if before else "")
    with Files(root) as files:
        places = listed(root, files, drawn=shares is not None)
        index = _placed(places, group, shares, seed, note)
        _expect_fit(name, index, sources or {}, shared_groups)
        paths, subject = index["path"].to_list(), f"folder {root}"
        read = list(in_threads(lambda path: _read(files, path, view or View()), paths, subject, progress))
    index = index.join(pd.DataFrame(read))
    for text in [*survey(index), *missed_shares(index, shares or {})]:
        note(text)
    given = dict(before.sources if before else {}) | dict(sources or {})
    return write_manifest(
        home / f"{name}.toml",
        index,
        about=about,
        folder=root.relative_to(home) if root.is_relative_to(home) else root,
        image_size=_one_size(index, root),
        view=view or View(),
        sources={source: given.get(source, {}) for source in {*index["source"], *(sources or {})}},
        shared_groups=shared_groups,
    )


def _standing(file: Path, root: Path) -> Manifest | None:
    """Return the manifest of ``root`` that stands in a file, if any does, and refuse to write over anything else."""
    try:
        TemporaryFile(dir=file.parent).close()
    except OSError as error:
        raise DatasetError(
            f"manifest {file} cannot be written: {error.strerror}; free space or choose another folder (--out)"
        ) from error
    other = next((path for path in (file, file.with_suffix(".parquet")) if path.exists()), None)
    if other is None:
        return None
    try:
        if other != file:
            from_parquet(other)  # an index alone is what a kill leaves
            return None
        before = read_manifest(file)
    except DatasetError as error:
        raise DatasetError(
            f"{other} stands where the manifest and index of {file.stem!r} would, and is not a sound one's; choose "
            "another name, or move it away"
        ) from error
    if before.root != root.resolve():
        raise DatasetError(
            f"{file} is the manifest of images in {before.root}, not in {root.resolve()}; choose another name, or "
            "change its folder"
        )
    return before


def _kept(about: About, before: Manifest | None) -> About:
    """Return the texts that are given, and for the others those that stand."""
    if before is None:
        return about
    given = {key: text for key, text in asdict(about).items() if text != getattr(About(), key)}
    return About(**{key: getattr(before, key) for key in asdict(about)} | given)


def _placed(
    places: Sequence[Place], group: str | None, shares: Mapping[str, float] | None, seed: int, note: OnNote
) -> pd.DataFrame:
    """Return what paths alone tell of each image: id, path, source, split and group."""
    index = pd.DataFrame(places)
    index["id"] = index["path"]
    index["group"] = _groups(index["path"], group, note)
    if shares is not None:
        index["split"] = drawn_splits(index, shares, seed)
    return index


def _groups(paths: "pd.Series[str]", pattern: str | None, note: OnNote) -> "pd.Series[str]":
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
    if missed := paths[groups.isna()].to_list():
        note(
            f"group pattern {pattern!r} does not match {len(missed)} of {len(paths)} paths, as {missed[0]!r}: each of "
            "these is a group of its own"
        )
    return groups.fillna(paths)


def _expect_fit(name: str, index: pd.DataFrame, sources: Mapping[str, Metadata], shared_groups: str) -> None:
    """Refuse, before any file is read, names and numbers that no manifest can have."""
    found = sorted({*index["source"], *sources})
    if odd := [source for source in found if re.fullmatch(NAME, source) is None]:
        raise DatasetError(
            f"source {odd[0]!r}, as its folder, expected letters, digits and . _ + @ - only; rename the folder"
        )
    splits = sorted(set(index["split"]))
    if problems := place_problems(index, found, splits, probes_of(sources), shared_groups=bool(shared_groups)):
        raise DatasetError(f"dataset {name!r}: {'; '.join(problems)}")


def _read(files: Files, path: str, view: View) -> dict[str, Any]:
    """Return what a file tells besides its place: columns of the index, and of `survey`."""
    content = files.read(path)
    image = open_image(content, path)
    told = {"width": image.width, "height": image.height, "format": image.format, "mode": image.mode}
    expect_sound(content, image, path)
    viewed = pixels(image, path, view)
    return {
        **told,
        "sha256": sha256(content),
        "pixels": pixel_digest(viewed),
        "likeness": perceptual_hash(viewed),
        "shape": viewed.shape[1:],
    }


def _one_size(index: pd.DataFrame, root: Path) -> tuple[int, int]:
    """Return the height and width that all viewed images have."""
    members = index.groupby("shape", sort=False)["path"].agg(["size", "first"])
    if len(members) > 1:
        found = "; ".join(
            f"{w} x {h} ({n} files, {path})"
            for (h, w), (n, path) in zip(members.index, members.to_numpy(), strict=True)
        )
        raise DatasetError(f"{root} has images of {len(members)} sizes: {found}; crop or resize them by a view")
    height, width = members.index[0]
    return int(height), int(width)
