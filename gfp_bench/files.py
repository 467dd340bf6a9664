"""Files that appear complete or not at all, and what names their content."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


def sha256(content: bytes) -> str:
    """Return the 64 hexadecimal digits that name some bytes."""
    return hashlib.sha256(content).hexdigest()


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file that appears by rename: a reader sees all of it or nothing.

    Raises:
        OSError: If the folder is missing or not writable, or no space is left; nothing half-written remains.
    """
    with appearing(path) as file:
        file.write(content)


@contextmanager
def appearing(path: Path) -> Iterator[BinaryIO]:
    """Yield a file to write to that becomes ``path`` when the block ends, and vanishes when the block raises.

    Raises:
        OSError: As `write_atomically`.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
