"""Files that appear complete or not at all, and what names their content."""

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


def has_room(folder: Path) -> bool:
    """Return whether a folder takes another megabyte."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(2**20))
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        return False
    return True


def sha256(content: bytes) -> str:
    """Return the 64 hexadecimal digits that name some bytes."""
    return hashlib.sha256(content).hexdigest()


def write_atomically(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Write a file that appears by rename: a reader sees all of it or nothing, also after an error.

    Args:
        path: The file.
        content: All of it.
        durable: Whether it must outlive a power cut from now on, and not only this process.

    Raises:
        OSError: If the folder is missing or not writable, or no space is left; it names the file.
    """
    with appearing(path, durable=durable) as file:
        file.write(content)


@contextmanager
def appearing(path: Path, *, durable: bool = True) -> Iterator[BinaryIO]:
    """Yield a file to write to that becomes ``path`` when the block ends, and vanishes when the block raises.

    Args, Raises: As `write_atomically`.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with _held(partial) as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
            partial.replace(path)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:  # the system does not say where no space is left
            error.filename = str(path)
        raise


@contextmanager
def _held(partial: Path) -> Iterator[BinaryIO]:
    """Yield a new file to write to, locked for as long as it is open, so that `sweep` leaves it alone."""
    while True:
        with partial.open("wb") as file:
            with suppress(OSError):  # where there are no locks, `sweep` gets none either and leaves everything
                fcntl.flock(file, fcntl.LOCK_EX)
            if _is_at(file.fileno(), partial):
                yield file
                return


def sweep(folder: Path) -> None:
    """Delete what `appearing` left in a folder when its process was killed; what is still written to is locked."""
    for partial in folder.glob(".*.partial"):
        with suppress(OSError), partial.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(file.fileno(), partial):
                partial.unlink()


@contextmanager
def claimed(path: Path) -> Iterator[str | None]:
    """Hold a file so that no other process does what it stands for; yields None, or who else holds it.

    The kernel releases the lock when its process dies, however it dies: no claim is ever stale.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with path.open("a+", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                yield file.read() or "another run"
                return
            if not _is_at(file.fileno(), path):  # its last holder deleted it between our open and our lock
                continue
            file.truncate(0)
            file.write(f"process {os.getpid()} on {os.uname().nodename}")
            file.flush()
            try:
                yield None
            finally:
                path.unlink(missing_ok=True)
            return


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
