"""What a process of its own may be asked to do, well and badly."""

import ctypes
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from gfp_bench.errors import PluginError, UsageError

FILES = [f"/proc/self/fd/{descriptor}" for descriptor in range(30)]


def adds(first: int, second: int) -> int:
    return first + second


def refuses() -> None:
    raise UsageError("no such setting")


def breaks() -> None:
    raise ZeroDivisionError("a `b` \x1b[31m \udcff <script>")


def contradicts() -> None:
    raise PluginError("it has no name")


def exits() -> None:
    os._exit(0)


def quits() -> None:
    sys.exit(0)


def dies() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def hangs() -> None:
    time.sleep(600)


def says_something_else() -> None:
    for descriptor in range(3, 30):
        try:
            os.write(descriptor, b'{"value": 3')
        except OSError:
            continue
    os._exit(0)


def says_no_answer() -> None:
    for descriptor in range(3, 30):
        try:
            os.write(descriptor, b"[1, 2]\n")
        except OSError:
            continue
    os._exit(0)


def says_too_much() -> str:
    return "x" * 2**25


def leaves_someone_behind() -> None:
    if not os.fork():
        time.sleep(600)
    os._exit(0)


def kills_its_parent() -> None:
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(5)


def has_no_json() -> list[Any]:
    return [property(), 1 + 2j, {1}]


def holds(mark: str) -> None:
    partial = Path(f"{mark}.partial")
    partial.write_text(str(os.getpid()))
    partial.replace(mark)
    ctypes.PyDLL(None).sleep(600)  # without giving the interpreter up


def its_parent() -> int:
    return os.getppid()


def has_open() -> list[str]:
    return sorted(str(found.readlink()) for found in map(Path, FILES) if os.path.lexists(found))
