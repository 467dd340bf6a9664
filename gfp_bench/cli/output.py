"""What the command line says and how it ends."""

import sys
from enum import IntEnum
from typing import NoReturn


class ExitCode(IntEnum):
    """How a command ends.

    Attributes:
        OK: All that was asked for is done.
        FAILED: Some cells failed, or the system refused something; what is done is kept.
        USAGE: There is no such thing, or no such option.
        CHECK_FAILED: A check or a verification failed.
        DRIFT: Published boards are not what their records give.
        INTERRUPTED: A user stopped it.
    """

    OK = 0
    FAILED = 1
    USAGE = 2
    CHECK_FAILED = 3
    DRIFT = 4
    INTERRUPTED = 130


def say(text: str) -> None:
    """Print data to stdout."""
    sys.stdout.write(text if text.endswith("\n") else f"{text}\n")


def tell(text: str) -> None:
    """Print what is no data to stderr."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def stop(code: ExitCode, text: str) -> NoReturn:
    """Say why and exit."""
    tell(f"gfp-bench: {text}")
    raise SystemExit(code)
