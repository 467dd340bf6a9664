"""Decoded images in a file that processes map, and beside it a seal: what every image and every source file was.

The file's name has the dataset's digest and the decoders' versions: other ones make another file. Torch-free.
"""

import hashlib
import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gfp_bench.data.index import same_images
from gfp_bench.data.manifest import Manifest
from gfp_bench.data.reader import Files, OnProgress, in_threads, read_images
from gfp_bench.errors import DatasetError
from gfp_bench.files import appearing, sha256, sweep

_DIGEST = 16  # bytes of an image's
_SAMPLE = 64  # images that are looked at when a cache is opened
_SAMPLE_BYTES = 2**23  # or fewer, where they are large
_LISTED = 5  # files that a message names


class UncachedMap(np.memmap[Any, np.dtype[np.uint8]]):
    """A map whose pages leave the process once they are copied: resident memory does not grow with what was read."""

    _mmap: mmap.mmap | None  # NumPy's: None for a part that is a copy

    def __getitem__(self, key: Any) -> Any:  # whatever NumPy takes and returns
        part = super().__getitem__(key)
        if not isinstance(part, UncachedMap) or part._mmap is not None or self._mmap is None:
            return part
        self._mmap.madvise(mmap.MADV_DONTNEED)
        return part.view(np.ndarray)


@dataclass(frozen=True)
class Seal:
    """What was there when a cache was filled, one row per image in the order of the index.

    Attributes:
        digests: (n, 16) uint8, of the decoded images.
        stamps: (n, 2) int64, size and time of change of the files, see `Files.stamp`.
    """

    digests: NDArray[np.uint8]
    stamps: NDArray[np.int64]


def fill(file: Path, manifest: Manifest, index: pd.DataFrame, progress: OnProgress | None = None) -> None:
    """Write a cache under a name of this process's own and rename it, so that two at once cannot mix.

    Raises:
        DatasetError: If files are damaged or show the same image in two splits or sources; or if no room is left.
    """
    shape = (len(index), *manifest.image_shape)
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    digests = np.empty((len(index), _DIGEST), np.uint8)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        sweep(file.parent)
        stamps = stamped(manifest, index)
        with appearing(file) as target:
            np.lib.format.write_array_header_1_0(target, header)
            for number, image in enumerate(read_images(manifest, index, progress)):
                target.write(image.tobytes())  # not through a map: a full disk would then kill the process
                digests[number] = _digest(image)
            seen = index.assign(pixels=[row.tobytes().hex() for row in digests])
            if problems := same_images(seen):
                raise DatasetError(f"dataset {manifest.name!r} ({manifest.file}): {'; '.join(problems)}")
            _write(_seal_file(file), Seal(digests, stamps))
    except OSError as error:
        raise DatasetError(
            f"cache {file} of {np.prod(shape)} bytes cannot be written: {error.strerror}; free space, or "
            "choose another folder by GFP_BENCH_CACHE or cache="
        ) from error


def filled(file: Path) -> bool:
    """Return whether a cache stands, with its seal."""
    return file.exists() and _seal_file(file).exists()


def opened(file: Path, shape: tuple[int, ...]) -> UncachedMap:
    """Return a cache's images, read-only, some of which, drawn anew each time, are held to their digests.

    Raises:
        DatasetError: If it is damaged or has another shape.
    """
    pixels = _mapped(file, shape)
    count = min(len(pixels), _SAMPLE, max(8, _SAMPLE_BYTES // int(np.prod(shape[1:]))))
    _expect_sealed(file, pixels, np.random.default_rng().choice(len(pixels), count, replace=False))
    return pixels


def verify_cache(file: Path, shape: tuple[int, ...]) -> int:
    """Hold all images of a cache to their digests and return how many there are.

    Raises:
        DatasetError: If any is another.
    """
    pixels = _mapped(file, shape)
    _expect_sealed(file, pixels, np.arange(len(pixels)))
    return len(pixels)


def expect_unchanged(file: Path, manifest: Manifest, index: pd.DataFrame) -> None:
    """Refuse a cache whose source files are gone or others by now: those that look changed are read again.

    Raises:
        DatasetError: If so; the message names some.
    """
    seal, now = _seal(file, len(index)), stamped(manifest, index)
    if gone := index["path"][now[:, 0] < 0].to_list():
        raise DatasetError(
            f"dataset {manifest.name!r}: {len(gone)} of {len(index)} files are no longer in {manifest.root}, as "
            f"{', '.join(gone[:_LISTED])}; restore them, or index the folder again"
        )
    touched = index[(now != seal.stamps).any(axis=1)]
    if len(touched):
        rows = list(zip(touched["path"], touched["sha256"], strict=True))
        with Files(manifest.root) as files:
            for _ in in_threads(lambda row: _expect_content(files, *row), rows, f"dataset {manifest.name!r}"):
                pass
        try:
            _write(_seal_file(file), Seal(seal.digests, now))
        except OSError:  # a cache that others fill: looked at again next time
            return


def stamped(manifest: Manifest, index: pd.DataFrame) -> NDArray[np.int64]:
    """Return (n, 2) int64, size and time of change of each image's file."""
    with Files(manifest.root) as files:
        return np.array([files.stamp(path) for path in index["path"]], dtype=np.int64).reshape(-1, 2)


def _expect_content(files: Files, path: str, digest: str) -> None:
    if (got := sha256(files.read(path))) != digest:
        raise DatasetError(f"{path}: sha256 {got}, expected {digest}; restore the file or index the folder again")


def _mapped(file: Path, shape: tuple[int, ...]) -> UncachedMap:
    try:
        pixels = np.lib.format.open_memmap(file, mode="r")
    except (OSError, ValueError) as error:
        raise DatasetError(f"cache {file} cannot be read: {error}; delete it") from error
    if pixels.shape != shape or pixels.dtype != np.uint8:
        raise DatasetError(
            f"cache {file} holds {pixels.dtype} of shape {pixels.shape}, expected uint8 {shape}; delete it"
        )
    return pixels.view(UncachedMap)


def _expect_sealed(file: Path, pixels: UncachedMap, rows: NDArray[np.int64]) -> None:
    digests = _seal(file, len(pixels)).digests
    for row in rows:
        if not np.array_equal(_digest(pixels[[row]]), digests[row]):
            raise DatasetError(f"cache {file} has changed since it was filled, as image {row}; delete it")


def _digest(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.frombuffer(hashlib.blake2b(image.tobytes(), digest_size=_DIGEST).digest(), np.uint8)


def _seal_file(file: Path) -> Path:
    return file.with_name(f"{file.stem}.seal.npz")


def _write(file: Path, seal: Seal) -> None:
    with appearing(file) as target:
        np.savez(target, digests=seal.digests, stamps=seal.stamps)


def _seal(file: Path, count: int) -> Seal:
    try:
        with _seal_file(file).open("rb") as content, np.load(content) as found:
            seal = Seal(found["digests"], found["stamps"])
    except (OSError, EOFError, ValueError, KeyError, TypeError, BadZipFile) as error:
        raise DatasetError(f"cache {file} has a seal that cannot be read: {error}; delete it") from error
    if seal.digests.shape != (count, _DIGEST) or seal.stamps.shape != (count, 2):
        raise DatasetError(f"cache {file} has the seal of {len(seal.digests)} images, expected {count}; delete it")
    return seal
