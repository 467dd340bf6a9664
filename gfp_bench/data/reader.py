"""Images on disk: the files below a folder and in its archives, read by several threads and held to checksums."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import TypeAlias, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gfp_bench.data.archives import Archives, expect_small, is_archive
from gfp_bench.data.decoding import expect_sound, open_image, pixels
from gfp_bench.data.manifest import Manifest
from gfp_bench.errors import DatasetError
from gfp_bench.files import sha256

Item = TypeVar("Item")
Result = TypeVar("Result")
OnProgress: TypeAlias = Callable[[int, int], None]
"""Is told how many files are done, of how many."""

_THREADS = 2
_AHEAD = 16  # images that wait in memory for the one before them
_LISTED = 10  # damaged files that a message names


def read_images(
    manifest: Manifest, index: pd.DataFrame, progress: OnProgress | None = None, *, thorough: bool = False
) -> Iterator[NDArray[np.uint8]]:
    """Yield the images of an index in its order, checked and decoded: (3, h, w) each.

    Args:
        manifest: Whose images.
        index: Its rows.
        progress: Is told how far the reading is.
        thorough: Whether to look for damage that decoders forgive, as indexing does, besides other checksums.

    Raises:
        DatasetError: After the last file, if any is missing, has another checksum, does not decode or has another
            shape than the manifest says; the message lists them.
    """
    rows = list(zip(index["path"], index["sha256"], strict=True))
    with Files(manifest.root) as files:
        yield from in_threads(
            lambda row: _image(manifest, files, *row, thorough=thorough), rows, f"dataset {manifest.name!r}", progress
        )


def _image(manifest: Manifest, files: "Files", path: str, digest: str, *, thorough: bool) -> NDArray[np.uint8]:
    content = files.read(path)
    if (got := sha256(content)) != digest:
        raise DatasetError(f"{path}: sha256 {got}, expected {digest}; restore the file or index the folder again")
    opened = open_image(content, path)
    image = pixels(opened, path, manifest.view)
    if thorough:
        expect_sound(content, opened, path)
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
        if "/" in path or not is_archive(path):
            return [path]
        return [f"{path}/{member}" for member in self._archives.members(path)]

    def read(self, path: str) -> bytes:
        """Return the bytes of a file.

        Raises:
            DatasetError: If the file is missing, unreadable, not regular, or a link that leaves the folder; if its
                archive is damaged or it would leave that.
        """
        name, _, member = path.partition("/")
        if member and self._is_archive(name):
            return self._archives.read(name, member)
        try:
            file = (self._root / path).resolve(strict=True)
            if not file.is_relative_to(self._inside):
                raise DatasetError(f"{path}: a link to {file}, out of {self._root}; put the file itself there")
            if not file.is_file():
                raise DatasetError(f"{path}: no regular file in {self._root}, expected an image; remove it")
            expect_small(path, file.stat().st_size)
            return file.read_bytes()
        except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links, before Python 3.13
            reason = error.strerror if isinstance(error, OSError) else error
            raise DatasetError(
                f"{path}: cannot be read in {self._root} ({reason}); restore it or index again"
            ) from error

    def stamp(self, path: str) -> tuple[int, int]:
        """Return size, in bytes, and time of change, in nanoseconds, of a file or of the archive that it is in.

        (-1, -1) stands for one that is missing or cannot be read.
        """
        name, _, member = path.partition("/")
        try:
            found = (self._root / (name if member and self._is_archive(name) else path)).stat()
        except OSError:
            return -1, -1
        return found.st_size, found.st_mtime_ns

    def _is_archive(self, name: str) -> bool:
        return is_archive(name) and not (self._root / name).is_dir()


def in_threads(
    work: Callable[[Item], Result], items: Sequence[Item], subject: str, progress: OnProgress | None = None
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
