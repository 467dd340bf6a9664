"""Zip archives of images: the same bytes for the same members, opened once, every member checked as it is read."""

import threading
import zlib
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from struct import error as StructError
from types import TracebackType
from zipfile import BadZipFile, ZipFile, ZipInfo

from gfp_bench.errors import DatasetError
from gfp_bench.files import appearing

SUFFIX = ".zip"
MAX_BYTES = 2**28  # of a file: more than the largest image takes uncompressed, refused before any memory is taken

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first moment that a zip file can name
_DAMAGES = (BadZipFile, zlib.error, StructError, EOFError, OSError, RuntimeError, ValueError)  # RuntimeError: encrypted


def is_archive(name: str) -> bool:
    """Return whether a file of this name stands for what is in it, as ``a.zip`` and ``A.ZIP``."""
    return name.lower().endswith(SUFFIX) and len(name) > len(SUFFIX)


def write_archive(file: Path, members: Mapping[str, bytes], comment: bytes = b"") -> None:
    """Write members, sorted by name and not compressed again, into an archive that appears by rename.

    Args:
        file: The archive.
        members: Contents by path.
        comment: What the archive says of itself, at most 65,535 bytes.

    Raises:
        DatasetError: If it cannot be written; nothing half-written remains.
    """
    try:
        with appearing(file) as target, ZipFile(target, "w") as archive:
            archive.comment = comment
            for name in sorted(members):
                info = ZipInfo(name, _EPOCH)
                info.create_system, info.external_attr = 3, 0o644 << 16  # the same on every system
                archive.writestr(info, members[name])
    except OSError as error:
        raise DatasetError(
            f"archive {file} cannot be written: {error.strerror}; free space or choose another folder"
        ) from error


def read_comment(file: Path) -> bytes:
    """Return what an archive says of itself.

    Raises:
        DatasetError: If it is missing or damaged.
    """
    try:
        with ZipFile(file) as archive:
            return archive.comment
    except _DAMAGES as error:
        raise DatasetError(f"archive {file} cannot be opened ({_reason(error)}); restore or delete it") from error


class Archives:
    """The archives in a folder, each opened when it is first needed and closed at the end. Threads may share it."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._open: dict[str, ZipFile] = {}
        self._files = ExitStack()
        self._lock = threading.Lock()

    def __enter__(self) -> "Archives":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._files.close()

    def members(self, name: str) -> list[str]:
        """Return the paths of an archive's members, folders and what begins with a dot left out.

        Raises:
            DatasetError: If the archive is damaged, or a member's path leaves it or stands twice.
        """
        with self._lock:
            entries = [entry.filename for entry in self._archive(name).infolist() if not entry.is_dir()]
        paths = [path for path in entries if not any(part.startswith(".") and part != ".." for part in path.split("/"))]
        for path in paths:
            _expect_inside(name, path)
        (most, times), *_ = Counter(paths).most_common(1) or [("", 0)]
        if times > 1:
            raise DatasetError(
                f"archive {self._root / name} has {most} {'twice' if times == 2 else f'{times} times'}, expected it "
                "once; write it anew"
            )
        return paths

    def read(self, name: str, member: str) -> bytes:
        """Return a member's bytes.

        Raises:
            DatasetError: If archive or member are missing or damaged, or the member's path leaves the archive.
        """
        _expect_inside(name, member)
        with self._lock:  # zipfile promises nothing of threads
            archive = self._archive(name)
            try:
                expect_small(f"{name}/{member}", archive.getinfo(member).file_size)
                return archive.read(member)  # never more than that, whatever unpacks
            except KeyError as error:
                raise DatasetError(
                    f"{name}/{member}: no such member in archive {self._root / name}; restore it or index again"
                ) from error
            except _DAMAGES as error:
                raise DatasetError(
                    f"{name}/{member}: damaged in archive {self._root / name} ({_reason(error)}); restore it"
                ) from error

    def _archive(self, name: str) -> ZipFile:
        if name not in self._open:
            try:
                file = (self._root / name).resolve(strict=True)
                if not file.is_relative_to(self._root.resolve()):
                    raise DatasetError(f"{name}: a link to {file}, out of {self._root}; put the archive itself there")
                if not file.is_file():  # a pipe would be waited for
                    raise DatasetError(f"{name}: no regular file in {self._root}, expected an archive; remove it")
                self._open[name] = self._files.enter_context(ZipFile(file))
            except _DAMAGES as error:
                raise DatasetError(
                    f"archive {self._root / name} cannot be opened ({_reason(error)}); restore it or index again"
                ) from error
        return self._open[name]


def expect_small(path: str, size: int) -> None:
    """Refuse a file that is too large for an image.

    Raises:
        DatasetError: If it has more than `MAX_BYTES`.
    """
    if size > MAX_BYTES:
        raise DatasetError(f"{path}: {size} bytes, expected an image of at most {MAX_BYTES}; remove it")


def _expect_inside(name: str, member: str) -> None:
    if member.startswith("/") or "\\" in member or "\0" in member or ".." in PurePosixPath(member).parts:
        raise DatasetError(f"member {member!r} leaves its archive {name}, expected a path in it; write it anew")


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
