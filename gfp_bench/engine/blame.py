"""Whose fault an error is: a plugin's, or the machine's, which no method should have to bear."""

import errno
import sysconfig
import traceback
from pathlib import Path

from gfp_bench.errors import DatasetError, MachineError

_OURS = str(Path(__file__).parents[1])
_LIBRARY = tuple(f"{sysconfig.get_path(name)}/" for name in ("stdlib", "platstdlib"))
_PACKAGES = tuple(f"{sysconfig.get_path(name)}/" for name in ("purelib", "platlib"))
_NO_WAY = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.ESTALE}  # what no plugin brings about in us


def is_machines(error: BaseException) -> bool:
    """Return whether an error tells of the machine: raised by our own code, for want of space or of what it reads.

    Who raised it decides, not its type alone: a plugin that raises the same is to blame for it.
    """
    of_kind = isinstance(error, DatasetError | MachineError)
    if not of_kind and not (isinstance(error, OSError) and error.errno in _NO_WAY):
        return False
    frames = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    raised = [file for file in frames if not _is_library(file)]
    return bool(raised) and raised[-1].startswith(f"{_OURS}/")


def _is_library(file: str) -> bool:
    return file.startswith("<frozen") or (file.startswith(_LIBRARY) and not file.startswith(_PACKAGES))
